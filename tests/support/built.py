"""Models built for real, to compare a recording with."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

import torchinit


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, ties included, without those that wait for their shapes."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: tensor for name, tensor in named if not is_lazy(tensor)}


def built(build: Callable[[], nn.Module], seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Build a model from a seed with torchinit's functions; return it with the generator's state afterwards."""
    with torch.random.fork_rng(devices=[]), torchinit.patch_torch():
        torch.manual_seed(seed)
        return build(), torch.get_rng_state()


def assert_same_tensors(actual: nn.Module, expected: nn.Module) -> None:
    """Compare the names and the bits of all parameters and buffers."""
    wrong = differing_tensors(actual, expected)
    assert not wrong, f"tensors with other values: {wrong}"


def differing_tensors(actual: nn.Module, expected: nn.Module) -> list[str]:
    """Return the names of the tensors that differ, or that one of the models lacks."""
    own, others = tensors_of(actual), tensors_of(expected)
    lacking = [name for name in {**own, **others} if name not in own or name not in others]
    return lacking + [name for name in own if name in others and not _same_bits(own[name], others[name])]


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return (
        a.dtype == b.dtype
        and torch.equal(a.detach().isnan(), b.detach().isnan())
        and torch.equal(a.detach().nan_to_num(), b.detach().nan_to_num())
    )
