"""Does a key give a tensor on a GPU the CPU's values, in every shape, piece, layout and path?"""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from tests.recipes.test_recipe_keyed import RECIPE, Tied
from tests.support.gpu import DEVICE, FLOATS, blank, tolerance
from tests.support.keyed_records import CALLS, ROWS, KeyedCall
from tests.support.layers import LAYERS
from tests.support.layouts import LAYOUTS
from torchinit import keyed, recipes

# The counter carries into its upper 32 bits within a tensor.
KEY = torch.tensor([42, 2**32 - 3])

FIRST_CALLS = [next(call for call in CALLS if call.name == name) for name in ROWS]
every_call = pytest.mark.parametrize("call", CALLS, ids=str)
every_dtype = pytest.mark.parametrize("dtype", FLOATS, ids=str)


def _assert_as_on_the_cpu(call: KeyedCall, drawn: Tensor, expected: Tensor) -> None:
    assert drawn.device.type == DEVICE
    assert_close(drawn.cpu(), expected, **tolerance(call, expected.dtype))


@every_call
@every_dtype
def test_values_are_the_cpus(call: KeyedCall, dtype: torch.dtype) -> None:
    shapes = (call.shape, call.weight_shape(9, 6), call.weight_shape(180, 60))
    for shape in filter(call.accepts, shapes):
        for piece in ({}, call.piece()) if shape == call.shape else ({},):
            expected = call(blank(shape, dtype, "cpu"), KEY, **piece)
            drawn = call(blank(shape, dtype), KEY, **piece)
            _assert_as_on_the_cpu(call, drawn, expected)
            # A key on the device itself, and a key of the other device for a tensor on the CPU.
            assert torch.equal(call(blank(shape, dtype), KEY.to(DEVICE), **piece), drawn)
            assert torch.equal(call(blank(shape, dtype, "cpu"), KEY.to(DEVICE), **piece), expected)


@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "sparse_"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_of_several_tiles_are_the_cpus(name: str, dtype: torch.dtype) -> None:
    call = next(call for call in FIRST_CALLS if call.name == name)
    # A tile on a GPU has 2^20 blocks of 4 values.
    shape, piece = (2100, 2050), {"full_size": [2101, 2055], "offset": [1, 3]}
    for part in ({}, piece):
        expected = call(blank(shape, dtype, "cpu"), KEY, **part)
        _assert_as_on_the_cpu(call, call(blank(shape, dtype), KEY, **part), expected)


@every_call
@every_dtype
def test_pieces_equal_the_parts_of_the_whole(call: KeyedCall, dtype: torch.dtype) -> None:
    size = call.weight_shape(12, 6)
    whole = call(blank(size, dtype), KEY)
    for top, bottom, left, right in ((0, 5, 0, 6), (3, 7, 2, 5), (6, 7, 4, 5)):
        shape, offset = (bottom - top, right - left, *size[2:]), [top, left, *[0] * len(size[2:])]
        part = call(blank(shape, dtype), KEY, full_size=list(size), offset=offset)
        assert torch.equal(part, whole[top:bottom, left:right]), offset


@every_call
def test_sixteen_bit_values_are_the_float32_ones_rounded_once(call: KeyedCall) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(call(blank(call.shape, dtype), KEY), call(blank(call.shape), KEY).to(dtype))


@every_call
def test_layout_of_the_target_does_not_matter(call: KeyedCall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.layouts.DEVICE", DEVICE)
    expected = call(blank(call.shape), KEY)
    for name, layout in LAYOUTS.items():
        if name != "meta":
            assert torch.equal(call(layout(call.shape, torch.float32), KEY), expected), name


@pytest.mark.parametrize("call", [call for call in CALLS if "orthogonal" not in call.name], ids=str)
def test_an_ensemble_by_vmap_equals_the_loop(call: KeyedCall) -> None:
    keys = keyed.split(KEY.to(DEVICE), 4)
    for shape in (call.shape, call.weight_shape(180, 60)):
        loop = torch.stack([call(blank(shape), key) for key in keys])
        assert torch.equal(torch.func.vmap(call)(blank((4, *shape)), keys), loop)


def test_derived_keys_are_the_cpus_and_stay_on_their_device() -> None:
    key = KEY.to(DEVICE)
    for derive in (lambda k: keyed.split(k, 5), lambda k: keyed.fold_in(k, -7), lambda k: keyed.fold_in(k, "größe")):
        assert derive(key).device.type == DEVICE
        assert torch.equal(derive(key).cpu(), derive(KEY))
    unsigned = key.view(torch.uint64)
    assert torch.equal(keyed.split(unsigned).view(torch.int64), keyed.split(key))
    assert torch.equal(keyed.uniform_(blank((9,)), unsigned), keyed.uniform_(blank((9,)), key))


def _assert_close(name: str, drawn: Tensor, expected: Tensor, rtol: float, atol: float) -> None:
    assert drawn.device.type == DEVICE
    assert_close(drawn.cpu(), expected, rtol=rtol, atol=atol, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_recipe_gives_a_model_the_cpus_parameters(dtype: torch.dtype) -> None:
    expected = RECIPE.apply_(Tied().to(dtype), key=KEY).state_dict()
    model = RECIPE.apply_(Tied().to(DEVICE, dtype), key=KEY)
    assert model.head.weight is model.words.weight
    eps = torch.finfo(dtype).eps
    for name, values in model.state_dict().items():
        exact = name == "packed.weight" or name.endswith("bias") or not values.is_floating_point()
        # Only the matrices of linear1 come from a decomposition.
        near = {"rtol": 4 * eps, "atol": 1e-5 if name.endswith("linear1.weight") else 0.0}
        _assert_close(name, values, expected[name], **({"rtol": 0.0, "atol": 0.0} if exact else near))


@pytest.mark.parametrize("name", LAYERS)
def test_default_recipe_gives_a_layer_the_cpus_parameters(name: str) -> None:
    expected = recipes.torch_default().apply_(LAYERS[name].make(), key=KEY).state_dict()
    model: nn.Module = recipes.torch_default().apply_(LAYERS[name].make().to(DEVICE), key=KEY)
    for entry, values in model.state_dict().items():
        # Embeddings and the biases of attention to no token are normal, all other parameters uniform.
        eps = torch.finfo(values.dtype).eps if values.is_floating_point() else 0.0
        normal = name.startswith("Embedding") or entry.startswith("bias_")
        _assert_close(entry, values, expected[entry], rtol=4 * eps if normal else 0.0, atol=0.0)
