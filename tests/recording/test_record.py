"""Does a recording give the bits of building the model, and leave everything as it was?"""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import torchinit
from tests.support.built import assert_same_tensors, built

MODELS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(3, 4),
    "large": lambda: nn.Linear(300, 400),
    "convolution": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 3)),
    "padding": lambda: nn.Embedding(10, 4, padding_idx=2),
    "lstm": lambda: nn.LSTM(3, 4, 2, bidirectional=True),
    "attention": lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True),
    "transformer": lambda: nn.Transformer(8, 2, 2, 2, 16),
    "large transformer": lambda: nn.Transformer(256, 2, 2, 1, 300),
}


@pytest.mark.parametrize("name", MODELS)
def test_materializing_gives_the_bits_of_building(name: str) -> None:
    expected, state = built(MODELS[name])
    recording = torchinit.record(MODELS[name])
    generator = torch.Generator().manual_seed(0)
    model = recording.materialize_(MODELS[name](), generator=generator)
    assert_same_tensors(model, expected)
    assert torch.equal(generator.get_state(), state)
    assert_same_tensors(recording.build(seed=0), expected)


def test_recording_draws_nothing() -> None:
    before = torch.get_rng_state()
    torchinit.record(MODELS["transformer"])
    assert torch.equal(torch.get_rng_state(), before)


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
    assert operation.reads() == ()


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
