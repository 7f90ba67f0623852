"""Truncated normal values by inversion: one uniform draw a value, and a branch that the arguments alone choose.

Every function draws into ``values`` in place, for ``_primitives``, which passes the no-grad view.
"""

import math

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.jit import is_scripting

from torchinit._core.special import _erfcx, _norm_cdf
from torchinit._core.unusual import _is_distributed, _recorded_bounds


def _is_plain(values: Tensor) -> bool:
    """Whether kernels run at once on just this tensor: no compiler, no transform, no subclass."""
    if is_scripting():
        return True
    else:
        return type(values) is Tensor and not is_dynamo_compiling() and not torch._C._are_functorch_transforms_active()


def _pieces(values: Tensor) -> list[Tensor]:
    """Cut a tensor into pieces that stay in a processor's cache, where one can."""
    size = 262144 if values.device.type == "cpu" else 4194304
    if not is_scripting():
        if _is_distributed(values):
            # NB: a DTensor has no rule for erfcx on torch 2.6; what is left to do concerns each value alone.
            return [values.to_local()]  # type: ignore[attr-defined]
        # A trace would keep the number of pieces.
        if torch.jit.is_tracing():  # type: ignore[no-untyped-call]
            return [values]
    # Asked in this order, so that a compiler's symbolic size is not compared.
    if not _is_plain(values) or values.numel() <= size:
        return [values]
    if values.is_contiguous():
        return list(torch.split(values.view(-1), size))
    longest = max(values.shape)
    return list(torch.split(values, max(1, size * longest // values.numel()), values.shape.index(longest)))


def _streamed_pieces(values: Tensor) -> list[Tensor]:
    """Cut only where a draw piece by piece is the draw of the whole: a processor's stream, in memory order."""
    return _pieces(values) if values.device.type == "cpu" and values.is_contiguous() else [values]


def _outside(mean: float, std: float, a: float, b: float) -> float:
    """Say how many ``std`` the mean lies outside [a, b] where that is more than 2, and 0 elsewhere."""
    if mean < a - 2 * std:
        return (a - mean) / std
    if mean > b + 2 * std:
        return (mean - b) / std
    return 0.0


def _tail_mass(alpha: float, width: float) -> float:
    """Compute the share of a standard normal's tail past ``alpha`` > 2 that lies within ``width`` of it."""
    if width >= 40.0:
        return 1.0
    drop = -width * (alpha + width / 2.0)
    return -math.expm1(drop + math.log(_erfcx((alpha + width) / math.sqrt(2.0)) / _erfcx(alpha / math.sqrt(2.0))))


def _range(mean: float, std: float, a: float, b: float, double: bool) -> tuple[float, float]:
    """Return the bounds of the uniform values that ``_invert_`` takes."""
    alpha = _outside(mean, std, a, b)
    if alpha > 0.0:
        mass = _tail_mass(min(alpha, 1e30), (b - a) / std)
        # Not 0 but half the grid's first step, so that no draw lies on the bound.
        return mass * 2.0 ** (-54.0 if double else -25.0), mass
    return 2 * _norm_cdf((a - mean) / std) - 1, 2 * _norm_cdf((b - mean) / std) - 1


def _invert_(values: Tensor, mean: float, std: float, a: float, b: float) -> None:
    """Turn uniform values within ``_range`` into truncated normal ones."""
    alpha = _outside(mean, std, a, b)
    if alpha == 0.0:
        _invert_central_(values, mean, std, a, b)
    else:
        _invert_tail_(values, alpha, (b - a) / std)
        if mean < a:
            values.mul_(std).add_(a).clamp_(a, b)
        else:
            values.mul_(-std).add_(b).clamp_(a, b)


def _invert_central_(values: Tensor, mean: float, std: float, a: float, b: float) -> None:
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
    """Turn uniform values into the distance past ``alpha`` > 2 of a standard normal truncated to [alpha, alpha + width].

    With Q the upper tail and v uniform, the distance d solves Q(alpha + d) / Q(alpha) = 1 - v. In logs, and with
    Q(z) = erfcx(z / sqrt(2)) exp(-z^2 / 2) / 2, no term cancels another:

        d (alpha + d / 2) - log(erfcx((alpha + d) / sqrt(2)) / erfcx(alpha / sqrt(2))) = -log(1 - v)

    The left side has the hazard rate h(z) = sqrt(2 / pi) / erfcx(z / sqrt(2)) as derivative, with h' = h (h - z), so its
    second-order expansion at 0 gives a start within 2 %, and each Newton step squares the error.
    """
    # Farther out float32 would not hold erfcx, and the distance is next to nothing.
    alpha = min(alpha, 1e30)
    start = _erfcx(alpha / math.sqrt(2.0))
    hazard = math.sqrt(2.0 / math.pi) / start
    curvature = min(1.0, hazard * (hazard - alpha)) / (hazard * hazard)
    double = values.dtype == torch.float64
    # On a narrow interval the start is as good as the dtype, and a step would add the rounding of the logarithm.
    narrow = width < (1e-5 if double else 1e-2)
    steps = 0 if narrow else (3 if double else 2)
    # A kernel may round its greatest draw up to 1; that stands for half the grid's last step.
    most = (54.0 if double else 25.0) * math.log(2.0)
    energy = values.neg().log1p_().neg_().clamp_(max=most)
    root = energy.mul(2.0 * curvature).add_(1.0).sqrt_().add_(1.0)
    values.copy_(root.reciprocal_().mul_(energy).mul_(2.0 / hazard))
    for _ in range(steps):
        ratio = torch.special.erfcx(values.add(alpha).mul_(math.sqrt(0.5)))
        residual = ratio.div(start).log_().add_(energy)
        residual.sub_(values.mul(0.5).add_(alpha).mul_(values))
        values.add_(residual.mul_(ratio).mul_(math.sqrt(math.pi / 2.0)))
    # The rounding of a step may reach the bound, which the first draw's own distance does not.
    values.clamp_(min=_tail_mass(alpha, width) * 2.0 ** (-54.0 if double else -25.0) / hazard)


def _held(a: float, b: float, dtype: torch.dtype) -> tuple[float, float]:
    """Take a bound past what float32 holds for none, but in float64."""
    if dtype == torch.float64:
        return a, b
    return a if a >= -3.4e38 else -math.inf, b if b <= 3.4e38 else math.inf


def _fill_trunc_normal(
    values: Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None
) -> None:
    """Fill a tensor of 32 or 64 bits, by the branch that mean, std, a and b choose."""
    a, b = _held(a, b, values.dtype)
    first, last = _range(mean, std, a, b, values.dtype == torch.float64)
    in_tail = _outside(mean, std, a, b) > 0.0
    if not is_scripting():
        if is_compiling():
            first, last = _recorded_bounds(first, last)
    for piece in _streamed_pieces(values):
        piece.uniform_(first, last, generator=generator)
        for part in _pieces(piece) if in_tail else [piece]:
            _invert_(part, mean, std, a, b)
