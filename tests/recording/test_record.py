"""Does a recording give the bits of building the model, and leave everything as it was?"""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import torchinit
from tests.support.built import assert_same_tensors, built
from tests.support.layers import LAYERS, MIXED
from tests.support.recorded import assert_recorded


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_torch_has_the_bits_of_building_it(name: str) -> None:
    assert_recorded(LAYERS[name].make)


def test_draws_on_the_meta_device_advance_no_generator() -> None:
    def build() -> nn.Module:
        with torch.device("meta"):
            model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
        model.to_empty(device="cpu")
        for layer in model:
            layer.reset_parameters()
        return model

    expected, state = built(build)
    generator = torch.Generator().manual_seed(0)
    recording = torchinit.record(build)
    assert_same_tensors(recording.build(generator=generator), expected)
    assert torch.equal(generator.get_state(), state)
    assert len(recording.program.operations) == 4


@pytest.mark.parametrize("make", [torch.zeros_like, torch.randn_like, lambda x: x.new_ones(3)])
def test_an_operator_that_takes_a_shape_reads_no_values(make: Callable[[torch.Tensor], torch.Tensor]) -> None:
    def build() -> nn.Module:
        layer = nn.Linear(3, 4)
        layer.register_buffer("other", make(layer.weight.detach()))
        return layer

    (operation,) = [
        x for x in torchinit.record(build).program.operations if x.operator.startswith(("new", "z", "randn"))
    ]
    assert operation.reads == ()


@pytest.mark.parametrize("width", [4, 400])
def test_a_model_is_built_on_another_device(width: int) -> None:
    model = torchinit.record(lambda: nn.Sequential(nn.Linear(width, width), nn.LazyLinear(3))).build(device="meta")
    assert {tensor.device.type for tensor in model[0].parameters()} == {"meta"}
    assert isinstance(model[1].weight, nn.UninitializedParameter)


def trunc_normal_(tensor: torch.Tensor) -> None:
    """A library's own initializer."""
    nn.init.trunc_normal_(tensor)


def test_the_line_of_an_initializer_is_that_of_its_call() -> None:
    layer = nn.Linear(3, 4)
    recording = torchinit.record(lambda: trunc_normal_(layer.weight), model=layer)
    line = test_the_line_of_an_initializer_is_that_of_its_call.__code__.co_firstlineno + 2
    assert {operation.place for operation in recording.program.operations} == {f"{__file__}:{line}"}


@pytest.mark.parametrize(
    "build",
    [
        MIXED.make,
        lambda: nn.Linear(300, 400),
        lambda: nn.Transformer(260, 2, 2, 2, 300),
        lambda: nn.ModuleList([copy.deepcopy(layer) for layer in [nn.Linear(300, 300)] * 3]),
    ],
    ids=["mixed", "large", "large transformer", "deep copies"],
)
def test_a_model_has_the_bits_of_building_it(build: object) -> None:
    assert_recorded(build)


def test_every_layer_of_torch_with_parameters_is_tried() -> None:
    tried = {type(module).__name__ for example in LAYERS.values() for module in example.make().modules()}
    layers = {
        name
        for name, kind in vars(nn).items()
        if isinstance(kind, type) and issubclass(kind, nn.Module) and hasattr(kind, "reset_parameters")
    }
    assert {name for name in layers - tried if "Lazy" not in name} <= {"RNNBase", "RNNCellBase", "Container"}


def test_recording_70_billion_parameters_makes_no_large_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    real: list[int] = []
    add = torchinit.recording._storages.Storages._add

    def counted(self: object, tensor: torch.Tensor, number: int) -> int:
        if type(tensor) in (torch.Tensor, nn.Parameter):
            real.append(tensor.untyped_storage().nbytes())
        return add(self, tensor, number)

    monkeypatch.setattr(torchinit.recording._storages.Storages, "_add", counted)

    n = 16384

    def layer() -> nn.Module:
        return nn.ModuleList([nn.Linear(n, n), nn.Linear(n, 57344), nn.RMSNorm(n), nn.LSTM(n, n)])

    recording = torchinit.record(lambda: nn.ModuleList(layer() for _ in range(20)))
    assert sum(entry.ref.numel for entry in recording.program.entries) > 60e9
    assert sum(real) < 40e6


class Listed(nn.Module):
    """Keeps a parameter in a plain list, and a tensor that follows from one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width, width))
        self.others = [nn.Parameter(torch.empty(width, width))]
        nn.init.normal_(self.others[0])
        self.scaled = self.weight * 2.0


@pytest.mark.parametrize("width", [4, 400])
def test_building_fills_tensors_that_are_not_registered(width: int) -> None:
    def build() -> nn.Module:
        return Listed(width)

    expected, _ = built(build)
    model = torchinit.record(build).build(seed=0)
    assert torch.equal(model.others[0], expected.others[0])
    assert torch.equal(model.scaled, expected.scaled)
    assert model.others[0].requires_grad
    # Without its history it would take gradients that go nowhere.
    assert not model.scaled.requires_grad
