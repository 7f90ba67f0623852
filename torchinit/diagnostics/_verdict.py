"""Judges the values of a parameter: their distribution, the known initialization that gives them, and their faults."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from torchinit._core.table import text
from torchinit.diagnostics._distribution import SAMPLE, Distribution, distribution
from torchinit.diagnostics._moments import Moments, measure
from torchinit.diagnostics._parameters import Parameter, is_dequantized
from torchinit.diagnostics._patterns import pattern_of, without_identity
from torchinit.diagnostics._schemes import Scheme, he_std, nearest_by_fans, scheme_of
from torchinit.diagnostics._structure import (
    Lines,
    Weight,
    constant_rows,
    copies,
    differ,
    is_mask,
    is_sparse,
    lines,
    rank,
)

# A mean this far from 0, in standard deviations, is in no matrix that is drawn around 0.
_MEAN = 0.5
# More zeros than this need a reason.
_ZEROS = 0.25
# Columns may be copied for a few inputs that repeat, but not so many.
_COPIES = 0.25
# Independent rows below this share of those looked at; of a square matrix of random values 1 % look dependent.
_RANK = 0.8
# Multiples of He's standard deviation that blow the signal up: of a layer of torch.nn, and of another one, which may
# scale its weight when it runs; the last layer of a model and tables of factors are no part of the trunk.
_LARGE, _VERY_LARGE = 5.0, 40.0
# The standard deviation times the root of the larger fan that leaves nothing of the signal.
_SMALL = 1e-3
# Smaller powers of ten are an accident.
_LEAST_EXPONENT = -8
# Projections that hold several matrices; one of them may be zero.
_PACKED = re.compile(r"qkv|in_proj|c_attn|query_key_value", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    """The judgement of a parameter; ``fault`` names what no sound initialization gives."""

    words: str | None
    fault: str | None = None
    distribution: str | None = None
    scheme: str | None = None
    gain: float | None = None

    @property
    def text(self) -> str | None:
        return "; ".join(filter(None, (self.fault, self.words))) or None


def _number(value: complex) -> str:
    return f"{value:.3g}" if isinstance(value, complex) else text(float(value))


def verdict(parameter: Parameter, moments: Moments | None) -> Verdict:
    """Look at a parameter by itself."""
    if moments is None:
        return Verdict("no numbers")
    if moments.size == 0:
        return Verdict("empty")
    if moments.not_finite:
        return Verdict(None, "not finite")
    if moments.constant is not None:
        words = f"constant {_number(moments.constant)}"
        # A constant weight keeps all units of a layer equal forever; a layer that starts at zero may still learn.
        is_fault = moments.constant != 0 and parameter.is_weight and sum(n > 1 for n in parameter.tensor.shape) > 1
        return Verdict(None, words, "constant") if is_fault else Verdict(words, None, "constant")
    if not (parameter.tensor.is_floating_point() or parameter.tensor.is_complex()):
        return Verdict(None)
    if not math.isfinite(moments.std):
        return Verdict(None, "too large to be measured")
    if parameter.tensor.layout is not torch.strided:
        parameter = replace(parameter, tensor=parameter.tensor.to_dense())
    found = distribution(parameter.tensor, moments)
    wide = torch.complex64 if parameter.tensor.is_complex() else torch.bfloat16
    if parameter.tensor.element_size() < wide.itemsize:
        # NB: torch computes little in 8-bit floats and in complex32.
        parameter = replace(parameter, tensor=parameter.tensor.to(wide))
    if parameter.is_weight:
        return _weight(parameter, moments, found)
    said = _drawn(parameter, found)
    return replace(said, fault=_fault_of_table(parameter, found)) if parameter.is_table else said


def _drawn(parameter: Parameter, found: Distribution) -> Verdict:
    """Say which distribution it is, and which initialization gives its standard deviation."""
    told = found.name not in ("other", None)
    if found.name == "two-valued":
        return Verdict(f"two-valued, {text(found.low)} and {text(found.high)}", None, found.name)
    centered = abs(found.mean) <= max(0.02, 4.0 / math.sqrt(found.size)) * found.std
    scheme = scheme_of(parameter, found, parameter.is_weight) if centered and found.name != "other" else None
    if not (told or parameter.is_weight or parameter.is_table or (scheme and parameter.own.startswith("bias"))):
        return Verdict(None)
    return Verdict(_words(found, scheme, centered, parameter), None, found.name, scheme.name if scheme else None)


def _words(found: Distribution, scheme: Scheme | None, centered: bool, parameter: Parameter) -> str:
    name = f"{found.name}, " if found.name not in ("other", None) else ""
    if found.name == "uniform" and not centered:
        return f"uniform from {text(found.low)} to {text(found.high)}"
    if not centered:
        name += f"mean {text(found.mean)}, "
    what, number, known = "std", found.std, scheme.std if scheme else 0.0
    if found.name == "uniform":
        what, number, known = "bound", found.half, known * math.sqrt(3.0)
    after = ""
    if found.cut is not None:
        after = f", cut at {found.cut:.2g} std"
        if scheme is not None and abs(known / found.before - 1.0) <= found.error and not scheme.name.isalpha():
            number, after = found.before, f" before the cut at {found.cut:.2g} std"
    nearest = ""
    # Two digits fit by chance; add the nearest by the fans.
    if parameter.is_weight and found.name != "other" and (scheme is None or re.fullmatch(r"0\.0*[1-9]\d", scheme.name)):
        nearest = nearest_by_fans(parameter, found.std)
    if scheme is None:
        return f"{name}{what} {text(number)}{after}{nearest}"
    # Show the number of the scheme itself, if the sample is sharp enough.
    sharp = found.error <= 0.05
    shown = text(known if sharp else number)
    same = "" if shown == scheme.name else f" {'=' if sharp else '~'} {scheme.name}"
    return f"{name}{what} {shown}{same}{after}{nearest}"


def _fault_of_table(parameter: Parameter, found: Distribution) -> str | None:
    """Find rows that are all equal, or zero beyond one for padding and some at the end for a rounded size."""
    tensor = parameter.tensor.detach()
    if tensor.dim() != 2 or min(tensor.shape) < 3:
        return None
    rows, _ = lines(tensor, found.largest, False)
    count, zeros = len(rows.norms), rows.zeros()
    if bool((rows.projections == rows.projections[0]).all()) and bool((tensor[:64] == tensor[0]).all()):
        return f"all {count} rows are equal"
    at_end = len(zeros) <= count / 4 and bool((zeros == count - len(zeros) + zeros.new_tensor(range(len(zeros)))).all())
    return f"{len(zeros)} of {count} rows are 0" if len(zeros) > 1 and not at_end else None


def _weight(parameter: Parameter, moments: Moments, found: Distribution) -> Verdict:
    weight = Weight.of(parameter, found, moments.zeros > 0)
    matrix, rows, columns = weight.matrix, weight.rows, weight.columns
    pattern = pattern_of(weight)
    if pattern is not None and pattern.gain is not None:
        is_drawn = pattern.words.startswith("orthogonal")
        fault = (_copied(weight) or _far(parameter, found)) if is_drawn else None
        return Verdict(pattern.words, fault, pattern.words.partition(",")[0], None, pattern.gain)
    zeros = moments.zeros / moments.size
    if zeros > _ZEROS and (is_sparse(rows, columns) or is_sparse(columns, rows)):
        values = matrix[matrix != 0]
        measured = measure(values)
        if measured is not None and measured.constant is None:
            said = _drawn(parameter, distribution(values, measured))
            return replace(said, words=f"sparse, {zeros:.0%} zeros, {said.words}")
    rest = without_identity(matrix, found.mean, found.std) if parameter.tensor.dim() == 2 else None
    if rest is not None and (measured := measure(rest[0])) is not None and measured.constant is None:
        said = _drawn(parameter, distribution(rest[0], measured))
        return replace(said, words=f"{rest[1]:.2g} x identity + {said.words}")
    said = _drawn(parameter, found)
    if pattern is not None:
        return replace(said, words=f"{pattern.words}, {said.words}", fault=_far(parameter, found))
    fault = next(filter(None, _faults(weight, zeros)), None)
    return replace(said, fault=fault)


def _faults(weight: Weight, zeros: float) -> Iterator[str | None]:
    """Yield what is wrong with a weight that is drawn, the plainest first."""
    parameter, found, matrix = weight.parameter, weight.found, weight.matrix
    rows, columns = weight.rows, weight.columns
    mask = zeros > 0.1 and is_mask(rows, columns, parameter.tensor.dim() > 2)
    if found.levels is not None and not is_dequantized(parameter.tensor):
        yield f"only {found.levels} different values among {min(found.size, SAMPLE)}"
    for kind, each in (("row", rows), ("column", columns)):
        huge = each.huge()
        if huge is not None:
            one = each.values[huge[0]].abs().double().median().item() < found.largest / 100
            yield f"outliers in {kind} {huge[0]}" if one else f"{kind} {huge[0]} is {_times(huge[1])} the others"
    if found.outlying is not None:
        yield f"outliers up to {text(found.outlying)} std"
    yield from _dead(parameter, rows, columns, mask)
    yield _copied(weight)
    constant = constant_rows(rows) if differ(rows, _bits(found)) else 0
    if constant:
        yield f"{constant} of {len(rows.norms)} rows are constant"
    if parameter.tensor.dim() == 2 and not mask and differ(columns, _bits(found)):
        equal, count = copies(columns), len(columns.norms)
        yield f"{equal} of {count} columns are copies of others" if equal >= _COPIES * count else None
    if zeros >= _ZEROS and not mask and min(matrix.shape) > 1:
        yield f"{zeros:.0%} of the values are 0"
    # NB: Fourier neural operators draw both parts of their own complex weights from 0 to a bound.
    is_far = abs(found.mean) > _MEAN * found.std and abs(found.mean) > 5.0 * found.std / math.sqrt(found.size)
    if is_far and (parameter.layer.standard or not parameter.tensor.is_complex()):
        yield f"mean {text(found.mean)} is far from 0"
    if min(matrix.shape) > 1 and not mask:
        independent, looked = rank(matrix, found.largest)
        if independent < _RANK * looked - 0.5 and looked >= (16 if found.name == "two-valued" else 3):
            yield f"rank {independent} of {looked}"
    if found.piled is not None and found.name != "two-valued":
        yield f"{found.piled:.2%} of the values lie on a bound"
    yield _far(parameter, found)


def _times(factor: float) -> str:
    return f"{factor:.0f} x" if factor >= 10.0 else f"{factor:.2g} x"


def _copied(weight: Weight) -> str | None:
    rows = weight.rows
    equal = copies(rows) if differ(rows, _bits(weight.found)) and not _repeats(weight.parameter) else 0
    return f"{equal} of {len(rows.norms)} rows are copies of others" if equal else None


def _bits(found: Distribution) -> float:
    """Estimate the bits in a value, from what its type resolves."""
    return 1.0 if found.name == "two-valued" else min(14.0, 2.0 - math.log2(found.resolution))


def _repeats(parameter: Parameter) -> bool:
    """True for experts that were copied from one, and for kernels of single channels, which may all be the same filter."""
    tensor = parameter.tensor
    if parameter.is_stack:
        return tensor.shape[0] > 1 and bool((tensor[0] == tensor[1]).all())
    groups = parameter.layer.attribute("groups")
    return isinstance(groups, int) and groups > 1 and tensor.shape[1] == 1 and bool((tensor[0] == tensor[-1]).all())


def _dead(parameter: Parameter, rows: Lines, columns: Lines, mask: bool) -> Iterator[str]:
    count, zeros = len(rows.norms), rows.zeros()
    first, size = (int(zeros[0]), len(zeros)) if len(zeros) else (0, 0)
    one_of_three = 3 * size == count and first % size == 0 and int(zeros[-1]) - first == size - 1
    if size > (1 if mask else 0) and not (one_of_three and _PACKED.search(parameter.name)):
        yield f"{size} of {count} rows are 0"
    dead = len(columns.zeros())
    if parameter.tensor.dim() == 2 and dead >= _ZEROS * len(columns.norms) and not mask:
        yield f"{dead} of {len(columns.norms)} columns are 0"


def _far(parameter: Parameter, found: Distribution) -> str | None:
    """Compare with the fans of the layer."""
    fans, std = parameter.weight_fans(), found.std
    he = max(map(he_std, fans))
    # The modules of a state dict may stand for any layer.
    is_plain = parameter.layer.standard or parameter.layer.kind == "Module"
    # A power of ten is meant: small ones for a branch that starts at nothing, large ones for a layer with a learning rate
    # of its own, which it divides out when it runs.
    number = found.half if found.name == "uniform" else found.before
    exponent = max(round(math.log10(number)), _LEAST_EXPONENT) if number > 0.0 else 0
    is_meant = math.isclose(number, 10.0**exponent, rel_tol=found.error)
    if std > he * (_LARGE if is_plain and not parameter.is_head else _VERY_LARGE) and (is_plain or not is_meant):
        return f"std {text(std)} is {_times(std / he)} He"
    if std * math.sqrt(max(fans)) < _SMALL and not parameter.is_head and not is_meant:
        return f"std {text(std)} is {_times(std / he_std(fans[0]))} He"
    return None


def with_dead_pairs(found: Sequence[Parameter], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Mark weights that are zero and follow each other: neither gets a gradient, since the other one is zero."""
    after = list(verdicts)
    weights = [i for i, parameter in enumerate(found) if parameter.is_weight]
    for i, j in pairwise(weights):
        chained = found[i].weight_fans()[1] == found[j].weight_fans()[0]
        if verdicts[i].words == verdicts[j].words == "constant 0" and chained and _are_one_branch(found[i], found[j]):
            for index, other in ((i, j), (j, i)):
                after[index] = replace(after[index], words=None, fault=f"constant 0, and so is {found[other].name}")
    return after


def _are_one_branch(first: Parameter, second: Parameter) -> bool:
    """True for the ways in and out of a branch, such as ``mlp.fc1`` and ``mlp.fc2``: siblings, through another width.

    Square ones may be parallel, and layers of different parents have a skip connection between them.
    """
    names = first.name.split("."), second.name.split(".")
    fans = {*first.weight_fans(), *second.weight_fans()}
    return len(names[0]) == len(names[1]) and sum(map(str.__ne__, *names)) == 1 and len(fans) > 1
