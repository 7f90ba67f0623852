"""Does every function of the table answer any call at all, by what it promises or by an error that it documents?

Calls are made from the rows' schemas, so that a new row is covered; what its record knows makes more of them succeed.
``jit_tests/test_robustness_scripted.py`` asks the same of TorchScript.
"""

import math
import string
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from torch import Tensor

import torchinit
from tests.support.layouts import COMPLEX, FLOATING, INTEGER, LAYOUTS
from tests.support.outcome import Outcome, memory, observe
from tests.support.pairwise import EXHAUSTIVE
from tests.support.records import RECORDS
from tools.codegen.docstrings import docstring
from tools.codegen.functions import FUNCTIONS, KEYS
from tools.codegen.keyed import keyed as keyed_rows
from tools.codegen.model import Argument, Function
from torchinit import keyed

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")

ROWS = [*(row for row in FUNCTIONS if row.public), *keyed_rows(FUNCTIONS), *KEYS]
_RECORDS = {record.name: record for record in RECORDS}
_SIBLINGS = {row.name: row for row in FUNCTIONS}


def _documented(row: Function) -> frozenset[str]:
    """List the errors that a docstring names; a keyed function leaves those of its sibling to the sibling's."""
    sibling = frozenset(docstring(_SIBLINGS[row.name]).raises) if row.name in _SIBLINGS else frozenset()
    return sibling.union(docstring(row).raises)


_DOCUMENTED = {(row.family, row.name): _documented(row) for row in ROWS}


def is_keyed(row: Function) -> bool:
    return row.family.startswith("keyed.")


def function_of(row: Function) -> Callable[..., Any]:
    return getattr(keyed if is_keyed(row) else torchinit, row.name)


def label(value: Any) -> str | None:
    return "keyed." * is_keyed(value) + value.name if isinstance(value, Function) else None


every_row = pytest.mark.parametrize("row", ROWS, ids=label)


def any_of(strategy: st.SearchStrategy[Any], examples: int) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Run a check on many calls; which these are follows from the check's own source."""
    examples *= 4 if EXHAUSTIVE else 1
    # What may be slow is another worker on the same cores.
    slow = hypothesis.HealthCheck.too_slow
    settings = hypothesis.settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=[slow])
    return lambda check: settings(hypothesis.given(strategy)(check))


# Tensors.

_RARE = (
    *(torch.int8, torch.int16, torch.uint16, torch.uint32, torch.uint64, torch.complex32),
    *(torch.float8_e5m2, torch.float8_e4m3fn, torch.float8_e5m2fnuz, torch.float8_e4m3fnuz),
)
_DTYPES = st.one_of(
    st.sampled_from([torch.float32] * 3 + [*FLOATING] * 2 + [*COMPLEX]), st.sampled_from(INTEGER + _RARE)
)
# One made in inference mode and filled outside, one filled in it too.
_LAYOUTS = st.sampled_from(["contiguous"] * 4 + [*LAYOUTS, "expanded", "inference", "inference_mode"])


