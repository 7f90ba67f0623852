"""Does every function of the registry work as documented for any call, or raise a documented error?

``jit_tests/test_robustness_scripted.py`` asks the same of TorchScript.
"""

import math
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

from tests.support.outcome import Outcome, memory, observe
from tests.support.pairwise import EXHAUSTIVE
from tests.support.random_calls import (
    ROWS,
    Call,
    Target,
    calls,
    every_row,
    function_of,
    is_keyed,
    label,
    wrong_calls,
)
from tools.codegen.docstrings import docstring
from tools.codegen.functions import FUNCTIONS
from tools.codegen.model import Function

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")

_SIBLINGS = {row.name: row for row in FUNCTIONS}


def _documented(row: Function) -> frozenset[str]:
    """List the errors that a docstring names; a keyed function leaves those of its sibling to the sibling's."""
    sibling = frozenset(docstring(_SIBLINGS[row.name]).raises) if row.name in _SIBLINGS else frozenset()
    return sibling.union(docstring(row).raises)


_DOCUMENTED = {(row.family, row.name): _documented(row) for row in ROWS}


def check_many(
    strategy: st.SearchStrategy[Any], examples: int
) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Run a check on many calls, drawn by a seed that follows from the check's source."""
    examples *= 6 if EXHAUSTIVE else 1
    # A busy machine makes drawing slow.
    slow = hypothesis.HealthCheck.too_slow
    settings = hypothesis.settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=[slow])
    return lambda check: settings(hypothesis.given(strategy)(check))


@dataclass(frozen=True)
class CallOutcome:
    """The outcome of a call: its effects, its return value, and the inputs that it changed by mistake."""

    outcome: Outcome
    returned: Any
    tensor: Tensor
    before: bytes | None
    changed: list[str]


def observe_call(call: Call, function: Callable[..., Any]) -> CallOutcome:
    tensor = torch.zeros(1) if call.target is None else call.target.make()
    returned: list[Any] = []

    def run(tensor: Tensor, /, **arguments: Any) -> Any:
        first = () if call.target is None or call.wrong == "tensor" else (tensor,)
        with torch.inference_mode(call.target is not None and call.target.layout == "inference_mode"):
            returned.append(function(*first, *call.positional, **arguments))
        return returned[0]

    kept: dict[str, Callable[[], Any]] = {
        "the tensor's size": lambda: (tensor.shape, tensor.stride(), tensor.dtype),
        **{name: lambda value=value: _snapshot(value) for name, value in call.arguments.items()},
    }
    before, snapshots = memory(tensor), {name: look() for name, look in kept.items()}
    outcome = observe(run, tensor, call.arguments, call.with_generator)
    changed = [name for name, look in kept.items() if look() != snapshots[name]]
    return CallOutcome(outcome, returned[0] if returned else None, tensor, before, changed)


def _snapshot(value: Any) -> Any:
    return memory(value) if isinstance(value, Tensor) else repr(value)


def _states() -> tuple[bytes, bytes | None]:
    outcome = observe(lambda tensor, generator: tensor, torch.zeros(1), {}, with_generator=True)
    return outcome.global_state, outcome.generator_state


_STATES_BEFORE = _states()


def _bytes_outside(tensor: Tensor, storage: bytes) -> bytes:
    """Return the bytes of a storage outside the tensor."""
    elements = np.frombuffer(storage, np.uint8).reshape(-1, tensor.element_size())
    shown = torch.arange(len(elements)).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
    return bytes(np.delete(elements, shown.flatten().numpy(), axis=0))


@dataclass(frozen=True)
class Exemption:
    """Errors that a docstring need not name, because they are not the function's own."""

    reason: str
    errors: tuple[str, ...]
    applies: Callable[[Call, str], bool]


EXEMPTIONS = (
    Exemption(
        "memory that several elements share cannot be written",
        ("RuntimeError",),
        lambda call, _: call.target is not None and call.target.overlaps,
    ),
    Exemption(
        "an inference tensor cannot be written outside inference mode",
        ("RuntimeError",),
        lambda call, _: call.target is not None and call.target.layout == "inference",
    ),
    Exemption("out of memory", ("RuntimeError",), lambda call, _: max(call.sizes) > 2**53),
    Exemption(
        "torch 2.6 raises it for a missing kernel", ("RuntimeError",), lambda _, text: "not implemented for" in text
    ),
)
# Python checks no types: a wrong value fails where it is used.
EAGER_EXEMPTIONS = (
    *EXEMPTIONS,
    Exemption(
        "a value of another type",
        ("TypeError", "AttributeError", "OverflowError", "RuntimeError"),
        lambda call, _: bool(call.wrong),
    ),
)


