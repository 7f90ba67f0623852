"""Says in words how the values of one tensor are distributed, or what fills it."""

import math

import torch
from torch import Tensor

from torchinit._core.table import text
from torchinit.diagnostics._distribution import distribution
from torchinit.diagnostics._fills import Filled
from torchinit.diagnostics._moments import Moments, flattened, spread
from torchinit.diagnostics._pairs import is_constant, is_numeric
from torchinit.diagnostics._samples import MOST_SORTED, sample_of, whole
from torchinit.diagnostics._sides import Thing
from torchinit.diagnostics._statistics import ParameterStatistics


def _distribution_words(tensor: Tensor) -> str:
    flat = flattened(tensor)
    sample = sample_of(flat)
    if sample.size == 0:
        return "not finite" if sample.not_finite else "empty"
    if is_constant(flat, sample):
        return f"constant {text(float(flat[0]))}"
    broken = f"{sample.not_finite} not finite, " if sample.not_finite else ""
    values = spread(flat, MOST_SORTED)
    moments = Moments(values.numel())
    moments.add(values.cpu().double())
    name = distribution(values.cpu(), moments).name
    told = f"{name}, " if name not in (None, "other") else ""
    if abs(sample.mean) > 5.0 * sample.std / math.sqrt(sample.size):
        told += f"mean {text(sample.mean)}, "
    return f"{broken}{told}std {text(sample.std)}"


def words(thing: Thing) -> str:
    """Say how the values of one side are distributed."""
    if isinstance(thing, Filled):
        return thing.words
    if isinstance(thing, ParameterStatistics):
        return thing.verdict or ("" if thing.std is None else f"std {text(thing.std)}")
    if thing.is_meta:
        return "no values"
    thing = whole(thing)
    if not is_numeric(thing):
        return "integers" if thing.numel() > 1 or thing.dtype is torch.bool else str(int(thing))
    return _distribution_words(thing)
