"""Truncated normal values by inversion: one uniform draw per value, and no branch on data."""

import math

import torch
from torch import Tensor
from torch.jit import is_scripting

from torchinit._core.checks import check_overlap
from torchinit._core.overlap import can_overlap, overlap
from torchinit._core.special import erfcx, norm_cdf
from torchinit._core.views import chunks, stream_chunks


def nearest(mean: float, a: float, b: float) -> float:
    """Return the value of [a, b] that is nearest to the mean; a deviation of 0 draws it alone."""
    # NB: of 0 and -0, max() in TorchScript returns the other one than in eager; adding 0 makes both 0.
    return min(b, max(a, mean)) + 0.0


def tail_distance(mean: float, std: float, a: float, b: float) -> float:
    """Return the distance of the mean from [a, b] in ``std`` if it is more than 2, else 0."""
    if mean < a - 2 * std:
        return (a - mean) / std
    if mean > b + 2 * std:
        return (mean - b) / std
    return 0.0


def _tail_mass(alpha: float, width: float) -> float:
    """Compute P(z <= alpha + width | z >= alpha) of a standard normal z, for ``alpha`` > 2."""
    if width >= 40.0:
        return 1.0
    drop = -width * (alpha + width / 2.0)
    return -math.expm1(drop + math.log(erfcx((alpha + width) / math.sqrt(2.0)) / erfcx(alpha / math.sqrt(2.0))))


def _infinite_beyond_float32(a: float, b: float, dtype: torch.dtype) -> tuple[float, float]:
    """Treat bounds beyond float32's range as infinite."""
    if dtype == torch.float64:
        return a, b
    return a if a >= -3.4e38 else -math.inf, b if b <= 3.4e38 else math.inf


def uniform_bounds(mean: float, std: float, a: float, b: float, dtype: torch.dtype) -> tuple[float, float]:
    """Return the bounds of the uniform values that ``invert_`` takes."""
    a, b = _infinite_beyond_float32(a, b, dtype)
    alpha = tail_distance(mean, std, a, b)
    if alpha > 0.0:
        mass = _tail_mass(min(alpha, 1e30), (b - a) / std)
        # Half the grid's first step instead of 0, so that no draw lies on the bound.
        return mass * 2.0 ** (-54.0 if dtype == torch.float64 else -25.0), mass
    return 2 * norm_cdf((a - mean) / std) - 1, 2 * norm_cdf((b - mean) / std) - 1


def invert_(values: Tensor, mean: float, std: float, a: float, b: float) -> None:
    """Turn uniform values within ``uniform_bounds`` into truncated normal ones."""
    a, b = _infinite_beyond_float32(a, b, values.dtype)
    alpha = tail_distance(mean, std, a, b)
    if alpha == 0.0:
        _invert_body_(values, mean, std, a, b)
    else:
        _invert_tail_(values, alpha, (b - a) / std)
        if mean < a:
            values.mul_(std).add_(a).clamp_(a, b)
        else:
            values.mul_(-std).add_(b).clamp_(a, b)


def _invert_body_(values: Tensor, mean: float, std: float, a: float, b: float) -> None:
    """Invert the normal distribution function; the order of operations is torch 2.11's."""
    # A draw of exactly -1 or 1 inverts to infinity. It stands for the half step of the uniform grid next to the bound
    # (2^-25 of 24 bits, 2^-54 of 53), so it becomes that step's quantile, which no finite draw reaches:
    # sqrt(2) * erfinv(1 - 2^-25) and sqrt(2) * erfinv(1 - 2^-54).
    reach = (8.292361075813597 if values.dtype == torch.float64 else 5.5415222073) * std
    values.erfinv_()
    values.mul_(std * math.sqrt(2.0))
    if mean != 0.0:
        values.add_(mean)
    values.clamp_(max(a, min(b, mean - reach)), min(b, max(a, mean + reach)))


