"""Do __torch_function__ overrides that were written for upstream keep working?"""

from typing import Any, ClassVar

import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.support.outcome import same_opening
from tests.support.record import Record
from tests.support.records import CALLS, UPSTREAMS, call_id

OVERRIDABLE = {"uniform_", "normal_", "constant_", "kaiming_uniform_"}


class Recorder(torch.Tensor):
    """A tensor that records the initializers that it overrides."""

    seen: ClassVar[list[tuple[Any, tuple[Any, ...], dict[str, Any]]]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in [getattr(torch.nn.init, name) for name in OVERRIDABLE]:
            cls.seen.append((func, args, kwargs or {}))
            return "overridden"
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize(("record", "arguments"), [(r, a) for r, a in CALLS if r.upstream], ids=call_id)
def test_override_gets_upstreams_function_and_arguments(record: Record, arguments: dict[str, Any]) -> None:
    def seen(function: Any) -> tuple[Any, list[Any]]:
        Recorder.seen = []
        result = function(torch.empty(record.shape).as_subclass(Recorder), **arguments)
        return result if isinstance(result, str) else None, [(f, len(a), sorted(k)) for f, a, k in Recorder.seen]

    ours = seen(record.function)
    # trunc_normal_ offers no override, ours or upstream's.
    assert ours == ((None, []) if record.name == "trunc_normal_" else seen(getattr(torch.nn.init, record.name)))
    assert (ours[0] == "overridden") is (record.current_name in OVERRIDABLE)


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_fill_under_a_torch_function_mode_draws_the_same(record: Record, arguments: dict[str, Any]) -> None:
    class Passing(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    torch.manual_seed(0)
    expected = record.function(torch.empty(record.shape), **arguments)
    torch.manual_seed(0)
    with Passing():
        assert torch.equal(record.function(torch.empty(record.shape), **arguments), expected)


@pytest.mark.parametrize("record", [r for r in UPSTREAMS if r.name != "trunc_normal_"], ids=call_id)
def test_uninitialized_parameter_of_a_lazy_module_is_refused_as_upstream_does(record: Record) -> None:
    errors = []
    for function in (record.function, getattr(torch.nn.init, record.name)):
        with pytest.raises((ValueError, RuntimeError), match="uninitialized parameter") as caught:
            function(torch.nn.UninitializedParameter(), **record.calls[0])
        errors.append((caught.type, str(caught.value)))
    assert same_opening(*errors)
