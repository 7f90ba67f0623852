"""Do two samples, or a sample and a law, have one distribution? Tests whose error follows from the sizes of the samples.

Each compares means, standard deviations and, by the distance of Kolmogorov and Smirnov, the whole distributions. The
means and deviations of matrices' rows and columns are compared as well, since independent values have other ones than
orthogonal or dead rows.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchinit._core.dtensor import is_dtensor
from torchinit.diagnostics._distribution import resolution_of
from torchinit.diagnostics._laws import Cdf, Law
from torchinit.diagnostics._moments import only_finite, spread

# Values that are looked at for moments, and for distributions. 5 % of a standard deviation is 18 of its errors there.
MOST, MOST_SORTED = 1 << 17, 1 << 13
# Rows and columns whose norms are looked at.
_LINES = 256
# Fewer values do not give a kurtosis; that of the normal distribution is assumed, unless theirs is larger.
_FEW = 512
# The moments of fewer values tell nothing.
_LEAST = 6
# Norms that agree this well are equal; torch's QR in float32 leaves 1e-6.
EQUAL = 1e-4


def whole(tensor: Tensor) -> Tensor:
    """Gather a DTensor; all ranks call this in one order."""
    return tensor.full_tensor() if is_dtensor(tensor) else tensor  # type: ignore[attr-defined]


def norms(tensor: Tensor) -> list[Tensor]:
    """Return mean squares of rows and of columns of a matrix or kernel; empty for other tensors."""
    if tensor.dim() < 2 or min(tensor.shape) < 2 or tensor.is_complex() or tensor.layout is not torch.strided:
        return []
    matrix = (tensor.dequantize() if tensor.is_quantized else tensor).detach().flatten(1)
    rows = matrix[:: max(1, len(matrix) // _LINES)].cpu().double()
    columns = matrix[:, :: max(1, matrix.shape[1] // _LINES)].cpu().double()
    return [rows.square().mean(1), columns.square().mean(0)]


@dataclass(frozen=True, eq=False)
class Sample:
    """What the tests know of values.

    Attributes:
        size: how many finite values were looked at
        mean: their mean
        std: their standard deviation
        kurtosis: their fourth central moment over the square of the second
        not_finite: how many are NaN or infinite
        values: some of the finite ones, sorted, in float64; None if only moments are known
        resolution: relative distance of neighboring values in the type that they were drawn in
    """

    size: int
    mean: float
    std: float
    kurtosis: float
    not_finite: int = 0
    values: Tensor | None = None
    resolution: float = 0.0


def sample_of(flat: Tensor) -> Sample:
    """Look at values."""
    raw = spread(flat, MOST).cpu()
    values = only_finite(raw.double())
    not_finite = _count_not_finite(flat)
    if not values.numel():
        return Sample(0, 0.0, 0.0, 3.0, not_finite)
    some = spread(values, MOST_SORTED).sort().values
    resolution = resolution_of(some, raw.dtype) if raw.dtype.is_floating_point else 0.0
    found = moments_of(values)
    return replace(found, not_finite=not_finite, values=some, resolution=resolution)


def _count_not_finite(flat: Tensor) -> int:
    # One NaN or infinity makes the sum such a number.
    return 0 if flat.sum(dtype=torch.float64).isfinite() else int((~torch.isfinite(flat.double())).sum())


def moments_of(values: Tensor, floor: float = 0.0) -> Sample:
    """Measure finite values in float64; a standard deviation below ``floor`` times the mean is rounding."""
    # Units in which no square overflows.
    scale = float(values.abs().max()) or 1.0
    scaled = values / scale
    mean = float(scaled.mean())
    squares = (scaled - mean).square_()
    variance = float(squares.mean())
    kurtosis = float(squares.square_().mean()) / variance**2 if variance > 1e-24 else 3.0
    if len(values) < _FEW:
        kurtosis = max(kurtosis, 3.0)
    return Sample(len(values), mean * scale, math.hypot(math.sqrt(variance), floor * mean) * scale, kurtosis)


@dataclass(frozen=True)
class Evidence:
    """How far apart two distributions are.

    Attributes:
        ratio: standard deviation of the second over that of the first; None if either is 0
        error: its standard error, relative
        distance: the largest difference of the distribution functions, from 0 to 1; None if it was not measured
        p: probability that two samples of one distribution differ as much, over all tests made of them
    """

    ratio: float | None
    error: float | None
    distance: float | None
    p: float


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2.0))


def _p_of_std(a: Sample, b: Sample | Law, slack: float) -> float:
    """Test a ratio of deviations: F, with fewer degrees of freedom for heavier tails, as a normal number by Paulson.

    Source: "Non-normality and tests on variances", Box (1953); "An approximate normalization of the analysis of
    variance distribution", Paulson (1942).
    """
    difference = math.log(a.std / b.std)
    difference = math.copysign(max(0.0, abs(difference) - slack), difference)
    kurtosis, one = a.kurtosis, 0.0
    if isinstance(b, Sample):
        kurtosis = (a.kurtosis * a.size + b.kurtosis * b.size) / (a.size + b.size)
        one = 2.0 / (9.0 * max(1.0, 2.0 * (b.size - 1) / max(kurtosis - 1.0, 1e-3)))
    two = 2.0 / (9.0 * max(1.0, 2.0 * (a.size - 1) / max(kurtosis - 1.0, 1e-3)))
    root = math.exp(max(-200.0, min(200.0, 2.0 * difference / 3.0)))
    return _two_sided(((1.0 - one) * root - (1.0 - two)) / math.sqrt(one * root * root + two))


def _p_of_mean(a: Sample, b: Sample | Law, slack: float) -> float:
    """Test a difference of means: Student's t, as a normal number by Wallace (1959)."""
    # In units of the larger deviation, whose square may overflow.
    unit = max(a.std, b.std)
    error = math.sqrt((a.std / unit) ** 2 / a.size + ((b.std / unit) ** 2 / b.size if isinstance(b, Sample) else 0.0))
    # Subnormal values have no error in these units.
    t = max(0.0, abs(a.mean / unit - b.mean / unit) - slack) / max(error, 1e-300)
    degrees = max(1, a.size + b.size - 2 if isinstance(b, Sample) else a.size - 1)
    return _two_sided((8.0 * degrees + 1.0) / (8.0 * degrees + 3.0) * math.sqrt(degrees * math.log1p(t * t / degrees)))


