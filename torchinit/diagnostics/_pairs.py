"""Compares one tensor of two models: bits, then values, then the distributions that they were drawn from."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchinit.diagnostics._fills import Filled, alike, law_of, moments_of_all
from torchinit.diagnostics._laws import Law
from torchinit.diagnostics._moments import flattened, spread
from torchinit.diagnostics._samples import (
    EQUAL,
    MOST,
    Evidence,
    Sample,
    between,
    evidence,
    moments_of,
    norms,
    sample_of,
    whole,
)
from torchinit.diagnostics._sides import Thing
from torchinit.diagnostics._statistics import ParameterStatistics

EQUAL_BITS, EQUAL_NUMBERS, FITS = "equal bits", "equal statistics", "same distribution"
OTHER_VALUES, OTHER_LAW, OTHER_NUMBERS = "same distribution, other values", "different distribution", "different values"
OTHER_SHAPE, OTHER_DTYPE, ONLY_A, ONLY_B = "different shape", "different dtype", "only in A", "only in B"
OTHER_KIND, OTHER_OVERWRITTEN, NOT_COMPARED = "different kind", "different overwritten draws", "not compared"

# What counts list first.
ORDER = (
    *(ONLY_A, ONLY_B, OTHER_SHAPE, OTHER_LAW, OTHER_NUMBERS, OTHER_DTYPE, OTHER_KIND, OTHER_OVERWRITTEN),
    *(OTHER_VALUES, FITS, EQUAL_NUMBERS, EQUAL_BITS, NOT_COMPARED),
)

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# Kurtosis of the distributions that statistics name; that of others may be larger than the normal one's.
_KURTOSIS = {"uniform": 1.8, "two-valued": 1.0, "normal": 3.0, "truncated normal": 3.0}


@dataclass(frozen=True)
class Found:
    """How a tensor compares, before the number of tests is known.

    Attributes:
        what: what differs or what is equal; if there is evidence, what it is unless that speaks against it
        evidence: the strongest of the tests
        apart: root mean square of the differences of the values, over the standard deviation of the first
        b: what is to be said of the second beyond its distribution
    """

    what: str
    evidence: Evidence | None = None
    apart: float | None = None
    b: str = ""


def is_numeric(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized


def _bits_equal(a: Tensor, b: Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.is_quantized:
        # NB: compares scales and zero points too.
        return torch.equal(a, b)
    a, b = (x if x.layout is torch.strided else x.to_dense() for x in (a, b))
    if a.is_complex():
        a, b = torch.view_as_real(a.resolve_conj()), torch.view_as_real(b.resolve_conj())
    integer = _INTEGERS[a.element_size()]
    return torch.equal(a.resolve_neg().view(integer), b.resolve_neg().view(integer).to(a.device))


def _coarser(a: Tensor, b: Tensor) -> torch.dtype:
    return a.dtype if _epsilon(a) >= _epsilon(b) else b.dtype


def _epsilon(tensor: Tensor) -> float:
    return torch.finfo(tensor.dtype).eps if tensor.is_floating_point() or tensor.is_complex() else 0.0


def _is_set(value: Tensor) -> bool:
    """True for a single value that looks like a number of a person: 0, 1, or of few digits, as a draw has seldom."""
    number, few = value.item(), value.new_tensor(float(f"{value.item():.4g}"))
    return number in (-1.0, 0.0, 1.0) or (_epsilon(value) < 1e-6 and bool(few == value))


def is_constant(flat: Tensor, sample: Sample) -> bool:
    if sample.std > 0.0 and sample.values is not None and bool(sample.values[0] != sample.values[-1]):
        return False
    return flat.numel() == 0 or bool((flat == flat[0]).all())


def _apart(a: Tensor, b: Tensor, std: float) -> float | None:
    """Compare values in pairs, over the standard deviation of the first."""
    if a.numel() != b.numel():
        return None
    difference = (a.cpu().double() - b.cpu().double()).square().mean().item()
    return math.sqrt(difference) / std if math.isfinite(difference) else None


def _strongest(found: list[Evidence]) -> Evidence:
    """Keep the test of the values, with the p-value of all tests."""
    return replace(found[0], p=min(1.0, len(found) * min(each.p for each in found)))


def tensors(a: Tensor, b: Tensor) -> Found:
    """Compare the values of two tensors."""
    if a.is_meta or b.is_meta:
        return Found(NOT_COMPARED)
    a, b = a.detach(), b.detach()
    if _bits_equal(a, b):
        return Found(EQUAL_BITS)
    if not (is_numeric(a) and is_numeric(b)):
        # NB: some types of integers cannot even be compared.
        same = a.dtype != b.dtype and torch.equal(_wide(a), _wide(b))
        return Found(OTHER_DTYPE if same else OTHER_NUMBERS)
    found = _distributions(a, b)
    return replace(found, what=OTHER_DTYPE) if found.what == OTHER_VALUES and a.dtype != b.dtype else found


def _distributions(a: Tensor, b: Tensor) -> Found:
    one, other = flattened(a), flattened(b)
    if a.dtype != b.dtype and torch.equal(one.to(coarse := _coarser(one, other)), other.to(one.device, coarse)):
        return Found(OTHER_VALUES, apart=0.0, b="equal after rounding")
    first, second = sample_of(one), sample_of(other)
    if first.not_finite != second.not_finite:
        return Found(OTHER_LAW)
    constant = is_constant(one, first), is_constant(other, second)
    if first.size == 0 or (all(constant) and _are_alike(one, other)):
        return Found(OTHER_VALUES)
    # Too few values differ to be among those that were looked at.
    steady = first.std == 0.0, second.std == 0.0
    if all(steady) and first.mean == second.mean and not any(constant):
        return Found(OTHER_VALUES)
    if any(constant) or any(steady):
        return Found(OTHER_LAW)
    found = [evidence(first, second)]
    for x, y in zip(norms(a), norms(b)) if not first.not_finite else ():
        of_a, of_b = moments_of(x, EQUAL), moments_of(y, EQUAL)
        if of_a.std > 0.0 and of_b.std > 0.0:
            found.append(evidence(of_a, of_b))
    return Found(OTHER_VALUES, _strongest(found), _apart(spread(one, MOST), spread(other, MOST), first.std))


def _are_alike(one: Tensor, other: Tensor) -> bool:
    """True if two constants are equal up to rounding, or are single values that may be draws."""
    a, b = float(one[0]), float(other[0])
    near = math.isclose(a, b, rel_tol=max(_epsilon(one), _epsilon(other)), abs_tol=0.0)
    return near or (one.numel() == 1 and not _is_set(one[0]) and not _is_set(other[0]))


def _against_norms(a: Tensor, law: Law) -> list[Evidence]:
    """Test the mean squares of rows and columns against those of independent values."""
    found, of_all = [], moments_of(spread(flattened(a), MOST).cpu().double().square())
    for sample, count in zip(map(moments_of, norms(a)), (math.prod(a.shape[1:]), *a.shape[:1])):
        if sample.std > 0.0 and of_all.std > 0.0:
            found.append(evidence(sample, Law(law.mean**2 + law.std**2, of_all.std / math.sqrt(count))))
    return found


def _simple(a: Tensor, filled: Filled) -> Found:
    """Test the values that each of several simple fills leaves."""
    found: list[Evidence] = []
    for fill, values in filled.parts(a):
        law, sample = law_of(fill, values.shape), sample_of(flattened(values))
        if sample.not_finite:
            return Found(OTHER_LAW)
        if law.std == 0.0:
            # What a fill of one number leaves.
            if not torch.equal(values, torch.full_like(values, law.mean)):
                return Found(OTHER_LAW)
        elif sample.size > 1 and (sample.std == 0.0 or is_constant(flattened(values), sample)):
            return Found(OTHER_LAW)
        else:
            found.append(evidence(sample, law))
    if len(found) == 1 and filled.fills is not None and len(filled.fills) == 1:
        found += _against_norms(a, law_of(filled.fills[0], a.shape))
    return Found(FITS, _strongest(found)) if found else Found(FITS)


def against_fill(a: Tensor, filled: Filled) -> Found:
    """Test the values of a tensor against what fills it."""
    if filled.draw is None or a.is_meta or a.numel() == 0:
        return Found(NOT_COMPARED)
    if not filled.draws:
        known = filled.draw()
        tolerance, values = 4.0 * max(_epsilon(a), _epsilon(known)), _wide(known)
        close = torch.allclose(_wide(a), values, tolerance, 1e-7 * float(values.abs().max()), equal_nan=True)
        return Found(FITS if close else OTHER_LAW if is_numeric(a) else OTHER_NUMBERS)
    found = _simple(a.detach(), filled) if filled.is_simple else _draws(a, filled.draw())
    differ = filled.dtype is not None and a.dtype != filled.dtype and not a.is_quantized
    return Found(OTHER_DTYPE, found.evidence) if found.what == FITS and differ else found


def _draws(a: Tensor, b: Tensor) -> Found:
    """Compare a tensor, or a draw of a law, with a draw of another law; their values are not paired."""
    found = tensors(a, b.to(a.dtype))
    return Found(FITS if found.what in (OTHER_VALUES, EQUAL_BITS) else found.what, found.evidence)


def _wide(tensor: Tensor) -> Tensor:
    tensor = (tensor.dequantize() if tensor.is_quantized else tensor.detach()).cpu()
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def fills(a: Filled, b: Filled) -> Found:
    """Compare two laws: by their numbers, or else by a draw from each."""
    if a.draw is None or b.draw is None:
        return Found(FITS if a.words == b.words else NOT_COMPARED)
    said = alike(a, b)
    if said is None:
        found = _draws(a.draw(), b.draw())
    elif said:
        found = Found(FITS)
    else:
        found = Found(OTHER_LAW, between(*(law_of(each.fills[0], each.shape) for each in (a, b) if each.fills)))
    return Found(OTHER_DTYPE, found.evidence) if found.what == FITS and a.dtype != b.dtype else found


def _of_row(row: ParameterStatistics) -> Sample:
    """Return the moments of statistics as a sample of that size."""
    size = math.prod(row.shape) - (row.not_finite or 0)
    mean = row.mean.real if isinstance(row.mean, complex) else row.mean or 0.0
    return Sample(size, mean, row.std or 0.0, _KURTOSIS.get(row.distribution or "", 9.0), row.not_finite or 0)


def rows(a: ParameterStatistics, b: ParameterStatistics) -> Found:
    """Compare the statistics of two tensors."""
    if a.std is None or b.std is None:
        return Found(NOT_COMPARED if a.not_finite == b.not_finite else OTHER_LAW)
    numbers = {(x.mean, x.std, x.min, x.max, x.zeros, x.not_finite) for x in (a, b)}
    what = OTHER_DTYPE if a.dtype != b.dtype else EQUAL_NUMBERS if len(numbers) == 1 else OTHER_VALUES
    if len(numbers) == 1:
        return Found(what)
    named = {x.distribution for x in (a, b)} - {None, "other"}
    if a.not_finite != b.not_finite or 0.0 in (a.std, b.std) or len(named) > 1:
        return Found(OTHER_LAW)
    return Found(what, evidence(_of_row(a), _of_row(b)))


def row_against_fill(a: ParameterStatistics, filled: Filled) -> Found:
    """Compare the statistics of a tensor with the law of what fills it."""
    if filled.draw is None or a.std is None:
        return Found(NOT_COMPARED)
    law, sample = moments_of_all(filled), _of_row(a)
    if law.std == 0.0 or sample.std == 0.0:
        near = math.isclose(law.mean, sample.mean, rel_tol=1e-2 if a.dtype.itemsize < 4 else 1e-6)
        return Found(FITS if law.std == sample.std and near else OTHER_LAW)
    return Found(FITS, evidence(sample, law))


def compared(a: Thing, b: Thing) -> Found:
    """Compare two things of one name."""
    a, b = (whole(x) if isinstance(x, Tensor) else x for x in (a, b))
    if tuple(a.shape) != tuple(b.shape):
        return Found(OTHER_SHAPE)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return tensors(a, b)
    if isinstance(a, Filled) and isinstance(b, Filled):
        return fills(a, b)
    if isinstance(a, ParameterStatistics) and isinstance(b, ParameterStatistics):
        return rows(a, b)
    turned = isinstance(a, Filled)
    own, filled = (b, a) if turned else (a, b)
    assert isinstance(filled, Filled)
    found = against_fill(own, filled) if isinstance(own, Tensor) else row_against_fill(own, filled)  # type: ignore[arg-type]
    if turned and found.evidence is not None and found.evidence.ratio:
        return replace(found, evidence=replace(found.evidence, ratio=1.0 / found.evidence.ratio))
    return found
