"""Does a recording fill a model on a GPU with the numbers of the CPU?"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from tests.support.built import assert_same_tensors, built, tensors_of
from tests.support.gpu import DEVICE
from tests.support.layers import MIXED
from torchinit import keyed

MODELS: dict[str, Callable[[], nn.Module]] = {
    "mixed": MIXED.make,
    "large": lambda: nn.Linear(300, 400),
    "transformer": lambda: nn.Transformer(64, 2, 2, 2, 64),
    "tables": lambda: nn.Sequential(nn.Embedding(20, 8, padding_idx=0), nn.BatchNorm1d(8)),
}
ORIGINS: dict[str, dict[str, Any]] = {"seed": {"seed": 0}, "key": {"key": keyed.key(3)}}


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("name", MODELS)
def test_gpu_model_has_the_numbers_of_the_cpu(name: str, origin: str) -> None:
    recording = torchinit.record(MODELS[name])
    expected = recording.build(**ORIGINS[origin])
    made = recording.build(device=DEVICE, **ORIGINS[origin])
    assert {tensor.device.type for tensor in tensors_of(made).values()} == {DEVICE}
    assert_same_tensors(made.cpu(), expected)
    with torch.device("meta"):
        empty = MODELS[name]()
    assert_same_tensors(recording.materialize_(empty.to_empty(device=DEVICE), **ORIGINS[origin]).cpu(), expected)


@pytest.mark.parametrize("name", MODELS)
def test_gpu_code_is_recorded_and_replayed_on_the_cpu(name: str) -> None:
    recording = torchinit.record(lambda: MODELS[name]().to(DEVICE))
    assert_same_tensors(recording.build(device="cpu", seed=0), built(MODELS[name])[0])


def test_gpu_half_precision_model_has_the_rounded_numbers() -> None:
    recording = torchinit.record(MODELS["large"])
    half = recording.materialize_(nn.Linear(300, 400, dtype=torch.bfloat16, device=DEVICE), seed=0)
    assert torch.equal(half.weight.cpu(), recording.build(seed=0).weight.bfloat16())


def test_gpu_attached_file_resets_itself() -> None:
    recording = torchinit.record(MODELS["large"])
    net = recording.attach(torch.jit.script(nn.Linear(300, 400).to(DEVICE)))
    net.reset_parameters(torch.Generator().manual_seed(0))
    assert torch.equal(net.weight.cpu(), recording.build(seed=0).weight)
    net.reset_parameters_keyed(3)
    assert torch.equal(net.weight.cpu(), recording.build(key=keyed.key(3)).weight)


def test_gpu_generator_is_refused() -> None:
    recording = torchinit.record(MODELS["large"])
    if DEVICE == "cpu":
        pytest.skip("needs a generator that is not on the CPU")
    with pytest.raises(RuntimeError, match="draws on the CPU, got a generator on cuda"):
        recording.build(device=DEVICE, generator=torch.Generator(DEVICE))