@dataclass(frozen=True)
class Target:
    """What a call is to fill."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    layout: str = "contiguous"

    def make(self) -> Tensor:
        layout = LAYOUTS.get(self.layout, LAYOUTS["contiguous"])
        if self.layout == "expanded":
            first = [size > 1 for size in self.shape].index(True) if self.overlaps else None
            return layout(tuple(1 if d == first else n for d, n in enumerate(self.shape)), self.dtype).expand(
                self.shape
            )
        with torch.inference_mode(self.layout.startswith("inference")):
            return layout(self.shape, self.dtype)

    @property
    def written(self) -> bool:
        """Whether there is anything to write."""
        return self.layout != "meta" and math.prod(self.shape) > 0

    @property
    def overlaps(self) -> bool:
        return self.layout == "expanded" and math.prod(self.shape) > 1


@st.composite
def _shapes(draw: st.DrawFn, row: Function) -> tuple[int, ...]:
    if row.name in _RECORDS and draw(st.booleans()):
        return _RECORDS[row.name].shape
    dimensions = draw(st.integers(0, 6))
    sizes = st.sampled_from([0, 1, 2, 3, 4, 6, 8, 17] if dimensions < 4 else [0, 1, 2, 3, 4])
    return tuple(draw(sizes) for _ in range(dimensions))


# Arguments. Mostly one of a call at most is odd, so that not all calls are refused, and not all for the same.

_ODD_FLOATS = (
    st.sampled_from(
        [*(math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1.0, 5e-324, 1e-300, 1e-40, 1e-8, -1e-8, 7e4, -7e4, 1e30)]
        + [*(3.3e38, -3.3e38, 1e39, 1e154, -1e200, 1e307, -1e308, 1.7e308)]
    )
    | st.floats()
)
# NB: no size among these is one that memory holds, or nearly.
_ODD_INTEGERS = st.sampled_from([0, -1, -7, 5, 6, 7, 64, 2**53 + 1, 2**62, 2**63 - 1, -(2**63)])
# NB: TorchScript lowers no letter but an ASCII one, and its messages end at a NUL.
_CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " é名"
_WORDS = st.sampled_from(["", "fan", "FAN_IN", "Fan_Out", "relu ", "Relu", "cauchy", "é", "{}", "%s"]) | st.text(
    _CHARACTERS, max_size=4
)


def _values(row: Function, argument: Argument, odd: bool) -> st.SearchStrategy[Any]:
    """The values of an argument that its type allows."""
    if argument.type == "float":
        return _ODD_FLOATS if odd else st.floats(0.0, 1.0) | st.floats(-3.0, 3.0)
    if argument.type in ("int", "int?"):
        integers = _ODD_INTEGERS if odd else st.integers(1, 4)
        return integers if argument.type == "int" else st.none() | integers
    if argument.type == "str":
        choices = row.choices[argument.name].values if argument.name in row.choices else ("a", "b")
        return _WORDS if odd else st.sampled_from(choices)
    if argument.type == "bool":
        return st.booleans()
    if argument.type in ("int[]", "int[]?"):
        lists = st.lists(_ODD_INTEGERS if odd else st.integers(0, 6), max_size=6)
        return lists if argument.type == "int[]" else st.none() | lists
    if argument.type == "Union(int, str)":
        return _ODD_INTEGERS | _WORDS if odd else st.integers(0, 9) | st.text(max_size=9)
    if argument.type == "Union(float, int, NoneType)":
        return st.none() | (_ODD_FLOATS | _ODD_INTEGERS if odd else st.floats(0.1, 3.0) | st.integers(1, 4))
    assert (argument.type, argument.name) == ("Tensor", "key"), f"{row.name}: say here what a {argument} can be"
    return _odd_keys() if odd else st.builds(_key, st.integers(-(2**63), 2**63 - 1), st.integers(0, 9))


def _key(seed: int, block: int) -> Tensor:
    return torch.tensor([seed, block])


def _odd_keys() -> st.SearchStrategy[Tensor]:
    shapes = st.sampled_from([(), (0,), (1,), (2,), (3,), (2, 1), (2, 2), (0, 2), (1, 2), (2, 3, 2)])
    dtypes = st.sampled_from([torch.int64, torch.uint64, torch.int32, torch.bool, torch.float32, torch.complex64])
    layouts = st.sampled_from(["contiguous", "transposed", "sliced", "non_leaf", "meta"])
    return st.builds(lambda *target: Target(*target).make(), shapes, dtypes, layouts)


@st.composite
def _pieces(draw: st.DrawFn, shape: tuple[int, ...], odd: bool) -> dict[str, list[int]]:
    """Where a tensor lies in a logical one, if anywhere."""
    if odd:
        lists = st.lists(st.integers(-2, 9) | _ODD_INTEGERS, min_size=len(shape), max_size=len(shape))
        return draw(st.fixed_dictionaries({}, optional={"full_size": lists | st.just([1]), "offset": lists}))
    offset = [draw(st.integers(0, 3)) for _ in shape]
    full_size = [at + size + draw(st.sampled_from([0, 0, 1, 5])) for at, size in zip(offset, shape, strict=True)]
    return {"full_size": full_size, "offset": offset}


@dataclass(frozen=True)
class Call:
    """A call; of what is ``wrong`` with it, if anything, no schema allows it."""

    target: Target | None
    arguments: dict[str, Any]
    with_generator: bool = False
    wrong: str = ""
    positional: tuple[Any, ...] = ()

    @property
    def sizes(self) -> list[int]:
        """The sizes that it asks for."""
        full_size = self.arguments.get("full_size")
        sizes = [*(full_size if isinstance(full_size, list) else ()), self.arguments.get("n"), 0]
        return [size for size in sizes if isinstance(size, int)]


@st.composite
def calls(draw: st.DrawFn, row: Function) -> Call:
    """Calls that the schema allows."""
    given = [a for a in row.arguments if a.name not in ("tensor", "generator", "full_size", "offset")]
    fills, piece = row.arguments[0].name == "tensor", row.arguments[-1].name == "offset"
    names = [*(argument.name for argument in given), *["full_size"] * piece]
    odd = draw(st.sampled_from([[], *([name] for name in names), names]))
    target = Target(draw(_shapes(row)), draw(_DTYPES), draw(_LAYOUTS)) if fills else None
    arguments: dict[str, Any] = {}
    if row.name in _RECORDS and draw(st.booleans()):
        arguments |= draw(st.sampled_from(_RECORDS[row.name].calls))
    for argument in given:
        needed = argument.default is None and argument.name not in arguments
        if needed or argument.name in odd or draw(st.integers(0, 3)) == 0:
            arguments[argument.name] = draw(_values(row, argument, argument.name in odd))
    if target is not None and piece and draw(st.booleans()):
        arguments |= draw(_pieces(target.shape, "full_size" in odd))
    takes_generator = any(a.name == "generator" for a in row.arguments)
    return Call(target, arguments, takes_generator and draw(st.booleans()))


# For each type what is not of it, or what Python or TorchScript alone take for it.
_NO_TENSORS = [None, "0.1", "", b"fan_in", 2, 0.5, True, 1j, (), [1.5], {}, (2, 2), object, np.ones((4, 4))]
_WRONG: dict[str, list[Any]] = {
    "Tensor": [*_NO_TENSORS, torch.nn.Linear(2, 2), torch.Size([2, 2]), torch.float32],
    "float": [None, "0.1", b"1", 1j, [], [1.5], (0.5,), {}, object, 2, True, torch.tensor(0.5), torch.ones(2)],
    "int": [None, "2", 2.0, 2.5, math.nan, 1j, [2], {}, object, True, torch.tensor(2), torch.ones(2), 2**64],
    "str": [None, 2, 0.5, b"fan_in", ["fan_in"], {}, object, torch.ones(2)],
    "bool": [None, "yes", 2, 0.5, [], object, torch.ones(2)],
    "Generator?": [5, "0", 0.5, [], object, torch.ones(2)],
    "int?": ["2", 2.5, [2], object, torch.ones(2), 2**64],
    "int[]": [None, 3, "34", [1.5, 2.5], [None], [[2]], object, (4, 3), torch.ones(2), [2**64, 2]],
    "int[]?": [3, "34", [1.5, 2.5], [None], [[2]], object, (4, 3), torch.ones(2), [2**64, 2]],
    "Union(int, str)": [None, 0.5, b"a", [2], object, torch.ones(2), 2**64],
    "Union(float, int, NoneType)": ["0.1", 1j, [2], object, torch.ones(2), True],
}


@st.composite
def wrong_calls(draw: st.DrawFn, row: Function) -> Call:
    """Calls that the schema does not allow, each for one reason."""
    call = draw(calls(row))
    wrong = draw(st.sampled_from(["unknown", "too many", *(a.name for a in row.arguments)]))
    arguments = {name: value for name, value in call.arguments.items() if name != wrong}
    if wrong == "unknown":
        arguments[draw(st.sampled_from(["out", "dtype", "Tensor", "_", "self"]))] = 1.0
    elif wrong == "too many":
        return Call(call.target, {}, False, wrong, (1.0,) * (len(row.arguments) + 1))
    else:
        argument = next(a for a in row.arguments if a.name == wrong)
        # Or none at all, where one is needed.
        if argument.default is not None or draw(st.integers(0, 3)) > 0:
            arguments[wrong] = draw(st.sampled_from(_WRONG[argument.type]))
    return Call(call.target, arguments, call.with_generator and wrong != "generator", wrong)


# Answers.


@dataclass(frozen=True)
class Answer:
    """What a call did, what it returned, and what it was to leave alone."""

    outcome: Outcome
    returned: Any
    tensor: Tensor
    before: bytes | None
    changed: list[str]


def answer(call: Call, function: Callable[..., Any]) -> Answer:
    tensor = torch.zeros(1) if call.target is None else call.target.make()
    returned: list[Any] = []

    def run(tensor: Tensor, /, **arguments: Any) -> Any:
        first = () if call.target is None or call.wrong == "tensor" else (tensor,)
        with torch.inference_mode(call.target is not None and call.target.layout == "inference_mode"):
            returned.append(function(*first, *call.positional, **arguments))
        return returned[0]

    kept: dict[str, Callable[[], Any]] = {
        "the tensor's size": lambda: (tensor.shape, tensor.stride(), tensor.dtype),
        **{name: lambda value=value: _print(value) for name, value in call.arguments.items()},
    }
    before, prints = memory(tensor), {name: look() for name, look in kept.items()}
    outcome = observe(run, tensor, call.arguments, call.with_generator)
    changed = [name for name, look in kept.items() if look() != prints[name]]
    return Answer(outcome, returned[0] if returned else None, tensor, before, changed)


def _print(value: Any) -> Any:
    return memory(value) if isinstance(value, Tensor) else repr(value)


def _states() -> tuple[bytes, bytes | None]:
    outcome = observe(lambda tensor, generator: tensor, torch.zeros(1), {}, with_generator=True)
    return outcome.global_state, outcome.generator_state


_UNTOUCHED = _states()


def _beside(tensor: Tensor, storage: bytes) -> bytes:
    """The bytes of a storage that the tensor is no view of."""
    elements = np.frombuffer(storage, np.uint8).reshape(-1, tensor.element_size())
    shown = torch.arange(len(elements)).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
    return bytes(np.delete(elements, shown.flatten().numpy(), axis=0))


@dataclass(frozen=True)
class Elsewhere:
    """Errors that a docstring need not name: they are not the function's own."""

    reason: str
    errors: tuple[str, ...]
    applies: Callable[[Call, str], bool]


