"""Distributions by their formulas."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

# The share of a distribution below each of some values.
Cdf: TypeAlias = Callable[[Tensor], Tensor]

_GRID = 4097


@dataclass(frozen=True)
class Law:
    """A distribution: its mean, standard deviation and distribution function."""

    mean: float
    std: float
    cdf: Cdf | None = None


def _below(x: Tensor) -> Tensor:
    """The probability that a standard normal number is less than x; torch.special.ndtr has no digits in the tail."""
    share: Tensor = torch.special.erfc(-x / math.sqrt(2.0)) / 2.0
    return share


def uniform(low: float, high: float) -> Cdf:
    return lambda x: ((x - low) / (high - low)).clamp(0.0, 1.0)


def normal(mean: float, std: float) -> Cdf:
    return lambda x: _below((x - mean) / std)


def truncated(mean: float, std: float, low: float, high: float) -> Cdf:
    """A normal distribution that is cut off; ``mean`` and ``std`` are those before the cut."""
    # Mirror an upper tail: its shares are near 1, where a float has no digits left.
    sign = -1.0 if low > mean else 1.0
    ends = sorted((sign * (low - mean) / std, sign * (high - mean) / std))
    first, last = _below(torch.tensor(ends, dtype=torch.float64, device="cpu")).tolist()

    def cdf(x: Tensor) -> Tensor:
        below: Tensor = (_below(sign * (x - mean) / std) - first) / (last - first)
        return (below if sign > 0.0 else 1.0 - below).clamp(0.0, 1.0)

    return cdf


def point(value: float) -> Cdf:
    """All values are equal, up to the rounding of float32; half of the share on a value counts."""
    near = 1e-6 * abs(value)
    return lambda x: ((x > value + near).double() + (x >= value - near).double()) / 2


def sphere(size: int, gain: float) -> Cdf:
    """One coordinate of a random vector of some length in a space of ``size`` dimensions, as in an orthogonal matrix."""
    steps = torch.linspace(-1.0, 1.0, _GRID, dtype=torch.float64, device="cpu") * min(1.0, 9.0 / math.sqrt(size))
    heights = (1.0 - steps.square()).clamp(min=0.0) ** ((size - 3) / 2)
    sums = torch.cat([heights.new_zeros(1), ((heights[1:] + heights[:-1]) / 2).cumsum(0)])

    def cdf(x: Tensor) -> Tensor:
        place = ((x / abs(gain) - steps[0]) / (steps[1] - steps[0])).clamp(0.0, _GRID - 1.0)
        low = place.long().clamp(max=_GRID - 2)
        return torch.lerp(sums[low], sums[low + 1], place - low) / sums[-1]

    return cdf


def learnt(known: Tensor) -> Cdf:
    """The law that some sorted values were drawn from, as far as they tell; half of the share on a value counts."""
    return lambda x: (torch.searchsorted(known, x) + torch.searchsorted(known, x, right=True)) / (2 * len(known))
