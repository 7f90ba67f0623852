"""Models for the tests of signal."""

import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

WIDTH, DEPTH = 256, 30


def rms(tensor: Tensor) -> float:
    return float(tensor.detach().double().pow(2).mean().sqrt())


def tower(
    init: Callable[[Tensor], Any], depth: int = DEPTH, width: int = WIDTH, inplace: bool = False
) -> nn.Sequential:
    """Stack linear layers without bias, with ReLUs between."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width, bias=False), nn.ReLU(inplace)]
        init(layers[-2].weight)
    return nn.Sequential(*layers[:-1])


def he(weight: Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def loaded(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    return torch.jit.load(io.BytesIO(module.save_to_buffer()))


class Cells(nn.Module):
    """Runs a cell step by step from zeros, which make the first product with its weight constant."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        h, c = torch.zeros(x.shape[1], 4), torch.zeros(x.shape[1], 4)
        for i in range(x.shape[0]):
            h, c = self.cell(x[i], (h, c))
        return h


class Query(nn.Module):
    """Projects a learned query, a product of two layers' parameters only, and attends to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(2, 4))
        self.projection = nn.Linear(4, 4)
        self.values = nn.Linear(4, 3)
        self.idle = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.query @ self.projection.weight @ x.t()).softmax(-1) @ self.values(x)
