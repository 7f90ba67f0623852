"""Does a scripted function draw, return, warn and refuse as the eager one does?"""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import torchinit
from jit_tests.scripting import last_line, scripted
from tests.support.layouts import LAYOUTS
from tests.support.outcome import observe
from tests.support.pairwise import pairwise
from tests.support.record import Record, Refusal
from tests.support.records import CALLS, REFUSALS, call_id

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.int64)
LAYOUT_NAMES = ("contiguous", "transposed", "channels_last", "parameter", "non_leaf", "meta")
# Besides the record's own shape. Kernels switch paths at 16 elements.
SHAPES = ((), (0,), (17,), (0, 4), (3, 5), (64, 50), (4, 2, 3), (6, 3, 2, 2, 3))


def _observed(function: Any, arguments: dict[str, Any], tensor: Tensor, with_generator: bool) -> list[Any]:
    outcome = observe(function, tensor, arguments, with_generator)
    message = outcome.error and last_line(Exception(outcome.error[1]))
    names = ("memory", "global_state", "generator_state", "version_moved", "autograd_kept")
    # Compare the texts of warnings only: TorchScript's warn takes no category.
    return [message, [w[1] for w in outcome.warned], *(getattr(outcome, name) for name in names)]


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_scripted_call_equals_eager_call(record: Record, arguments: dict[str, Any]) -> None:
    generators = (False, True) if record.takes_generator else (False,)
    for layout, dtype, shape, with_generator in pairwise(LAYOUT_NAMES, DTYPES, (record.shape, *SHAPES), generators):
        eager, compiled = (
            _observed(function, arguments, LAYOUTS[layout](shape, dtype), with_generator)
            for function in (record.function, scripted(record.name))
        )
        assert compiled == eager, (layout, dtype, shape, with_generator)


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_optimised_later_runs_equal_eager(record: Record, arguments: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(5):
            torch.default_generator.manual_seed(seed)
            eager = record.function(torch.zeros(record.shape), **arguments)
            torch.default_generator.manual_seed(seed)
            tensor = torch.zeros(record.shape)
            assert scripted(record.name)(tensor, **arguments) is not None
            assert torch.equal(tensor, eager), f"run {seed}"


@pytest.mark.parametrize(("record", "refusal"), [(r, f) for r, f in REFUSALS if f.scripts], ids=call_id)
def test_scripted_message_equals_eager_message(record: Record, refusal: Refusal) -> None:
    tensor = refusal.tensor()
    eager = observe(record.function, tensor, refusal.arguments)
    compiled = observe(scripted(record.name), tensor, refusal.arguments)
    assert eager.error is not None
    assert compiled.error is not None
    assert last_line(Exception(compiled.error[1])) == eager.error[1]
    assert compiled.memory == eager.memory
    assert compiled.global_state == eager.global_state


@pytest.mark.parametrize(("record", "refusal"), [(r, f) for r, f in REFUSALS if not f.scripts], ids=call_id)
def test_scripted_slope_must_match_the_schema(record: Record, refusal: Refusal) -> None:
    (slope,) = refusal.arguments.values()
    if isinstance(slope, str):
        with pytest.raises(RuntimeError, match="Expected a value of type 'float'"):
            scripted(record.name)(refusal.tensor(), a=slope)
    else:
        # TorchScript takes a bool as a float.
        as_float, as_bool = (observe(scripted(record.name), refusal.tensor(), {"a": a}) for a in (float(slope), slope))
        assert not as_float.differences(as_bool)


@pytest.mark.parametrize(
    "arguments",
    [("linear",), ("tanh",), ("relu",), ("selu",), ("leaky_relu",), ("leaky_relu", 2), ("leaky_relu", 0.2)],
    ids=str,
)
def test_scripted_gain_equals_eager_gain(arguments: tuple[Any, ...]) -> None:
    assert scripted("calculate_gain")(*arguments) == torchinit.calculate_gain(*arguments)


def test_scripted_gain_lists_the_choices_as_eager_does() -> None:
    with pytest.raises(ValueError, match="Unsupported") as eager:
        torchinit.calculate_gain("maxout")
    with pytest.raises(torch.jit.Error) as compiled:
        scripted("calculate_gain")("maxout")
    assert last_line(compiled.value) == str(eager.value)


@pytest.mark.parametrize("shape", [(3, 5), (6, 4, 3, 3), (2, 0, 3)], ids=str)
def test_scripted_fans_equal_eager_fans(shape: tuple[int, ...]) -> None:
    tensor = torch.empty(shape)
    fans = torchinit._calculate_fan_in_and_fan_out(tensor)
    assert scripted("_calculate_fan_in_and_fan_out")(tensor) == fans
    assert scripted("_calculate_correct_fan")(tensor, "FAN_OUT") == fans[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("arguments", [{}, {"a": 3.0, "b": 10.0}], ids=["central", "tail"])
def test_scripted_trunc_normal_of_several_chunks_equals_eager(arguments: dict[str, float], dtype: torch.dtype) -> None:
    tensors = []
    for function in (torchinit.trunc_normal_, scripted("trunc_normal_")):
        torch.default_generator.manual_seed(0)
        tensors.append(function(torch.zeros(700, 1000, dtype=dtype), **arguments))
    assert torch.equal(*tensors)
    assert (tensors[0] != 0).all()
