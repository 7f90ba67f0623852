"""Random calls of every function of the registry, made from the schemas, so that a new entry is covered.

Examples from the function's record make more of the calls succeed.
"""

import math
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from torch import Tensor

import torchinit
from tests.support.layouts import COMPLEX, FLOATING, INTEGER, LAYOUTS
from tests.support.records import RECORDS
from tools.codegen.functions import FUNCTIONS, KEYS
from tools.codegen.keyed import keyed as keyed_rows
from tools.codegen.model import Argument, Function
from torchinit import keyed

ROWS = [*(row for row in FUNCTIONS if row.public), *keyed_rows(FUNCTIONS), *KEYS]
_RECORDS = {record.name: record for record in RECORDS}


def is_keyed(row: Function) -> bool:
    return row.family.startswith("keyed.")


def function_of(row: Function) -> Callable[..., Any]:
    return getattr(keyed if is_keyed(row) else torchinit, row.name)


def label(value: Any) -> str | None:
    return "keyed." * is_keyed(value) + value.name if isinstance(value, Function) else None


every_row = pytest.mark.parametrize("row", ROWS, ids=label)


# Tensors.

_RARE = (
    *(torch.int8, torch.int16, torch.uint16, torch.uint32, torch.uint64, torch.complex32),
    *(torch.float8_e5m2, torch.float8_e4m3fn, torch.float8_e5m2fnuz, torch.float8_e4m3fnuz),
)
_DTYPES = st.one_of(
    st.sampled_from([torch.float32] * 3 + [*FLOATING] * 2 + [*COMPLEX]), st.sampled_from(INTEGER + _RARE)
)
# "inference": made in inference mode and filled outside it. "inference_mode": filled in it too.
_LAYOUTS = st.sampled_from(["contiguous"] * 4 + [*LAYOUTS, "expanded", "inference", "inference_mode"])


@dataclass(frozen=True)
class Target:
    """The tensor that a call fills."""

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
    def has_values(self) -> bool:
        """True if there is anything to write."""
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


# Arguments. Most calls have at most one odd argument, so that some calls work and the others fail for many reasons.

_ODD_FLOATS = (
    st.sampled_from(
        [*(math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1.0, 5e-324, 1e-300, 1e-40, 1e-8, -1e-8, 7e4, -7e4, 1e30)]
        + [*(3.3e38, -3.3e38, 1e39, 1e154, -1e200, 1e307, -1e308, 1.7e308)]
    )
    | st.floats()
)
# NB: each is either small or far too large for memory.
_ODD_INTEGERS = st.sampled_from([0, -1, -7, 5, 6, 7, 64, 2**53 + 1, 2**62, 2**63 - 1, -(2**63)])
# NB: TorchScript lowers only ASCII letters, and its messages end at a NUL.
_CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " é名"
_WORDS = st.sampled_from(["", "fan", "FAN_IN", "Fan_Out", "relu ", "Relu", "cauchy", "é", "{}", "%s"]) | st.text(
    _CHARACTERS, max_size=4
)


def _values(row: Function, argument: Argument, odd: bool) -> st.SearchStrategy[Any]:
    """Return a strategy of the values that an argument's type allows."""
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
    if argument.type == "float[]?":
        return st.none() | st.lists(_ODD_FLOATS if odd else st.floats(0.5, 9.0), max_size=6)
    if argument.type == "Union(int, str)":
        return _ODD_INTEGERS | _WORDS if odd else st.integers(0, 9) | st.text(max_size=9)
    if argument.type == "Union(float, int, NoneType)":
        return st.none() | (_ODD_FLOATS | _ODD_INTEGERS if odd else st.floats(0.1, 3.0) | st.integers(1, 4))
    assert (argument.type, argument.name) == ("Tensor", "key"), f"{row.name}: add values of {argument} here"
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
    """Draw a full size and an offset for a tensor."""
    if odd:
        lists = st.lists(st.integers(-2, 9) | _ODD_INTEGERS, min_size=len(shape), max_size=len(shape))
        return draw(st.fixed_dictionaries({}, optional={"full_size": lists | st.just([1]), "offset": lists}))
    offset = [draw(st.integers(0, 3)) for _ in shape]
    full_size = [at + size + draw(st.sampled_from([0, 0, 1, 5])) for at, size in zip(offset, shape, strict=True)]
    return {"full_size": full_size, "offset": offset}