ELSEWHERE = (
    Elsewhere(
        "memory that several elements share cannot be written",
        ("RuntimeError",),
        lambda call, _: call.target is not None and call.target.overlaps,
    ),
    Elsewhere(
        "an inference tensor cannot be written outside inference mode",
        ("RuntimeError",),
        lambda call, _: call.target is not None and call.target.layout == "inference",
    ),
    Elsewhere("memory holds no more", ("RuntimeError",), lambda call, _: max(call.sizes) > 2**53),
    Elsewhere(
        "torch 2.6 says so of a missing kernel", ("RuntimeError",), lambda _, text: "not implemented for" in text
    ),
)
# Python checks no types: what cannot do with a value what is to be done says so.
EAGER = (
    *ELSEWHERE,
    Elsewhere(
        "a value of another type",
        ("TypeError", "AttributeError", "OverflowError", "RuntimeError"),
        lambda call, _: bool(call.wrong),
    ),
)


def complaints(
    row: Function, call: Call, given: Answer, error: str | None, elsewhere: tuple[Elsewhere, ...] = EAGER
) -> list[str]:
    """Say what is wrong with an answer, whatever the function; ``error`` is the name of what it raised."""
    outcome, target = given.outcome, call.target
    drawn = outcome.global_state != _UNTOUCHED[0]
    used = outcome.generator_state not in (None, _UNTOUCHED[1])
    found = {
        **{f"{name} changed": True for name in given.changed},
        "requires_grad or the graph changed": not outcome.autograd_kept,
        "wrote beside the tensor": given.before is not None
        and _beside(given.tensor, given.before) != _beside(given.tensor, outcome.memory or b""),
    }
    if outcome.error is not None:
        text = outcome.error[1].strip().splitlines()[-1] if outcome.error[1].strip() else ""
        errors = _DOCUMENTED[row.family, row.name].union(*(e.errors for e in elsewhere if e.applies(call, text)))
        found[f"{error} is not documented: {text}"] = error not in errors
        found[f"{error} after a write"] = outcome.memory != given.before or outcome.version_moved
        found[f"{error} after a draw"] = drawn or used
    elif target is None or call.wrong == "tensor":
        found["drew"] = drawn or used
    else:
        found["returned something else"] = not outcome.returned_itself
        found["drew from the global generator"] = drawn and (is_keyed(row) or call.with_generator or not target.written)
        found["drew for nothing"] = used and not target.written
        # An inference tensor has no version.
        found["counted no write"] = (
            target.written and not target.layout.startswith("inference") and not outcome.version_moved
        )
        found["is not finite"] = not call.wrong and not _as_said(call, given.tensor)
    return [complaint for complaint, is_so in found.items() if is_so]


