"""The expected mean and standard deviation of what a fill writes."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch

from torchinit._core.compat import plain_eager
from torchinit._core.distributions import inverse_softplus_log_uniform
from torchinit._core.fans import fans
from torchinit._core.layers import bilinear_, subpixel_shape
from torchinit._core.rotary import rotary_inv_freq_
from torchinit._core.scale import variance_scaling_std
from torchinit._core.special import truncated_moments
from torchinit._core.tables import alibi_slopes_, log_arange_
from torchinit.recipes._blocks import block_shape
from torchinit.recipes._fill import Fill

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


@plain_eager()
def _bilinear(shape: Shape, groups: int) -> Moments:
    values = bilinear_(torch.empty(1, 1, *shape[2:], dtype=torch.float64))
    first, second = values.mean().item(), values.square().mean().item()
    share = _diagonal_share(shape, groups) * math.prod(shape[2:])
    mean, square = share * first, share * second
    return mean, math.sqrt(max(0.0, square - mean * mean))


def _values(tensor: torch.Tensor) -> Moments:
    return tensor.mean().item(), tensor.std(correction=0).item()


def _table(function: Callable[..., torch.Tensor]) -> Callable[..., Moments]:
    """Make a function that computes the moments of a short table from its values."""

    @plain_eager()
    def moments_of(shape: Shape, *args: Any) -> Moments:
        return _values(function(torch.empty(*shape, dtype=torch.float64, device="cpu"), *args))

    return moments_of


@plain_eager()
def _sinusoidal(
    shape: Shape, base: float, layout: str, endpoint: bool, formula: str, padding_idx: int | None
) -> Moments:
    pairs, length = shape[-1] // 2, math.prod(shape[:-1])
    frequencies = base ** (-torch.arange(pairs, dtype=torch.float64, device="cpu") / (pairs - endpoint))
    turn = torch.polar(torch.ones_like(frequencies), frequencies)
    # A geometric series over the positions; its real part adds up the cosines.
    sums = (1 - torch.polar(torch.ones_like(frequencies), length * frequencies)) / (1 - turn)
    rows = length
    if padding_idx is not None:
        rows, position = length - 1, padding_idx % length
        sums = sums - torch.polar(torch.ones_like(frequencies), position * frequencies)
    mean = (sums.real.sum() + sums.imag.sum()).item() / (2 * pairs * length)
    # The squares of a sine and its cosine add up to 1.
    return mean, math.sqrt(max(0.0, rows / (2 * length) - mean * mean))


@plain_eager()
def _inverse_softplus(shape: Shape, low: float, high: float, floor: float) -> Moments:
    unit = (torch.arange(4096, dtype=torch.float64, device="cpu") + 0.5) / 4096
    return _values(inverse_softplus_log_uniform(unit, low, high, floor))


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
    "rotary_inv_freq_": _table(rotary_inv_freq_),
    "sinusoidal_": _sinusoidal,
    "alibi_slopes_": _table(alibi_slopes_),
    "log_arange_": lambda shape: _table(log_arange_)(shape[-1:]),
    "inverse_softplus_log_uniform_": _inverse_softplus,
}


@lru_cache(maxsize=4096)
def _moments(fill: Fill, shape: tuple[int, ...]) -> Moments:
    return _MOMENTS[fill.initializer](fill.matrix_shape(shape), *fill.args)


def moments(fill: Fill, shape: Shape, is_complex: bool = False) -> Moments:
    """Return the expected mean and standard deviation of what a fill writes to a tensor of this shape."""
    # A model has many parameters alike.
    mean, std = _moments(fill, tuple(shape))
    # Both parts of a complex value are drawn within the bounds. The mean is that of each part.
    return mean, std * math.sqrt(2.0) if is_complex and fill.initializer == "uniform_" else std


def shares(fills: Sequence[Fill], shape: Shape) -> list[tuple[float, Fill]]:
    """Return the share of a parameter that each fill leaves in the end; later ones may overwrite a block of earlier ones."""
    total = math.prod(shape)
    parts: list[tuple[float, Fill]] = []
    for fill in fills if total else ():
        share = math.prod(block_shape(shape, fill.block)) / total
        # A later fill overwrites an equal part of each earlier one; blocks side by side overwrite nothing.
        left = min(1.0, (1 - share) / (sum(part[0] for part in parts) or 1.0))
        parts = [(before * left, earlier) for before, earlier in parts if left > 0]
        parts.append((share, fill))
    return parts


def mixed_moments(fills: Sequence[Fill], shape: Shape, is_complex: bool = False) -> Moments | None:
    """Return the moments of a whole parameter, None without a fill or a value."""
    parts = [(share, *moments(fill, shape, is_complex)) for share, fill in shares(fills, shape)]
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0][1:]
    mean = sum(share * m for share, m, _ in parts)
    square = sum(share * (s * s + m * m) for share, m, s in parts)
    return mean, math.sqrt(max(0.0, square - mean * mean))
