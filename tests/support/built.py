"""Models built for real, to compare a recording with."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import torchinit


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, ties included."""
    return dict([*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)])


def built(build: Callable[[], nn.Module], seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Build a model from a seed with torchinit's functions; return it with the generator's state afterwards."""
    with torch.random.fork_rng(devices=[]), torchinit.patch_torch():
        torch.manual_seed(seed)
        return build(), torch.get_rng_state()


def assert_same_tensors(actual: nn.Module, expected: nn.Module) -> None:
    """Compare the names and the bits of all parameters and buffers."""
    own, others = tensors_of(actual), tensors_of(expected)
    assert list(own) == list(others)
    wrong = [name for name in own if not _same_bits(own[name], others[name])]
    assert not wrong, f"tensors with other values: {wrong}"


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(torch.nan_to_num(a.detach()), torch.nan_to_num(b.detach()))