def _as_said(call: Call, tensor: Tensor) -> bool:
    """Whether values are finite where the arguments are not large, and the dtype is not of 8 bits."""
    large = any(not abs(x) < 1e4 for x in call.arguments.values() if isinstance(x, float))
    return large or tensor.is_meta or tensor.element_size() == 1 or bool(tensor.isfinite().all())


def bits(tensor: Tensor) -> bytes | None:
    """The values of a tensor, however it lies in memory, and whichever of its bits a NaN has."""
    if tensor.is_meta:
        return None
    values = torch.view_as_real(tensor.detach().to(torch.complex128).contiguous())
    return memory(values.masked_fill(values.isnan(), math.nan))


def answered(row: Function, call: Call) -> str | None:
    """Check a call, and return the name of the error that it raised."""
    given = answer(call, function_of(row))
    error = given.outcome.error[0].__name__ if given.outcome.error else None
    assert not complaints(row, call, given, error)
    if error is None and call.target is not None and call.target.written and not call.wrong:
        # What is not drawn from a generator is the same however the tensor lies in memory.
        if not any(argument.name == "generator" for argument in row.arguments):
            plain = answer(replace(call, target=Target(call.target.shape, call.target.dtype)), function_of(row))
            assert bits(plain.tensor) == bits(given.tensor)
    return error


