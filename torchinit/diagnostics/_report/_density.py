"""The distribution functions of what fills a parameter, to draw over its values."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torchinit.diagnostics._distribution import sample
from torchinit.diagnostics._fills import Filled, is_simple, law_of
from torchinit.recipes._expected import shares
from torchinit.recipes._fill import Fill

# The share of a distribution below each of some values; half of the share that lies on a value counts.
Cdf = Callable[[Tensor], Tensor]

# Larger tensors are not drawn to learn the law of what draws them.
_DRAWN = 1 << 20
_GRID = 4097


def point(value: float) -> Cdf:
    """All values are equal, up to the rounding of float32."""
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


def learnt(values: Tensor) -> Cdf:
    """The law that some values were drawn from, as far as they tell."""
    known = sample(values)

    def cdf(x: Tensor) -> Tensor:
        return (torch.searchsorted(known, x) + torch.searchsorted(known, x, right=True)) / (2 * len(known))

    return cdf


def _plain(fill: Fill, shape: Sequence[int]) -> Cdf | None:
    """Return the law of a fill that a formula gives."""
    if fill.initializer == "orthogonal_":
        rows, *columns = fill.matrix_shape(shape)
        size, gain = max(rows, math.prod(columns)), float(fill.args[0])  # type: ignore[arg-type]
        return sphere(size, gain) if size > 3 and gain else None
    if not is_simple(fill):
        return None
    law = law_of(fill, shape)
    return point(law.mean) if law.std == 0.0 else law.cdf


def density_of(filled: Filled) -> Cdf | None:
    """Return the law of what fills a parameter; None if nothing does, or it would take a large draw to know it."""
    if filled.draw is None or 0 in filled.shape:
        return None
    # Both parts of a complex value count, so its law is no formula of one number.
    is_complex = filled.dtype is not None and filled.dtype.is_complex
    parts = [(share, _plain(fill, filled.shape)) for share, fill in shares(filled.fills or (), filled.shape)]
    known = [(share, part) for share, part in parts if part is not None and not is_complex]
    if known and len(known) == len(parts):
        return lambda x: sum((share * part(x) for share, part in known), torch.zeros_like(x))
    return learnt(filled.draw()) if math.prod(filled.shape) <= _DRAWN else None
