"""Compares two recordings: two versions of a library, or two configurations."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchinit._core.groups import grouped
from torchinit._core.rows import Rows
from torchinit._core.table import Cell, counted, dtype_name
from torchinit.recording._describe import Described, describe
from torchinit.recording._program import Program
from torchinit.recording._recording import Recording
from torchinit.recording._replay import values_of
from torchinit.recording._values import Values


@dataclass(frozen=True)
class Difference:
    """What differs for one tensor, or for those of repeated layers.

    Args:
        name: the tensor, or tensors, such as ``layers.{0..31}.mlp.up_proj.weight``
        tensors: their names
        what: ``"only in a"``, ``"only in b"``, ``"shape"``, ``"dtype"``, ``"kind"``, ``"filled by"``, ``"overwritten"`` or
            ``"values"``
        a: how it is in the first recording; ``"-"`` if nothing is there
        b: how it is in the second recording
    """

    name: str
    tensors: tuple[str, ...]
    what: str
    a: str
    b: str


class Differences(Rows[Difference]):
    """What differs between two recordings; true if anything does. Made by :func:`diff`; ``print`` shows it.

    Args:
        rows: the differences
    """

    columns = ("tensor", "what", "a", "b")
    words = ("a", "b")
    rows: tuple[Difference, ...]  # type: ignore[assignment]

    def __init__(self, rows: Iterable[Difference] = ()) -> None:
        self.rows = tuple(rows)

    def cells(self, row: Difference) -> list[Cell]:
        return [row.name, row.what, row.a, row.b]

    def is_marked(self, row: Difference) -> bool:
        """True if the tensor is another one; not for draws that are overwritten."""
        return row.what != "overwritten"

    @property
    def summary(self) -> str:
        """The number of tensors that differ, in words."""
        count = len({name for row in self.rows for name in row.tensors})
        return f"{counted(count, 'tensor')} differ{'s' * (count == 1)}" if count else "no difference"

    def each(self) -> list[Difference]:
        return [replace(row, name=name, tensors=(name,)) for row in self.rows for name in row.tensors]

    def describe(self, width: int | None = None) -> str:
        """Write the differences as a table in lines of at most ``width`` characters, at least 40.

        Args:
            width: characters in a line (default: those of the terminal)
        """
        return self.table(width)

    def to_json(self, bad: bool = False) -> str:
        """Write the differences as JSON: ``version`` (1) and ``differences``, a list with the keys of its rows.

        Args:
            bad: whether to leave out what is not marked: draws that are overwritten
        """
        rows = [vars(row) for row in self.rows if not bad or self.is_marked(row)]
        return json.dumps({"version": 1, "differences": rows}, indent=2)


def diff(a: Recording, b: Recording) -> Differences:
    """Compare two recordings by the names of their tensors.

    Compares which tensors there are, their shapes, dtypes and kinds, what fills them in the words of
    :meth:`Recording.describe`, where numbers have 4 significant digits, the draws that are overwritten, and the values
    of tables. ``zeros_`` is the same as ``zero``, and ``ones_`` as ``fill 1``.

    Args:
        a: the first recording
        b: the second recording

    Returns:
        the differences, in the order of the first recording's tensors; true if there is one

    Examples:
        >>> import torchinit
        >>> from torch import nn
        >>> from torchinit import recording
        >>> def build(std):
        ...     model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
        ...     for layer in model:
        ...         nn.init.normal_(layer.weight, std=std)
        ...     return model
        >>> found = recording.diff(torchinit.record(lambda: build(0.02)), torchinit.record(lambda: build(0.01)))
        >>> print(found)
        tensor             what       a                 b
        {0..2}.weight  x3  filled by  normal_(0, 0.02)  normal_(0, 0.01)
        <BLANKLINE>
        3 tensors differ
        >>> bool(found)
        True
    """
    found: list[tuple[str, tuple[str, str, str]]] = []
    one, other = ({x.entry.name: x for x in describe(Values(x.program))} for x in (a, b))
    for name, x in one.items():
        changes = _changes(x, other[name], a.program, b.program) if name in other else [("only in a", x.words(), "-")]
        found += [(name, change) for change in changes]
    found += [(name, ("only in b", "-", x.words())) for name, x in other.items() if name not in one]
    groups = grouped(found)
    rows = []
    for group in groups:
        names = tuple(found[index][0] for index in group.members)
        rows.append(Difference(group.name, names, *found[group.members[0]][1]))
    return Differences(rows)


def _changes(x: Described, y: Described, a: Program, b: Program) -> Iterator[tuple[str, str, str]]:
    """Yield what differs between two tensors, and how it is in each."""
    one, other = x.entry.ref, y.entry.ref
    if one.size != other.size:
        yield "shape", x.shape(dtype_name(one.dtype)), y.shape(dtype_name(other.dtype))
    if one.dtype != other.dtype:
        yield "dtype", dtype_name(one.dtype), dtype_name(other.dtype)
    if x.kind != y.kind:
        yield "kind", x.kind, y.kind
    same = _plain(x.filled_by()) == _plain(y.filled_by())
    if not same and not (one.size != other.size and x.is_table and y.is_table):
        yield "filled by", x.filled_by(), y.filled_by()
    if x.overwritten_words != y.overwritten_words:
        yield "overwritten", x.overwritten_words or "-", y.overwritten_words or "-"
    if same and x.is_table and (one.size, one.dtype) == (other.size, other.dtype):
        count, most = _distance(*(values_of(p, [z.entry])[z.entry.name] for p, z in ((a, x), (b, y))))
        if count:
            yield "values", x.filled_by(), f"{count} of {one.numel} values differ, by up to {most:.4g}"


def _plain(words: str) -> str:
    """Write the functions that fill a tensor with a number as operators, which do the same."""
    words = re.sub(r"\bzeros_|\bconstant_\(-?0\)", "zero", words)
    return re.sub(r"\bconstant_\(([^)]*)\)", r"fill \1", re.sub(r"\bones_", "fill 1", words))


def _distance(a: Tensor, b: Tensor) -> tuple[int, float]:
    """Count the values that differ, and return the largest difference; two NaN do not differ."""
    differ = (a != b) & ~((a != a) & (b != b))
    count = int(differ.sum())
    wide = torch.complex128 if a.is_complex() else torch.float64
    return count, float((a[differ].to(wide) - b[differ].to(wide)).abs().max()) if count else 0.0