def _distance(a: Sample, b: Sample | Law) -> tuple[float, float] | None:
    """Return the distance of Kolmogorov and Smirnov, and the size that its error follows from."""
    other = b.cdf if isinstance(b, Law) else b.values
    if a.values is None or other is None:
        return None
    size = len(a.values)
    if isinstance(other, Tensor):
        distance = max(_gap(a.values, other), _gap(other, a.values))
        return distance, size * len(other) / (size + len(other))
    below, steps = other(a.values), torch.arange(size + 1, dtype=torch.float64, device="cpu") / size
    return max(float((steps[1:] - below).max()), float((below - steps[:-1]).max())), size


def _gap(x: Tensor, y: Tensor) -> float:
    """Return the largest difference of two sorted samples' distribution functions at the values of the first."""
    own = torch.arange(1, len(x) + 1, dtype=torch.float64, device="cpu") / len(x)
    gap = (own - torch.searchsorted(y, x, right=True) / len(y)).abs_()
    # Of equal values the last one has all of the step.
    last = x.new_ones(len(x), dtype=torch.bool)
    torch.ne(x[1:], x[:-1], out=last[:-1])
    return float(gap.mul_(last).max())


def _p_of_distance(distance: float, size: float) -> float:
    """Kolmogorov's distribution, with Stephens' correction for small samples (1970)."""
    x = (math.sqrt(size) + 0.12 + 0.11 / math.sqrt(size)) * distance
    if x < 0.2:
        return 1.0
    return min(
        1.0, max(0.0, 2.0 * sum((-1.0) ** (k - 1) * math.exp(-2.0 * (k * x) ** 2) for k in range(1, 3 + int(5.0 / x))))
    )


def _p_of_ends(values: Tensor, cdf: Cdf, resolution: float) -> float:
    """Test the least and the greatest value, so that few values outside a law's bounds are enough."""
    ends = values[[0, -1]]
    rounding = resolution * float(ends.abs().max())
    ends = cdf(ends + ends.new_tensor([rounding, -rounding]))
    return min(1.0, 2.0 * len(values) * min(float(ends[0]), 1.0 - float(ends[1])))


def _ratio(a: Sample | Law, b: Sample | Law) -> float | None:
    return b.std / a.std if a.std > 0.0 and b.std > 0.0 else None


def evidence(a: Sample, b: Sample | Law) -> Evidence:
    """Test whether a sample and another one, or a law, have one distribution; neither has a deviation of 0."""
    sizes = [each.size for each in (a, b) if isinstance(each, Sample)]
    slack = max(each.resolution for each in (a, b) if isinstance(each, Sample))
    # Uniform values of a coarse type lie on a grid, at its lower ends.
    each = [_p_of_std(a, b, slack / 2), _p_of_mean(a, b, slack)] if min(sizes) >= _LEAST else []
    found = _distance(a, b)
    if found is not None:
        each.append(_p_of_distance(max(0.0, found[0] - slack / 2), found[1]))
    if isinstance(b, Law) and a.values is not None and b.cdf is not None:
        each.append(_p_of_ends(a.values, b.cdf, max(slack, 1e-6)))
    kurtosis = max(x.kurtosis for x in (a, b) if isinstance(x, Sample))
    error = math.sqrt(sum((kurtosis - 1.0) / (4.0 * size) for size in sizes))
    return Evidence(_ratio(a, b), error, found and found[0], min([1.0, *(len(each) * p for p in each)]))


def between(a: Law, b: Law) -> Evidence:
    """Say how far apart two laws are that are known to differ."""
    ends = [law.mean + side * law.std for law in (a, b) for side in (-6.0, 6.0)]
    points = torch.linspace(min(ends), max(ends), 4097, dtype=torch.float64, device="cpu")
    one, other = ((points >= law.mean).double() if law.cdf is None else law.cdf(points) for law in (a, b))
    return Evidence(_ratio(a, b), None, float((one - other).abs().max()), 0.0)
