"""Compare two models, or what fills them: bits, then shapes and types, then distributions."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from torchinit._core.rows import Rows
from torchinit._core.table import counted, dtype_name, records, text
from torchinit.diagnostics import _pairs
from torchinit.diagnostics._fills import Filled
from torchinit.diagnostics._pairs import Found, compared
from torchinit.diagnostics._samples import whole
from torchinit.diagnostics._sides import Comparable, Side, Thing, sides
from torchinit.diagnostics._told import words
from torchinit.recording import Recording, diff

# Two models of one distribution are told apart by mistake once in so many comparisons, whatever their number of tensors.
_CHANCE = 1e-3

_EQUAL = (_pairs.EQUAL_BITS, _pairs.EQUAL_NUMBERS, _pairs.FITS, _pairs.NOT_COMPARED)
# Words of recording.diff, by how much they say; the last are those of what both have.
_OF_RECORDINGS = {
    "only in a": _pairs.ONLY_A, "only in b": _pairs.ONLY_B, "shape": _pairs.OTHER_SHAPE,
    "filled by": _pairs.OTHER_LAW, "values": _pairs.OTHER_NUMBERS, "dtype": _pairs.OTHER_DTYPE, "kind": _pairs.OTHER_KIND,
    "overwritten": _pairs.OTHER_OVERWRITTEN,
}  # fmt: skip


def _with(what: str) -> str:
    """Say what was found, after a number of tensors: ``with a different shape``."""
    if what in (_pairs.ONLY_A, _pairs.ONLY_B, _pairs.NOT_COMPARED):
        return what
    article = "a " if what in (_pairs.OTHER_SHAPE, _pairs.OTHER_LAW, _pairs.OTHER_DTYPE, _pairs.OTHER_KIND) else ""
    return f"with {'the ' if what.startswith('same') else article}{what}"


@dataclass(frozen=True)
class TensorDifference:
    """How one tensor differs.

    Attributes:
        name: its qualified name, of tied tensors the first
        what: ``"only in A"``, ``"only in B"``, ``"different shape"``, ``"different dtype"``, ``"different distribution"``,
            ``"different values"`` (of integers and tables) or ``"same distribution, other values"``; of recordings also
            ``"different kind"`` and ``"different overwritten draws"``
        a: how it is in A; None if it is not there
        b: how it is in B; None likewise
        ratio: standard deviation in B over that in A; None if it was not measured or one of them is 0
        error: standard error of ``ratio``, as a share of it, if the distributions are equal
        distance: largest difference of the two distribution functions, from 0 to 1; None if it was not measured
        p: probability that any tensor of two models of equal distributions differs as much, from 0 to 1; None likewise
        apart: root mean square of the differences of the values, in standard deviations of A: 1.4 for independent draws,
            and less than 1e-6 for float32 that was rounded in another order; None if they were not compared in pairs

    Examples:
        >>> (row,) = torchinit.diagnostics.compare({"gain": torch.ones(3)}, {"gain": torch.zeros(3)})
        >>> row.what, row.a, row.b
        ('different distribution', 'constant 1', 'constant 0')
    """

    name: str
    what: str
    a: str | None
    b: str | None
    ratio: float | None = None
    error: float | None = None
    distance: float | None = None
    p: float | None = None
    apart: float | None = None


class Comparison(Rows[TensorDifference]):
    """What differs between A and B; true if anything does. Made by :func:`compare`; ``print`` shows it.

    Args:
        rows: one for each tensor that differs
        counts: the number of tensors by what was found, in words such as ``"equal bits"``; those of the rows as well
        shown: the tensors of both sides by name, for :meth:`plot`

    Examples:
        >>> found = torchinit.diagnostics.compare({"a": torch.ones(3)}, {"a": torch.ones(3), "b": torch.ones(3)})
        >>> bool(found), found.counts
        (True, {'only in B': 1, 'equal bits': 1})
    """

    columns = ("name", "what", "a", "b", "ratio", "error", "distance", "p", "apart")
    hidden = ("error", "apart")
    words = ("what", "a", "b")
    varying = ("a", "b")
    least = ("p", "ratio", "distance")

    def __init__(
        self,
        rows: Iterable[TensorDifference] = (),
        counts: Mapping[str, int] | None = None,
        shown: tuple[Mapping[str, Thing], Mapping[str, Thing]] = ({}, {}),
    ) -> None:
        super().__init__(rows)
        counts = Counter(row.what for row in self.rows) if counts is None else counts
        self.counts = {what: counts[what] for what in sorted(counts, key=_pairs.ORDER.index)}
        self._shown_things = shown

    def __bool__(self) -> bool:
        return bool(self.rows)

    def is_marked(self, row: TensorDifference) -> bool:
        """True if the tensor is another one; not for other values of one distribution, nor for overwritten draws."""
        return row.what not in (_pairs.OTHER_VALUES, _pairs.OTHER_OVERWRITTEN)

    @property
    def summary(self) -> str:
        """The number of tensors by what was found."""
        total = sum(self.counts.values())
        told = "; ".join(f"{count:,} {_with(what)}" for what, count in self.counts.items())
        return f"{counted(total, 'tensor')}: {told}" if told else "no tensors"

    def to_json(self, bad: bool = False) -> str:
        """Return a JSON object: ``version`` (1), ``counts``, and ``differences`` with an object for each row.

        Args:
            bad: whether to leave out what is not marked: the same distribution with other values, and overwritten draws
        """
        rows = [self.cells(row) for row in self.rows if not bad or self.is_marked(row)]
        differences = records(self.columns, rows)
        return json.dumps({"version": 1, "counts": self.counts, "differences": differences}, indent=2)

    @property
    def drawn(self) -> list[str]:
        """The names of the tensors that :meth:`plot` draws: those that differ and have values, the marked ones if any are."""
        rows = [row for row in self.rows if self.is_marked(row)] or self.rows
        return [row.name for row in rows if any(_has_values(things.get(row.name)) for things in self._shown_things)]

    def plot(
        self,
        title: str = "",
        progress: Callable[[str, str, int], object] | None = None,
        *,
        labels: tuple[str, str] = ("A", "B"),
        columns: int | None = None,
    ) -> Any:
        """Draw a histogram of each tensor that differs, with that of B over that of A; at most 60.

        Tensors of the same distribution and other values are drawn if no others differ. What a recording or a plan fills
        is drawn anew.

        Args:
            title: heading of the page
            progress: called before each panel with ``"drawing"``, the tensor's name and the number of panels
            labels: names of A and B in the legend
            columns: panels side by side (default: as many as make a page that is wider than high)

        Returns:
            A ``matplotlib.figure.Figure``.

        Raises:
            RuntimeError: if matplotlib is not installed, or no tensor that differs has values
        """
        from torchinit.diagnostics._histograms import draw_histograms
        from torchinit.diagnostics._plots import require_matplotlib
        from torchinit.diagnostics._statistics import statistics

        require_matplotlib()
        names = self.drawn
        if not names:
            raise RuntimeError(f"plot() needs tensors that differ and have values, got {self.summary}")
        one, other = (
            {name: _values(things[name]) for name in names if _has_values(things.get(name))}
            for things in self._shown_things
        )
        return draw_histograms(statistics(other | one), one, other, title, labels, progress, columns)


def _has_values(thing: Thing | None) -> bool:
    """True if there are values to draw, or a law to draw them from."""
    if isinstance(thing, Filled):
        return (
            thing.draw is not None
            and thing.dtype is not None
            and (thing.dtype.is_floating_point or thing.dtype.is_complex)
        )
    return isinstance(thing, Tensor) and not thing.is_meta and (thing.is_floating_point() or thing.is_complex())


def _values(thing: Thing) -> Tensor:
    return thing.draw() if isinstance(thing, Filled) and thing.draw is not None else whole(thing)  # type: ignore[arg-type]


def _described(thing: Thing, other: Thing) -> str:
    """Say how a tensor is, with its shape and its type where they differ."""
    told = []
    if tuple(thing.shape) != tuple(other.shape):
        told.append(text(tuple(thing.shape)))
    if thing.dtype != other.dtype and thing.dtype is not None and other.dtype is not None:
        told.append(dtype_name(thing.dtype))
    return ", ".join(filter(None, [*told, words(thing)]))


def _alone(thing: Thing | None) -> str | None:
    """Describe a tensor that the other side lacks."""
    if thing is None:
        return None
    dtype = "" if thing.dtype is None else f" {dtype_name(thing.dtype)}"
    return f"{text(tuple(thing.shape))}{dtype}, {words(thing)}"


def _difference(name: str, a: Thing | None, b: Thing | None, found: Found, p: float | None) -> TensorDifference:
    if a is None or b is None:
        return TensorDifference(name, found.what, _alone(a), _alone(b))
    said, other = found.evidence, ", ".join(filter(None, [_described(b, a), found.b]))
    numbers = (None, None, None) if said is None else (said.ratio, said.error, said.distance)
    return TensorDifference(name, found.what, _described(a, b), other, *numbers, p, found.apart)


def _pairs_of(a: Side, b: Side) -> Iterator[tuple[str, Thing | None, Thing | None]]:
    """Yield each tensor once, in the order of A, then those of B alone."""
    for name, thing in a.things.items():
        if name in b.things:
            if name not in a.tied or a.tied[name] != b.tied.get(name):
                yield name, thing, b.things[name]
        elif name not in a.optional and not a.names_of(name) & b.things.keys():
            yield name, thing, None
    for name, thing in b.things.items():
        if name not in a.things and name not in b.optional and not b.names_of(name) & a.things.keys():
            yield name, None, thing


def _recordings(a: Recording, b: Recording) -> Comparison:
    """Compare two recordings in the words of :func:`torchinit.recording.diff`."""
    told: dict[str, list[Any]] = {}
    for difference in diff(a, b).rows:
        for name in difference.tensors:
            told.setdefault(name, []).append(difference)
    order = list(_OF_RECORDINGS)
    rows = []
    for name, all_of_it in told.items():
        first = min(all_of_it, key=lambda each: order.index(each.what))
        one, other = (", ".join(dict.fromkeys(getattr(each, side) for each in all_of_it)) for side in "ab")
        what = _OF_RECORDINGS[first.what]
        both = None if what == _pairs.ONLY_B else one, None if what == _pairs.ONLY_A else other
        rows.append(TensorDifference(name, what, *both))
    names = {entry.name for each in (a, b) for entry in each.program.entries}
    counts = Counter(row.what for row in rows)
    same = len(names) - len(rows)
    return Comparison(rows, {**({_pairs.FITS: same} if same else {}), **counts})


def compare(
    a: Comparable,
    b: Comparable,
    *,
    any_seed: bool = False,
    progress: Callable[[str, str, int], object] | None = None,
) -> Comparison:
    """Compare two models, or what fills them, tensor by tensor.

    Each of both is a module, a state dict, a recording, a recipe's plan, a recipe, which is planned for the other one,
    or :class:`Statistics`. Tensors are paired by their names without wrappers such as ``DistributedDataParallel``.

    - The values of two models have equal bits, or they are tested for one distribution: by mean and standard deviation,
      by those of the mean squares of rows and columns, which tell orthogonal and dead rows from independent ones, and by
      the distance of Kolmogorov and Smirnov. The error of each test follows from the number of values; of large tensors
      131072 values are looked at for the moments, and 8192 for the distance, spread evenly over it.
    - Values are tested in the same way against what a recording or a plan fills a tensor with. A law of several steps is
      drawn once. Tensors that a plan keeps are not compared.
    - Two laws are compared by their numbers; two recordings as :func:`torchinit.recording.diff` says.
    - Statistics tell whether means, standard deviations and distributions agree.

    A distribution is called different if one comparison in a thousand of two models of the same distributions would show
    such a difference, whatever the number of tensors.

    Args:
        a: a model, its state dict, a recording, a plan, a recipe or statistics
        b: what it is compared with
        any_seed: whether other values of the same distribution, such as those of another seed, are no difference
        progress: called before each tensor with ``"comparing"``, its name and the number of tensors

    Returns:
        the tensors that differ; true if there are any

    Raises:
        TypeError: if one is nothing that can be compared
        ValueError: if a state dict has a name that is not dotted or a value that is not a tensor
        RecipeError: if a rule of a recipe does not fit the model

    Examples:
        >>> from torch import nn
        >>> from torchinit.diagnostics import compare
        >>> def build(seed, std):
        ...     model = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64))
        ...     torchinit.normal_(model[0].weight, std=std, generator=torch.Generator().manual_seed(seed))
        ...     torchinit.zeros_(model[0].bias)
        ...     return model
        >>> _ = torch.manual_seed(0)
        >>> found = compare(build(0, 0.02), build(1, 0.02))
        >>> [(row.name, row.what) for row in found]
        [('0.weight', 'same distribution, other values')]
        >>> bool(compare(build(0, 0.02), build(1, 0.02), any_seed=True))
        False
        >>> found = compare(build(0, 0.02), build(0, 0.03))
        >>> [(row.name, row.what, round(row.ratio, 3)) for row in found]
        [('0.weight', 'different distribution', 1.5)]
        >>> print(found.summary)
        4 tensors: 1 with a different distribution; 3 with equal bits
    """
    if isinstance(a, Recording) and isinstance(b, Recording):
        return _recordings(a, b)
    one, other = sides(a, b)
    paired = list(_pairs_of(one, other))
    found: list[Found] = []
    for name, x, y in paired:
        if progress is not None:
            progress("comparing", name, len(paired))
        found.append(Found(_pairs.ONLY_B) if x is None else Found(_pairs.ONLY_A) if y is None else compared(x, y))
    return _judged(paired, found, any_seed, (one.things, other.things))


def _judged(
    paired: list[tuple[str, Thing | None, Thing | None]],
    found: list[Found],
    any_seed: bool,
    shown: tuple[Mapping[str, Thing], Mapping[str, Thing]],
) -> Comparison:
    """Judge the tests together: with more tensors, a p-value by itself says less (Bonferroni)."""
    tests = sum(each.evidence is not None for each in found)
    rows, counts = [], Counter[str]()
    for (name, x, y), each in zip(paired, found):
        p = None if each.evidence is None else min(1.0, each.evidence.p * tests)
        what = _pairs.OTHER_LAW if p is not None and p < _CHANCE else each.what
        counts[what] += 1
        if what in _EQUAL or (any_seed and what == _pairs.OTHER_VALUES):
            continue
        rows.append(_difference(name, x, y, replace(each, what=what), p))
    return Comparison(rows, counts, shown)