def violations(
    row: Function,
    call: Call,
    given: CallOutcome,
    error: str | None,
    exemptions: tuple[Exemption, ...] = EAGER_EXEMPTIONS,
) -> list[str]:
    """List the violations of what every function promises; ``error`` is the name of the error raised."""
    outcome, target = given.outcome, call.target
    drawn = outcome.global_state != _STATES_BEFORE[0]
    used = outcome.generator_state not in (None, _STATES_BEFORE[1])
    found = {
        **{f"{name} changed": True for name in given.changed},
        "requires_grad or the graph changed": not outcome.autograd_kept,
        "wrote beside the tensor": given.before is not None
        and _bytes_outside(given.tensor, given.before) != _bytes_outside(given.tensor, outcome.memory or b""),
    }
    if outcome.error is not None:
        text = outcome.error[1].strip().splitlines()[-1] if outcome.error[1].strip() else ""
        errors = _DOCUMENTED[row.family, row.name].union(*(e.errors for e in exemptions if e.applies(call, text)))
        found[f"{error} is not documented: {text}"] = error not in errors
        found[f"{error} after a write"] = outcome.memory != given.before or outcome.version_moved
        found[f"{error} after a draw"] = drawn or used
    elif target is None or call.wrong == "tensor":
        found["drew"] = drawn or used
    else:
        found["returned something else"] = not outcome.returned_itself
        found["drew from the global generator"] = drawn and (
            is_keyed(row) or call.with_generator or not target.has_values
        )
        found["drew for nothing"] = used and not target.has_values
        # An inference tensor has no version.
        found["counted no write"] = (
            target.has_values and not target.layout.startswith("inference") and not outcome.version_moved
        )
        found["is not finite"] = not call.wrong and not _is_finite_as_promised(call, given.tensor)
    return [violation for violation, is_so in found.items() if is_so]


def _is_finite_as_promised(call: Call, tensor: Tensor) -> bool:
    """True unless values overflow although the arguments are moderate and the dtype has more than 8 bits."""
    large = any(not abs(x) < 1e4 for x in call.arguments.values() if isinstance(x, float))
    return large or tensor.is_meta or tensor.element_size() == 1 or bool(tensor.isfinite().all())


def bits(tensor: Tensor) -> bytes | None:
    """Return the values of a tensor as bytes, independent of layout and of NaN payloads."""
    if tensor.is_meta:
        return None
    values = torch.view_as_real(tensor.detach().to(torch.complex128).contiguous())
    return memory(values.masked_fill(values.isnan(), math.nan))


def check_call(row: Function, call: Call) -> str | None:
    """Check a call and return the name of the error that it raised."""
    given = observe_call(call, function_of(row))
    error = given.outcome.error[0].__name__ if given.outcome.error else None
    assert not violations(row, call, given, error)
    if error is None and call.target is not None and call.target.has_values and not call.wrong:
        # Values not drawn from a generator must not depend on the layout.
        if not any(argument.name == "generator" for argument in row.arguments):
            plain = observe_call(replace(call, target=Target(call.target.shape, call.target.dtype)), function_of(row))
            assert bits(plain.tensor) == bits(given.tensor)
    return error


@pytest.mark.slow
@every_row
def test_any_call_works_or_is_refused_as_documented(row: Function) -> None:
    seen: Counter[str | None] = Counter()

    # More arguments need more calls: most calls must work for one to be odd.
    @check_many(calls(row), 20 + 4 * len(row.arguments))
    def check(call: Call) -> None:
        seen[check_call(row, call)] += 1

    check()
    # Both outcomes must occur, except that ``key`` accepts every 64-bit integer.
    assert seen[None] >= 1
    assert len(seen) > 1 or not _DOCUMENTED[row.family, row.name] or row.name == "key"


@pytest.mark.slow
@every_row
def test_call_that_the_schema_does_not_allow_is_refused_before_a_write_or_works(row: Function) -> None:
    @check_many(wrong_calls(row), 8)
    def check(call: Call) -> None:
        check_call(row, call)

    check()


