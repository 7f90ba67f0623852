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
