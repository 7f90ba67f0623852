"""Compares a recording with the model that its code builds."""

from collections.abc import Callable

import torch
from torch import nn

import torchinit
from tests.support.built import assert_same_tensors, built
from torchinit.recording import Recording


def assert_recorded(build: Callable[[], nn.Module]) -> tuple[Recording, nn.Module, nn.Module]:
    """Check the bits of build() and materialize_(), the generator's state, and that recording draws nothing.

    Returns:
        the recording, the model that it built, and the one that the code built
    """
    expected, state = built(build)
    before = torch.get_rng_state()
    recording = torchinit.record(build)
    assert torch.equal(torch.get_rng_state(), before)
    generator = torch.Generator().manual_seed(0)
    model = recording.build(generator=generator)
    assert_same_tensors(model, expected)
    assert torch.equal(generator.get_state(), state)
    assert_same_tensors(recording.materialize_(built(build, seed=5)[0], seed=0), expected)
    return recording, model, expected


class Made(nn.Module):
    """A module whose tensors a function makes."""

    def __init__(self, make: Callable[[nn.Module], object]) -> None:
        super().__init__()
        make(self)
