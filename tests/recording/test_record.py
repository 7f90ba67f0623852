"""Does a recording give the bits of building the model, and leave everything as it was?"""

import copy

import pytest
import torch
from torch import nn

import torchinit
from tests.support.layers import LAYERS, MIXED
from tests.support.recorded import assert_recorded


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_torch_has_the_bits_of_building_it(name: str) -> None:
    assert_recorded(LAYERS[name].make)


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

    def layer() -> nn.Module:
        return nn.ModuleList([nn.Linear(8192, 8192), nn.Linear(8192, 28672), nn.RMSNorm(8192), nn.LSTM(8192, 8192)])

    recording = torchinit.record(lambda: nn.ModuleList(layer() for _ in range(80)))
    assert sum(entry.ref.numel for entry in recording.program.entries) > 60e9
    assert sum(real) < 40e6