def _invert_tail_(values: Tensor, alpha: float, width: float) -> None:
    """Turn uniform values into distances past ``alpha`` > 2 of a standard normal truncated to [alpha, alpha + width].

    With Q the upper tail and v uniform, the distance d solves Q(alpha + d) / Q(alpha) = 1 - v. In logs, and with
    Q(z) = erfcx(z / sqrt(2)) exp(-z^2 / 2) / 2, no term cancels another:

        d (alpha + d / 2) - log(erfcx((alpha + d) / sqrt(2)) / erfcx(alpha / sqrt(2))) = -log(1 - v)

    The left side has the hazard rate h(z) = sqrt(2 / pi) / erfcx(z / sqrt(2)) as derivative, with h' = h (h - z). Its
    second-order expansion at 0 gives a start within 2 %, and each Newton step squares the error.
    """
    # Farther out erfcx underflows in float32, and the distance is negligible.
    alpha = min(alpha, 1e30)
    start = erfcx(alpha / math.sqrt(2.0))
    hazard = math.sqrt(2.0 / math.pi) / start
    curvature = min(1.0, hazard * (hazard - alpha)) / (hazard * hazard)
    double = values.dtype == torch.float64
    # On a narrow interval the start is accurate to the dtype, and a step would add the logarithm's rounding error.
    narrow = width < (1e-5 if double else 1e-2)
    steps = 0 if narrow else (3 if double else 2)
    # A kernel may round its largest draw up to 1; replace that by half the grid's last step.
    most = (54.0 if double else 25.0) * math.log(2.0)
    energy = values.neg().log1p_().neg_().clamp_(max=most)
    root = energy.mul(2.0 * curvature).add_(1.0).sqrt_().add_(1.0)
    values.copy_(root.reciprocal_().mul_(energy).mul_(2.0 / hazard))
    for _ in range(steps):
        ratio = torch.special.erfcx(values.add(alpha).mul_(math.sqrt(0.5)))
        residual = ratio.div(start).log_().add_(energy)
        residual.sub_(values.mul(0.5).add_(alpha).mul_(values))
        values.add_(residual.mul_(ratio).mul_(math.sqrt(math.pi / 2.0)))
    # Rounding in a step may reach the bound; clamp to the distance of the smallest draw.
    values.clamp_(min=_tail_mass(alpha, width) * 2.0 ** (-54.0 if double else -25.0) / hazard)


def _draw_chunk(
    chunk: Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None
) -> Tensor:
    """Draw the uniform values of a chunk: into itself, or below 32 bits into a new tensor of float32."""
    wide = chunk
    if chunk.dtype == torch.float16 or chunk.dtype == torch.bfloat16:
        wide = torch.empty_like(chunk, dtype=torch.float32)
    low, high = uniform_bounds(mean, std, a, b, wide.dtype)
    return wide.uniform_(low, high, generator=generator)


def _invert_chunk_(chunk: Tensor, wide: Tensor, mean: float, std: float, a: float, b: float) -> None:
    """Invert what ``_draw_chunk`` drew; below 32 bits round once."""
    # The tail takes many operators, so invert it in chunks even if it was drawn whole.
    for part in chunks(wide) if tail_distance(mean, std, a, b) > 0.0 else [wide]:
        invert_(part, mean, std, a, b)
    if wide.dtype != chunk.dtype:
        chunk.copy_(wide)


def _draw_overlapped_(
    parts: list[Tensor], mean: float, std: float, a: float, b: float, generator: torch.Generator | None
) -> None:
    """Draw each chunk while a second thread inverts the one before."""

    def finish(drawn: tuple[Tensor, Tensor]) -> None:
        _invert_chunk_(*drawn, mean, std, a, b)

    overlap(finish, ((chunk, _draw_chunk(chunk, mean, std, a, b, generator)) for chunk in parts))


def draw_(values: Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None) -> None:
    """Fill a plain tensor; below 32 bits compute in float32 and round once."""
    if values.dtype == torch.float16 or values.dtype == torch.bfloat16:
        check_overlap(values)
    parts = stream_chunks(values)
    if not is_scripting():
        if can_overlap(parts):
            _draw_overlapped_(parts, mean, std, a, b, generator)
            return
    for chunk in parts:
        _invert_chunk_(chunk, _draw_chunk(chunk, mean, std, a, b, generator), mean, std, a, b)