@dataclass(frozen=True)
class Call:
    """A call. ``wrong`` is the argument that the schema does not allow, or empty."""

    target: Target | None
    arguments: dict[str, Any]
    with_generator: bool = False
    wrong: str = ""
    positional: tuple[Any, ...] = ()

    @property
    def sizes(self) -> list[int]:
        """The sizes among the arguments, which can ask for too much memory."""
        full_size = self.arguments.get("full_size")
        sizes = [*(full_size if isinstance(full_size, list) else ()), self.arguments.get("n"), 0]
        return [size for size in sizes if isinstance(size, int)]


@st.composite
def calls(draw: st.DrawFn, row: Function) -> Call:
    """Draw a call that the schema allows."""
    given = [a for a in row.arguments if a.name not in ("tensor", "generator", "full_size", "offset")]
    fills, piece = row.arguments[0].name == "tensor", row.arguments[-1].name == "offset"
    names = [*(argument.name for argument in given), *["full_size"] * piece]
    odd = draw(st.sampled_from([[], *([name] for name in names), names]))
    target = Target(draw(_shapes(row)), draw(_DTYPES), draw(_LAYOUTS)) if fills else None
    arguments: dict[str, Any] = {}
    if row.name in _RECORDS and draw(st.booleans()):
        arguments |= draw(st.sampled_from(_RECORDS[row.name].calls))
    # Of many arguments most keep their defaults, or hardly a call would work.
    rarely = 3 if len(given) < 8 else 3 * len(given)
    for argument in given:
        needed = argument.default is None and argument.name not in arguments
        if needed or argument.name in odd or draw(st.integers(0, rarely)) == 0:
            arguments[argument.name] = draw(_values(row, argument, argument.name in odd))
    if target is not None and piece and draw(st.booleans()):
        arguments |= draw(_pieces(target.shape, "full_size" in odd))
    takes_generator = any(a.name == "generator" for a in row.arguments)
    return Call(target, arguments, takes_generator and draw(st.booleans()))


# For each type, values that are not of it, or that only Python or only TorchScript accepts.
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
    "float[]?": [3.0, "34", [None], [[2.0]], ["1"], [1j], object, torch.tensor(2.0)],
    "Union(int, str)": [None, 0.5, b"a", [2], object, torch.ones(2), 2**64],
    "Union(float, int, NoneType)": ["0.1", 1j, [2], object, torch.ones(2), True],
}


@st.composite
def wrong_calls(draw: st.DrawFn, row: Function) -> Call:
    """Draw a call that the schema does not allow, for one reason."""
    call = draw(calls(row))
    wrong = draw(st.sampled_from(["unknown", "too many", *(a.name for a in row.arguments)]))
    arguments = {name: value for name, value in call.arguments.items() if name != wrong}
    if wrong == "unknown":
        arguments[draw(st.sampled_from(["out", "dtype", "Tensor", "_", "self"]))] = 1.0
    elif wrong == "too many":
        return Call(call.target, {}, False, wrong, (1.0,) * (len(row.arguments) + 1))
    else:
        argument = next(a for a in row.arguments if a.name == wrong)
        # Sometimes leave a required argument out.
        if argument.default is not None or draw(st.integers(0, 3)) > 0:
            arguments[wrong] = draw(st.sampled_from(_WRONG[argument.type]))
    return Call(call.target, arguments, call.with_generator and wrong != "generator", wrong)
