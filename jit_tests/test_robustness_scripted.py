"""Does a scripted function treat every call as the eager one does, and refuse calls outside its schema?"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from jit_tests.scripting import run_quietly
from tests.core.test_robustness import (
    EXEMPTIONS,
    CallOutcome,
    Exemption,
    bits,
    check_many,
    every_regression,
    observe_call,
    violations,
)
from tests.support.random_calls import Call, calls, every_row, function_of, wrong_calls
from tools.codegen.model import Function

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning"),
]

SCRIPTED_EXEMPTIONS = (
    *EXEMPTIONS,
    Exemption(
        "TorchScript checks types itself, but None can be an undefined tensor",
        ("RuntimeError", "NotImplementedError"),
        lambda call, text: bool(call.wrong),
    ),
)


@dataclass(frozen=True)
class Difference:
    """A case where TorchScript differs from eager code by design."""

    reason: str
    applies: Callable[[Call, CallOutcome], bool]


KNOWN_DIFFERENCES = (
    Difference(
        "TorchScript cannot detect an inference tensor, and writes to it where the kernels allow that",
        lambda call, eager: call.target is not None and call.target.layout == "inference",
    ),
    Difference(
        "TorchScript's integers have 64 bits, and wrap",
        lambda call, eager: (
            isinstance(eager.returned, tuple) and not all(-(2**63) <= n < 2**63 for n in eager.returned)
        ),
    ),
    Difference("out of memory", lambda call, eager: max(call.sizes) > 2**53),
)


@functools.cache
def _scripted(function: Any) -> Any:
    return run_quietly(torch.jit.script, function)


def _error(given: CallOutcome) -> str | None:
    """Return the name of the error's type, unwrapped from torch.jit.Error."""
    if given.outcome.error is None:
        return None
    kind, text = given.outcome.error
    raised = re.match(r"(?:builtins\.)?(\w+): ", text.strip().splitlines()[-1])
    return raised[1] if raised and kind is torch.jit.Error else kind.__name__


def _spelled(text: str) -> str:
    """Round numbers to four digits, where eager and TorchScript agree."""
    return re.sub(r"-?\d+\.?\d*(?:e[-+]?\d+)?", lambda number: f"{float(number[0]):.4g}", text)


def _message(given: CallOutcome) -> str:
    return given.outcome.error[1] if given.outcome.error else ""


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.shape == other.shape and bits(one) == bits(other)
    # NaN does not equal itself.
    return bool(one == other) or (one != one and other != other)


def _differences(call: Call, eager: CallOutcome, compiled: CallOutcome) -> list[str]:
    names = ("global_state", "generator_state", "version_moved", "autograd_kept", "returned_itself")
    pairs = {name: (getattr(eager.outcome, name), getattr(compiled.outcome, name)) for name in names}
    pairs["error"] = (_error(eager), _error(compiled))
    # Compare the texts of warnings only: TorchScript's warn takes no category.
    pairs["warned"] = ([w[1] for w in eager.outcome.warned], [w[1] for w in compiled.outcome.warned])
    differ = [f"{name}: {one!r:.200} is {other!r:.200}" for name, (one, other) in pairs.items() if one != other]
    if _spelled(_message(eager)) not in _spelled(_message(compiled)):
        differ.append(f"message: {_message(eager)} is {_message(compiled)}")
    if bits(eager.tensor) != bits(compiled.tensor):
        differ.append(f"values: {eager.tensor} is {compiled.tensor}")
    if call.target is None and not _same(eager.returned, compiled.returned):
        differ.append(f"returned: {eager.returned} is {compiled.returned}")
    return differ


def _check(row: Function, call: Call) -> None:
    eager, compiled = (observe_call(call, f) for f in (function_of(row), _scripted(function_of(row))))
    known = [difference for difference in KNOWN_DIFFERENCES if difference.applies(call, eager)]
    if not known:
        assert not violations(row, call, compiled, _error(compiled), SCRIPTED_EXEMPTIONS)
        assert not _differences(call, eager, compiled)


@every_row
def test_any_call_has_the_eager_outcome(row: Function) -> None:
    @check_many(calls(row), 12)
    def check(call: Call) -> None:
        _check(row, call)

    check()


@every_row
def test_call_that_the_schema_does_not_allow_is_refused_before_a_write_or_converted(row: Function) -> None:
    @check_many(wrong_calls(row), 6)
    def check(call: Call) -> None:
        compiled = observe_call(call, _scripted(function_of(row)))
        if call.target is None or call.target.layout != "inference":
            assert not violations(row, call, compiled, _error(compiled), SCRIPTED_EXEMPTIONS)

    check()


@every_regression
def test_call_that_once_failed_has_the_eager_outcome(row: Function, call: Call) -> None:
    _check(row, call)
