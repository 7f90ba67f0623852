"""The distribution that values were drawn from, by tests at the size of the sample."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchinit.diagnostics._laws import Cdf, normal, truncated, uniform
from torchinit.diagnostics._moments import Moments, flattened, only_finite, spread

# Values that the tests look at. A large tensor's are spread evenly over it, so the same ones each time.
SAMPLE = 1 << 13
# Fewer values do not tell distributions apart.
_LEAST = 32
# Nats by which a distribution must be more likely than another one, and one with one more parameter.
_TELLING, _NATS = 4.0, 7.0
# A truncation within this many standard deviations looks uniform, and one beyond these cuts nothing.
_NARROWEST, _WIDEST = 0.7, 4.0
# The Kolmogorov-Smirnov distance times sqrt(n); larger ones have a probability of 2 exp(-2 x^2) = 1e-4.
_DISTANCE = 2.2
# Dtypes that values may have been drawn in before they were converted.
_COARSE = (torch.float8_e5m2, torch.float8_e4m3fn, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Distribution:
    """A distribution and what does not fit it.

    Attributes:
        name: ``"uniform"``, ``"normal"``, ``"truncated normal"``, ``"two-valued"``, ``"constant"``, or ``"other"`` if
            it is none of them; None if too few values tell
        size: number of real values in the whole tensor
        mean: their mean
        std: their standard deviation
        low: the least value
        high: the greatest
        cut: bounds of a truncated normal, in standard deviations before truncation
        resolution: relative distance of neighboring values in the type that they were drawn in
        piled: share of the values that lie exactly on the least or the greatest one, if more than a draw gives
        outlying: factor by which the largest value exceeds the standard deviation of the others, if no draw gives it
        levels: number of different values, if these lie on a grid or are only a few
    """

    name: str | None
    size: int
    mean: float
    std: float
    low: float
    high: float
    cut: float | None = None
    resolution: float = 0.0
    piled: float | None = None
    outlying: float | None = None
    levels: int | None = None

    @property
    def largest(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    @property
    def half(self) -> float:
        """The largest distance from the mean."""
        return max(self.high - self.mean, self.mean - self.low)

    @property
    def before(self) -> float:
        """The standard deviation before truncation; of uniform values, the one that their bounds give."""
        if self.name == "uniform":
            return (self.high - self.low) / 2 / math.sqrt(3.0)
        return self.std if self.cut is None else self.half / self.cut

    @property
    def cdf(self) -> Cdf:
        if self.name == "uniform":
            return uniform(self.low, self.high)
        if self.cut is None:
            return normal(self.mean, self.std)
        return truncated(self.mean, self.before, self.mean - self.half, self.mean + self.half)

    @property
    def error(self) -> float:
        """Relative error of the standard deviation: four times that of a sample, and rounding."""
        rounding = 0.003 + self.resolution / 2
        # The bounds of uniform values are known better than their standard deviation.
        return rounding + (4.0 / self.size if self.name == "uniform" else 4.0 / math.sqrt(2.0 * self.size))


def sample(tensor: Tensor) -> Tensor:
    """Return finite values in float64, sorted, of complex numbers the parts; at most 8192, spread evenly."""
    return only_finite(spread(flattened(tensor), SAMPLE).double()).sort().values


def distribution(tensor: Tensor, moments: Moments) -> Distribution:
    """Tell the distribution of a floating-point or complex tensor that has finite values.

    Normal, truncated normal and uniform are one family: normal ones truncated farther and farther from 0. The ratio of
    range and standard deviation gives the truncation; the most likely member that passes a test of
    Kolmogorov-Smirnov is told.
    """
    values = sample(tensor)
    size, mean, std, low, high = moments.count, moments.mean.real, moments.std, moments.min, moments.max
    if tensor.is_complex():
        size, mean, std = 2 * size, values.mean().item(), values.std(correction=0).item()
        low, high = values[0].item(), values[-1].item()
    resolution = resolution_of(values, tensor.dtype)
    plain = Distribution(None, size, mean, std, low, high, resolution=resolution)
    if low == high:
        return replace(plain, name="constant")
    distinct = torch.unique_consecutive(values)
    if len(distinct) == 2 and size >= _LEAST:
        return replace(plain, name="two-valued")
    # NB: the squares of tiny values are 0.
    if size < _LEAST or std == 0.0 or not 1e-300 < high - low < 1e300:
        return plain
    fitted = _likeliest(plain)
    if fitted.name is not None and not _fits(values, fitted):
        fitted = replace(plain, name="other")
    return replace(
        fitted,
        piled=_piled(values, plain),
        outlying=_outlying(values, plain),
        levels=_levels(distinct, fitted, tensor.dtype),
    )


def resolution_of(values: Tensor, dtype: torch.dtype) -> float:
    # Few values of a finer type look like those of a coarse one, so a few tell mostly.
    coarser = [coarse for coarse in _COARSE if torch.finfo(coarse).bits < torch.finfo(dtype).bits]
    for part in (values[:: max(1, len(values) // 16)], values):
        coarser = [coarse for coarse in coarser if (part.to(coarse).double() == part).all()]
        if not coarser:
            break
    return torch.finfo(coarser[0] if coarser else dtype).eps


def _mass(cut: float) -> float:
    """The probability that a standard normal number lies within ``cut``."""
    return math.erf(cut / math.sqrt(2.0))


def _variance(cut: float) -> float:
    """The variance of a standard normal distribution that is truncated at ``cut`` on both sides."""
    return 1.0 - 2.0 * cut * math.exp(-cut * cut / 2.0) / math.sqrt(2.0 * math.pi) / _mass(cut)


def truncation(ratio: float) -> float:
    """Return the bounds of a truncation, in standard deviations before it, by half the range in those after it."""
    narrow, wide = _NARROWEST / 2, 2 * _WIDEST
    for _ in range(40):
        middle = (narrow + wide) / 2
        narrow, wide = (middle, wide) if middle / math.sqrt(_variance(middle)) < ratio else (narrow, middle)
    return narrow


def _likeliest(plain: Distribution) -> Distribution:
    """Choose by the likelihood of all values, which mean, standard deviation and range give."""
    cut = truncation(plain.half / plain.std)
    uniform = -math.log((plain.high - plain.low) / plain.std)
    normal = -0.5 * math.log(2.0 * math.pi * math.e)
    density = plain.half / plain.std / cut * _mass(cut) * math.sqrt(2.0 * math.pi)
    within = -math.log(density) - _variance(cut) / 2
    if _NARROWEST < cut < _WIDEST and plain.size * (within - max(uniform, normal)) > _NATS:
        return replace(plain, name="truncated normal", cut=cut)
    if plain.size * abs(uniform - normal) < _TELLING:
        return plain
    return replace(plain, name="uniform" if uniform > normal else "normal")


def _fits(values: Tensor, fitted: Distribution) -> bool:
    """Test by Kolmogorov and Smirnov; equal values count half, for rounding."""
    different, counts = torch.unique_consecutive(values, return_counts=True)
    share = (counts.cumsum(0) - counts / 2) / len(values)
    distance = (fitted.cdf(different) - share).abs().max().item()
    return bool(distance <= _DISTANCE / math.sqrt(len(values)) + fitted.resolution / 8)


def _piled(values: Tensor, plain: Distribution) -> float | None:
    """Return the share of the values on both bounds; rounding alone puts few there."""
    count = max(int((values == bound).sum()) for bound in (plain.low, plain.high))
    share = count / len(values)
    return share if count >= 5 and share > 0.0004 + 1.5 * plain.resolution else None


def _outlying(values: Tensor, plain: Distribution) -> float | None:
    """Return the largest value, in standard deviations of the middle half, if the others are normal or uniform."""
    quarter, center, third = values[[len(values) // 4, len(values) // 2, 3 * len(values) // 4]].tolist()
    spread = (third - quarter) / 1.349
    far = max(plain.high - center, center - plain.low)
    if len(values) < 256 or spread <= 0.0 or far < 8.0 * spread or plain.size * math.erfc(far / spread / 1.4143) > 1e-6:
        return None
    body = values[(values - center).abs() <= 3.0 * spread]
    # NB: a distribution with heavy tails, as training makes it, has several percent of its values out there.
    if len(body) < 0.99 * len(values):
        return None
    bounds = (center - 3.0 * spread, center + 3.0 * spread)
    rest = Distribution("truncated normal", 0, center, spread, *bounds, 3.0, plain.resolution)
    return (
        far / spread
        if _fits(body, rest) or _fits(body, replace(rest, name="uniform", low=body[0].item(), high=body[-1].item()))
        else None
    )


def _levels(distinct: Tensor, fitted: Distribution, dtype: torch.dtype) -> int | None:
    """Return the number of values on a grid; a uniform draw in bfloat16 has 256 on one, and subnormal numbers lie on one."""
    count = len(distinct)
    if count > 256 or fitted.size < 256 or fitted.size < 4 * count or fitted.name == "two-valued":
        return None
    if count > 128 and fitted.name == "uniform" and fitted.resolution >= torch.finfo(torch.bfloat16).eps:
        return None
    step, info = distinct.diff().min(), torch.finfo(dtype)
    steps = (distinct - distinct[0]) / step
    is_grid = bool((steps - steps.round()).abs().max() < 0.02) and steps[-1].item() <= 512
    is_subnormal = step.item() <= info.smallest_normal * info.eps
    return count if (is_grid and not is_subnormal) or count <= 16 else None
