"""Does a scripted, saved and loaded function draw eager's values on a GPU, also after TorchScript has optimised it?"""

import io
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import torchinit
from tests.support.gpu import DEVICE, FLOATS, ON_GPU, blank, device_generator, tolerance
from tests.support.keyed_records import CALLS as KEYED_CALLS, ROWS, KeyedCall
from tests.support.layers import MIXED, differing
from tests.support.record import Record
from tests.support.records import RECORDS, call_id
from tools.codegen.deployed import PREFIX
from torchinit import keyed, recipes
from torchinit.deploy import bundle

CURRENT = [record for record in RECORDS if record.name == record.current_name]
CALLS = [(record, call) for record in CURRENT for call in record.calls + record.unmatched]
KEY = torch.tensor([42, 2**32 - 3])
FIRST_CALLS = [next(call for call in KEYED_CALLS if call.name == name) for name in ROWS]
# The optimised graph runs from the second or third call on.
RUNS = 4


def _quietly(function: Any, *arguments: Any, **keywords: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **keywords)


def _reloaded(module: Any) -> Any:
    return _quietly(torch.jit.load, io.BytesIO(module.save_to_buffer()), map_location=DEVICE)


@pytest.fixture(scope="module")
def loaded() -> Any:
    """Return the bundle of every function, saved and loaded."""
    return _reloaded(bundle())


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_scripted_and_loaded_calls_equal_eager_calls(record: Record, arguments: dict[str, Any], loaded: Any) -> None:
    scripted = _quietly(torch.jit.script, record.function)
    for dtype in FLOATS:
        for run in range(RUNS):
            drawn = []
            for function in (record.function, scripted, getattr(loaded, record.name)):
                generator = {"generator": device_generator(run)} if record.takes_generator else {}
                drawn.append(_quietly(function, blank(record.shape, dtype), **arguments, **generator))
            assert torch.equal(drawn[0], drawn[1]), (dtype, run)
            assert torch.equal(drawn[0], drawn[2]), (dtype, run)


@pytest.mark.parametrize("call", FIRST_CALLS, ids=str)
@pytest.mark.parametrize("how", ["scripted", "loaded"])
def test_scripted_and_loaded_keyed_calls_equal_eager_calls(call: KeyedCall, how: str, loaded: Any) -> None:
    function = getattr(loaded, PREFIX + call.name)
    if how == "scripted":
        function = _quietly(torch.jit.script, call.function)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for shape in (call.shape, call.weight_shape(180, 60)):
            expected = call(blank(shape, dtype), KEY)
            # A GPU's fuser may fuse a multiplication with an addition, which is a matter of the last bit.
            near = tolerance(call, dtype) if ON_GPU else {"rtol": 0.0, "atol": 0.0}
            for run in range(RUNS):
                drawn = _quietly(function, blank(shape, dtype), KEY, **call.arguments)
                assert_close(drawn, expected, **near, msg=lambda text, run=run: f"run {run}: {text}")


class Head(nn.Linear):
    """The layer of the README."""

    @torch.jit.export
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        torchinit.kaiming_uniform_(self.weight, nonlinearity="relu", generator=generator)


def test_saved_layer_resets_itself_after_it_was_loaded_on_the_device() -> None:
    head = _reloaded(_quietly(torch.jit.script, Head(16, 4, bias=False)))
    assert head.weight.device.type == DEVICE
    expected: Tensor = torchinit.kaiming_uniform_(blank((4, 16)), nonlinearity="relu", generator=device_generator(0))
    for _ in range(RUNS):
        head.reset_parameters(device_generator(0))
        assert torch.equal(head.weight, expected)


def test_attached_methods_draw_on_the_device_as_apply_does() -> None:
    recipe = recipes.torch_default()
    net = _reloaded(_quietly(recipe.attach, _quietly(torch.jit.script, MIXED.make())))
    expected = recipe.apply_(MIXED.make().to(DEVICE), device_generator(9))
    by_key = recipe.apply_(MIXED.make().to(DEVICE), key=keyed.key(-7))
    for _ in range(RUNS):
        net.reset_parameters(device_generator(9))
        assert differing(expected, net) == []
        net.reset_parameters_keyed(-7)
        # Embeddings are normal, all other parameters uniform.
        assert set(differing(by_key, net)) <= {"words.weight", "head.weight"}
        assert_close(net.words.weight, by_key.words.weight, rtol=1e-6, atol=0.0)