# Calls that once failed.
_KEY = torch.tensor([0, 0])
_ROWS = {(is_keyed(row), row.name): row for row in ROWS}
REGRESSIONS = [
    (_ROWS[is_keyed_too, name], Call(target, arguments))
    for is_keyed_too, name, target, arguments in (
        # A value that the dtype cannot hold: the trial fill of one element makes it infinite, and TorchScript removes a
        # trial fill whose result is not used.
        (False, "lstm_bias_", Target((12,)), {"forget": 1e39}),
        (False, "lstm_bias_", Target((12,), torch.float16), {"forget": 1e30}),
        (False, "lstm_bias_", Target((12,), torch.bfloat16), {"forget": 1e39}),
        (False, "identity_", Target((4, 3), torch.float16), {"gain": -1e30}),
        (False, "identity_", Target((1, 2), layout="inference_mode"), {"gain": 1e39}),
        (False, "identity_", Target((6, 4, 3), torch.float8_e5m2), {"gain": 1e30}),
        (False, "lstm_bias_", Target((4,), torch.complex32), {"forget": 1e30}),
        # torch.eye writes zeros before it fails for lack of a kernel.
        (False, "eye_", Target((5, 7), torch.uint32), {}),
        (False, "eye_", Target((5, 7), torch.complex32), {}),
        (False, "eye_", Target((5, 7), torch.uint32, "inference_mode"), {}),
        # Elements that share memory cannot hold different values.
        (False, "eye_", Target((5, 7), layout="expanded"), {}),
        (False, "dirac_", Target((6, 4, 3), layout="expanded"), {}),
        (False, "identity_", Target((6, 4, 3), layout="expanded"), {}),
        (False, "lstm_bias_", Target((12,), layout="expanded"), {}),
        (False, "bilinear_", Target((6, 4, 3), layout="expanded"), {}),
        (False, "bilinear_", Target((3, 3, 3), layout="expanded"), {"groups": 3}),
        # An interval whose std overflows or underflows a float.
        (False, "trunc_normal_tf_", Target((5, 7), torch.float64), {"a": 1e200, "b": 2e200, "correct_std": True}),
        (True, "trunc_normal_tf_", Target((5, 7)), {"key": _KEY, "a": 5e-324, "b": 1e-323, "correct_std": True}),
        # A slope whose square overflows, and a bound with a tiny gain.
        (False, "calculate_gain", None, {"nonlinearity": "leaky_relu", "param": 1e200}),
        (False, "calculate_gain", None, {"nonlinearity": "hardtanh", "param": 1.7e308}),
        (False, "kaiming_normal_", Target((5, 7)), {"a": -1e308}),
        (False, "kaiming_normal_", Target((5, 7)), {"a": math.nan}),
        (False, "kaiming_uniform_", Target((5, 7)), {"a": math.nan}),
        (True, "kaiming_normal_", Target((5, 7)), {"key": _KEY, "a": math.nan}),
        # Bounds or std beyond the dtype's range.
        (False, "variance_scaling_", Target((5, 7)), {"scale": 1e150}),
        (False, "variance_scaling_", Target((5, 7), torch.float16), {"scale": 1e10, "distribution": "uniform"}),
        (False, "icnr_", Target((12, 7, 3)), {"scale": 1e150, "distribution": "uniform"}),
        (False, "sine_uniform_", Target((5, 7), torch.bfloat16), {"omega": 1e-300}),
        (False, "sine_uniform_", Target((5, 7)), {"omega": 5e-324}),
        (True, "sine_uniform_", Target((5, 7)), {"key": _KEY, "omega": 1e-300}),
        # Of 0.0 and -0.0 TorchScript's max returns the other one.
        (False, "trunc_normal_", Target((5, 7)), {"mean": -0.0, "std": 0.0, "a": 0.0}),
        (False, "variance_scaling_", Target((5, 7)), {"scale": -0.0}),
        # TorchScript prints some numbers in 32 bits.
        (False, "sine_uniform_", Target((5, 7)), {"omega": -1e-300}),
        # A scalar has no fans, with a key either.
        (True, "lecun_normal_", Target(()), {"key": _KEY, "full_size": [], "offset": []}),
        (True, "kaiming_uniform_", Target(()), {"key": _KEY, "full_size": []}),
        (True, "sine_uniform_", Target(()), {"key": _KEY, "full_size": []}),
        # A dtype that can be drawn, but has no kernel to set zeros.
        (True, "sparse_", Target((5, 7), torch.float8_e5m2), {"key": _KEY, "sparsity": 0.5}),
        # 64-bit integers whose product or sum overflows.
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
every_regression = pytest.mark.parametrize(("row", "call"), REGRESSIONS, ids=label)


@every_regression
def test_call_that_once_failed_works_or_is_refused(row: Function, call: Call) -> None:
    check_call(row, call)