@pytest.mark.slow
@every_row
def test_any_call_is_answered_as_promised_or_refused_as_documented(row: Function) -> None:
    seen: Counter[str | None] = Counter()

    @any_of(calls(row), 120)
    def check(call: Call) -> None:
        seen[answered(row, call)] += 1

    check()
    # So that neither half of the question is asked of nothing; of all integers of 64 bits ``key`` makes a key.
    assert seen[None] >= 3
    assert len(seen) > 1 or not _DOCUMENTED[row.family, row.name] or row.name == "key"


@pytest.mark.slow
@every_row
def test_call_that_the_schema_does_not_allow_is_refused_before_a_write_or_answered_all_the_same(row: Function) -> None:
    @any_of(wrong_calls(row), 60)
    def check(call: Call) -> None:
        answered(row, call)

    check()


# What such calls once brought to light.
_KEY = torch.tensor([0, 0])
_ROWS = {(is_keyed(row), row.name): row for row in ROWS}
FOUND = [
    (_ROWS[is_keyed_too, name], Call(target, arguments))
    for is_keyed_too, name, target, arguments in (
        # The fill of one element, by which it was asked whether a dtype holds a value, makes it infinite; and TorchScript
        # leaves out what nothing uses.
        (False, "lstm_bias_", Target((12,)), {"forget": 1e39}),
        (False, "lstm_bias_", Target((12,), torch.float16), {"forget": 1e30}),
        (False, "lstm_bias_", Target((12,), torch.bfloat16), {"forget": 1e39}),
        (False, "identity_", Target((4, 3), torch.float16), {"gain": -1e30}),
        (False, "identity_", Target((6, 4, 3), torch.float8_e5m2), {"gain": 1e30}),
        (False, "lstm_bias_", Target((4,), torch.complex32), {"forget": 1e30}),
        # torch.eye writes zeros before it finds that it has no kernel.
        (False, "eye_", Target((5, 7), torch.uint32), {}),
        (False, "eye_", Target((5, 7), torch.complex32), {}),
        (False, "eye_", Target((5, 7), torch.uint32, "inference_mode"), {}),
        # Of memory that elements share, a fill writes what one of them is to hold into all.
        (False, "eye_", Target((5, 7), layout="expanded"), {}),
        (False, "dirac_", Target((6, 4, 3), layout="expanded"), {}),
        (False, "identity_", Target((6, 4, 3), layout="expanded"), {}),
        (False, "lstm_bias_", Target((12,), layout="expanded"), {}),
        (False, "bilinear_", Target((6, 4, 3), layout="expanded"), {}),
        (False, "bilinear_", Target((3, 3, 3), layout="expanded"), {"groups": 3}),
        # An interval whose standard deviation no float holds.
        (False, "trunc_normal_tf_", Target((5, 7), torch.float64), {"a": 1e200, "b": 2e200, "correct_std": True}),
        (True, "trunc_normal_tf_", Target((5, 7)), {"key": _KEY, "a": 5e-324, "b": 1e-323, "correct_std": True}),
        # A slope whose square no float holds, and a bound of which the gain is next to nothing.
        (False, "calculate_gain", None, {"nonlinearity": "leaky_relu", "param": 1e200}),
        (False, "calculate_gain", None, {"nonlinearity": "hardtanh", "param": 1.7e308}),
        (False, "kaiming_normal_", Target((5, 7)), {"a": -1e308}),
        (False, "kaiming_normal_", Target((5, 7)), {"a": math.nan}),
        (False, "kaiming_uniform_", Target((5, 7)), {"a": math.nan}),
        (True, "kaiming_normal_", Target((5, 7)), {"key": _KEY, "a": math.nan}),
        # What the dtype does not hold.
        (False, "variance_scaling_", Target((5, 7)), {"scale": 1e150}),
        (False, "variance_scaling_", Target((5, 7), torch.float16), {"scale": 1e10, "distribution": "uniform"}),
        (False, "icnr_", Target((12, 7, 3)), {"scale": 1e150, "distribution": "uniform"}),
        (False, "sine_uniform_", Target((5, 7), torch.bfloat16), {"omega": 1e-300}),
        (False, "sine_uniform_", Target((5, 7)), {"omega": 5e-324}),
        (True, "sine_uniform_", Target((5, 7)), {"key": _KEY, "omega": 1e-300}),
        # Of zeros of either sign TorchScript's max takes the other one.
        (False, "trunc_normal_", Target((5, 7)), {"mean": -0.0, "std": 0.0, "a": 0.0}),
        (False, "variance_scaling_", Target((5, 7)), {"scale": -0.0}),
        # TorchScript spells some numbers in 32 bits.
        (False, "sine_uniform_", Target((5, 7)), {"omega": -1e-300}),
        # A scalar cannot be asked for its fans, by key no more than else.
        (True, "lecun_normal_", Target(()), {"key": _KEY, "full_size": [], "offset": []}),
        (True, "kaiming_uniform_", Target(()), {"key": _KEY, "full_size": []}),
        (True, "sine_uniform_", Target(()), {"key": _KEY, "full_size": []}),
        # There are no kernels to zero what could be drawn.
        (True, "sparse_", Target((5, 7), torch.float8_e5m2), {"key": _KEY, "sparsity": 0.5}),
        # Of integers that 64 bits hold, a product or a sum that they do not.
        (False, "icnr_", Target((4, 3, 1, 1)), {"upscale_factor": 2**62}),
        (False, "depth_scaled_std", None, {"std": 1.0, "layers": 2**62, "branches": 4}),
        (True, "normal_", Target((5, 7)), {"key": _KEY, "offset": [2**63 - 1, 0]}),
        (False, "icnr_", Target((2, 1, 1)), {"upscale_factor": 2**63 - 1}),
        (False, "fans", None, {"size": [2, 3], "groups": 2**63 - 1}),
        (False, "dirac_", Target((2, 1, 1)), {"groups": 2**63 - 1}),
        (False, "dirac_", Target((2, 0, 0)), {"groups": 2**63 - 1}),
        (False, "bilinear_", Target((2, 1, 1)), {"groups": 2**63 - 1}),
    )
]
every_found = pytest.mark.parametrize(("row", "call"), FOUND, ids=label)


@every_found
def test_call_that_was_once_answered_wrongly_is_answered(row: Function, call: Call) -> None:
    answered(row, call)
