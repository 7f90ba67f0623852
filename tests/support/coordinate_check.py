"""How the scale of each layer's output follows the width, at initialization and after steps of an optimizer.

Source: Yang et al., "Tensor Programs V" (2022), https://arxiv.org/abs/2203.03466, appendix D.1.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from torchinit.diagnostics import signal

# The loss of a model, and the groups of its parameters.
Loss = Callable[[nn.Module], Tensor]
Groups = Callable[[nn.Module], list[dict[str, object]]]


def _slope(scales: dict[int, list[float]]) -> float:
    """Fit log(scale) = slope * log(width) + constant; the scales of several seeds are averaged."""
    x = torch.tensor([math.log(width) for width in scales])
    y = torch.tensor([sum(map(math.log, several)) / len(several) for several in scales.values()])
    return float((x - x.mean()) @ (y - y.mean()) / (x - x.mean()).square().sum())


def slopes(
    make: Callable[[int, int], nn.Module],
    groups: Groups,
    loss: Loss,
    inputs: Tensor,
    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam,
    widths: Sequence[int] = (64, 256, 1024),
    seeds: int = 1,
    steps: int = 3,
) -> list[dict[str, float]]:
    """Return the slope of each layer's scale in log-log, at initialization and after the steps.

    Args:
        make: makes an initialized model from a width and a seed
        groups: the groups of parameters for the optimizer
        loss: the loss of a model
        inputs: what the model is measured on
        optimizer: the type of the optimizer
        widths: the widths
        seeds: number of models of each width
        steps: number of steps
    """
    found: list[dict[str, dict[int, list[float]]]] = [{}, {}]
    for width in widths:
        for seed in range(seeds):
            model = make(width, seed)
            trained = optimizer(groups(model))
            for when in found:
                # The logarithm of an output of zeros has no slope.
                for row in (row for row in signal(model, inputs) if row.activation > 0):
                    when.setdefault(row.label, {}).setdefault(width, []).append(row.activation)
                for _ in range(steps if when is found[0] else 0):
                    trained.zero_grad()
                    loss(model).backward()
                    trained.step()
    return [{label: _slope(scales) for label, scales in when.items()} for when in found]
