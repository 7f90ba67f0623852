"""The law of what fills write, as a distribution function to draw and to test against."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchinit._core.compat import plain_eager
from torchinit.diagnostics._distribution import sample
from torchinit.recipes._expected import shares
from torchinit.recipes._fill import Fill, write

Cdf = Callable[[Tensor], Tensor]

# Larger tensors are not drawn to learn the law of what draws them.
DRAWN = 1 << 20
_GRID = 4097


@dataclass(frozen=True)
class Law:
    """The law of values.

    Attributes:
        cdf: returns the share of the values below each of some numbers; of those that equal it half count
        sampled: of how many values it was learnt; infinite if a formula gives it
    """

    cdf: Cdf
    sampled: float = math.inf


def normal(mean: float, std: float) -> Cdf:
    return lambda x: torch.special.ndtr((x - mean) / std)


def uniform(low: float, high: float) -> Cdf:
    return lambda x: ((x - low) / (high - low)).clamp(0.0, 1.0)


def truncated(mean: float, std: float, low: float, high: float) -> Cdf:
    whole = normal(mean, std)
    below, above = whole(torch.tensor([low, high], dtype=torch.float64, device="cpu")).tolist()
    return lambda x: ((whole(x) - below) / (above - below)).clamp(0.0, 1.0)


def point(value: float, dtype: torch.dtype) -> Cdf:
    """All values are equal, after rounding to the type, or to float32 before that."""
    rounded = torch.tensor(value, dtype=dtype, device="cpu").double().item()
    near = 1e-6 * abs(rounded)
    return lambda x: ((x > rounded + near).double() + (x >= rounded - near).double()) / 2


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


def drawn(values: Tensor) -> Law:
    """Learn a law from values."""
    known = sample(values)

    def cdf(x: Tensor) -> Tensor:
        return (torch.searchsorted(known, x) + torch.searchsorted(known, x, right=True)) / (2 * len(known))

    return Law(cdf, len(known))


def _plain(fill: Fill, shape: Sequence[int], dtype: torch.dtype) -> Cdf | None:
    """Return the law of a fill that a formula gives."""
    name, args = fill.initializer, [arg for arg in fill.args if isinstance(arg, (int, float))]
    if name in ("zeros_", "ones_"):
        return point(float(name == "ones_"), dtype)
    if name == "constant_" or (name == "normal_" and args[1] == 0.0):
        return point(args[0], dtype)
    if name == "normal_":
        return normal(*args)
    if name == "uniform_" and args[0] < args[1]:
        return uniform(*args)
    if name == "trunc_normal_" and args[1] > 0.0 and args[2] < args[3]:
        return truncated(*args)
    if name == "orthogonal_" and args[0] != 0.0:
        rows, *columns = fill.matrix_shape(shape)
        size = max(rows, math.prod(columns))
        return sphere(size, args[0]) if size > 3 else None
    return None


@plain_eager()
def _try(fill: Fill, shape: Sequence[int], dtype: torch.dtype) -> Law | None:
    """Draw a tensor to learn the law of a fill that no formula here gives."""
    if math.prod(shape) > DRAWN:
        return None
    wide = torch.complex64 if dtype.is_complex else torch.float32
    return drawn(write(torch.zeros(list(shape), dtype=wide, device="cpu"), [fill], torch.Generator().manual_seed(0)))


def mixed(fills: Sequence[Fill], shape: Sequence[int], dtype: torch.dtype) -> Law | None:
    """Return the law of a parameter's values under fills in their order; None if there is no way to know it."""
    parts: list[tuple[float, Cdf]] = []
    for share, fill in shares(fills, shape):
        # Both parts of a complex value count, so its law is no formula of one number.
        part = None if dtype.is_complex else _plain(fill, shape, dtype)
        if part is None:
            return _try(fill, shape, dtype) if share == 1.0 else None
        parts.append((share, part))
    return Law(lambda x: sum((share * part(x) for share, part in parts), torch.zeros_like(x))) if parts else None
