"""Parametrized layers, and a check that ``torch_default`` equals constructing them."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from torchinit import recipes
from torchinit.recipes import Recipe, Rule

NORMS = {
    "weight_norm": parametrizations.weight_norm,
    "old weight_norm": nn.utils.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(12, 8),
    "square Linear": lambda: nn.Linear(8, 8),
    "Conv2d": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(6, 4, 5, groups=2),
    "Embedding": lambda: nn.Embedding(9, 4),
    "Bilinear": lambda: nn.Bilinear(3, 4, 5),
}
XAVIER = Recipe([Rule("xavier_uniform_", name="*.weight", optional=True), Rule("zeros_", name="*.bias", optional=True)])

every_norm = pytest.mark.parametrize("norm", NORMS)
weight_norms = pytest.mark.parametrize("norm", ["weight_norm", "old weight_norm"])
spectral_norms = pytest.mark.parametrize("norm", ["spectral_norm", "old spectral_norm"])


class Symmetric(nn.Module):
    """Uses the upper triangle of what it stores."""

    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).mT

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight.triu()


class Scaled(nn.Module):
    """Keeps the largest value in a buffer and a plain attribute, which its right_inverse replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("largest", torch.ones(()))
        self.note: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        return x * self.largest

    def right_inverse(self, weight: Tensor) -> Tensor:
        self.largest = weight.abs().max()
        self.note = self.largest.clone()
        return weight / self.largest


class FullRank(nn.Module):
    """Refuses some weights."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def right_inverse(self, weight: Tensor) -> Tensor:
        if torch.linalg.matrix_rank(weight) < min(weight.shape):
            raise ValueError("the weight must have full rank\nsecond line")
        return weight.clone()


class Triangle(nn.Module):
    """Stores a symmetric matrix as a vector."""

    def forward(self, x: Tensor) -> Tensor:
        n = (math.isqrt(8 * len(x) + 1) - 1) // 2
        full = x.new_zeros(n, n)
        full[tuple(torch.triu_indices(n, n, device=x.device))] = x
        return full + full.triu(1).mT

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight[tuple(torch.triu_indices(*weight.shape))]


class Doubled(nn.Module):
    """Has no right_inverse."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def registered(layer: nn.Module, *steps: nn.Module, **options: Any) -> nn.Module:
    for step in steps:
        parametrize.register_parametrization(layer, "weight", step, **options)
    return layer


def between(make: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 3), make(), nn.Linear(3, 2))


def spoiled(model: nn.Module) -> nn.Module:
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.detach().fill_(0.3)
    return model


def effective(layer: nn.Module, inputs: Tensor) -> Tensor:
    """The weight that a call in eval mode computes with."""
    layer.eval()(inputs)
    return layer.weight.detach()


def assert_as_constructed(build: Callable[[], nn.Module]) -> None:
    """Compare ``torch_default`` with building anew, from the global generator and from another one."""
    torch.manual_seed(3)
    fresh, after = build(), torch.get_rng_state()
    for generator in (None, torch.Generator().manual_seed(3)):
        torch.manual_seed(99)
        model = spoiled(build())
        before = torch.manual_seed(3).get_state()
        recipes.torch_default().apply_(model, generator)
        expected = fresh.state_dict()
        assert [name for name, value in model.state_dict().items() if not torch.equal(value, expected[name])] == []
        assert torch.equal(torch.get_rng_state(), after if generator is None else before)
        assert generator is None or torch.equal(generator.get_state(), after)
