"""The expected mean and standard deviation of what a fill writes."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch

from torchinit._core.fans import fans
from torchinit._core.layers import bilinear_, subpixel_shape
from torchinit._core.scale import variance_scaling_std
from torchinit._core.special import truncated_moments
from torchinit.recipes._fill import Fill, block_shape

Shape = Sequence[int]
Moments = tuple[float, float]


def _trunc_normal(shape: Shape, mean: float, std: float, a: float, b: float) -> Moments:
    if std == 0.0:
        return min(b, max(a, mean)), 0.0
    middle, deviation = truncated_moments((a - mean) / std, (b - mean) / std)
    return mean + std * middle, std * deviation


def _orthogonal(shape: Shape, gain: float) -> Moments:
    return 0.0, abs(gain) / math.sqrt(max(shape[0], math.prod(shape[1:])))


def _block_orthogonal(shape: Shape, blocks: int, gain: float) -> Moments:
    return _orthogonal([shape[0] // blocks, *shape[1:]], gain)


def _delta_orthogonal(shape: Shape, gain: float, groups: int) -> Moments:
    return 0.0, abs(gain) * math.sqrt(shape[1] / math.prod(shape[1:]) * groups / shape[0])


def _sparse(shape: Shape, sparsity: float, std: float) -> Moments:
    return 0.0, std * math.sqrt(1 - math.ceil(sparsity * shape[0]) / shape[0])


def _icnr(shape: Shape, upscale_factor: int, scale: float, mode: str, distribution: str) -> Moments:
    return 0.0, variance_scaling_std(*fans(subpixel_shape(list(shape), upscale_factor)), scale, mode.lower())


def _zeros_except(share: float, value: float) -> Moments:
    """Return the moments of a tensor that is ``value`` in a share of its places, and 0 elsewhere."""
    return share * value, abs(value) * math.sqrt(share * (1 - share))


def _diagonal_share(shape: Shape, groups: int) -> float:
    """Return the share of a tensor on its diagonal, which for a kernel lies at its center."""
    return groups * min(shape[0] // groups, shape[1]) / math.prod(shape)


def _bilinear(shape: Shape, groups: int) -> Moments:
    values = bilinear_(torch.empty(1, 1, *shape[2:], dtype=torch.float64))
    share = _diagonal_share(shape, groups) * math.prod(shape[2:])
    mean, square = share * values.mean().item(), share * values.square().mean().item()
    return mean, math.sqrt(max(0.0, square - mean * mean))


# The plain initializers; resolve() reduces the others to them.
_MOMENTS: dict[str, Callable[..., Moments]] = {
    "uniform_": lambda shape, a, b: ((a + b) / 2, (b - a) / math.sqrt(12)),
    "normal_": lambda shape, mean, std: (mean, std),
    "trunc_normal_": _trunc_normal,
    "constant_": lambda shape, val: (val, 0.0),
    "ones_": lambda shape: (1.0, 0.0),
    "zeros_": lambda shape: (0.0, 0.0),
    "eye_": lambda shape: _zeros_except(_diagonal_share(shape, 1), 1.0),
    "dirac_": lambda shape, groups: _zeros_except(_diagonal_share(shape, groups), 1.0),
    "orthogonal_": _orthogonal,
    "sparse_": _sparse,
    "identity_": lambda shape, gain, groups: _zeros_except(_diagonal_share(shape, groups), gain),
    "block_orthogonal_": _block_orthogonal,
    "delta_orthogonal_": _delta_orthogonal,
    "bilinear_": _bilinear,
    "icnr_": _icnr,
    "lstm_bias_": lambda shape, forget: _zeros_except(0.25, forget),
}


@lru_cache(maxsize=4096)
def _moments(fill: Fill, shape: tuple[int, ...]) -> Moments:
    return _MOMENTS[fill.initializer](shape, *fill.args)


def moments(fill: Fill, shape: Shape) -> Moments:
    """Return the expected mean and standard deviation of a tensor of this shape."""
    # A model has many parameters alike.
    return _moments(fill, tuple(shape))


def mixed_moments(fills: Sequence[Fill], shape: Shape) -> Moments | None:
    """Return the moments of a whole parameter; later fills may overwrite a block of earlier ones."""
    total = math.prod(shape)
    if total == 0 or not fills:
        return None
    parts: list[tuple[float, float, float]] = []
    for fill in fills:
        share = math.prod(block_shape(shape, fill.block)) / total
        # A later fill overwrites an equal part of each earlier one; blocks side by side overwrite nothing.
        left = min(1.0, (1 - share) / (sum(part[0] for part in parts) or 1.0))
        parts = [(before * left, mean, std) for before, mean, std in parts if left > 0]
        parts.append((share, *moments(fill, block_shape(shape, fill.block))))
    if len(parts) == 1:
        return parts[0][1:]
    mean = sum(share * m for share, m, _ in parts)
    square = sum(share * (s * s + m * m) for share, m, s in parts)
    return mean, math.sqrt(max(0.0, square - mean * mean))
