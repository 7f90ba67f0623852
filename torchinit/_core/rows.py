"""The base of all results that have rows: they print as a table, show themselves in a notebook, and become JSON."""

import html
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar, TypeVar, overload

from torchinit._core.groups import Group, grouped
from torchinit._core.table import (
    Cell,
    Layout,
    fitted,
    html_table,
    line_width,
    paragraphs,
    printable,
    table,
    text,
    to_json,
)

T = TypeVar("T")

# A page of a notebook shows so many rows at once, and of more the marked ones.
_SHORT = 30

# Numbers in words that may differ among repeated layers; others, such as those of "Conv2d" and "constant 0", may not.
_NUMBER = re.compile(
    r"(?:(?<=std )|(?<=bound )|(?<=gain )|(?<=mean )|(?<=sqrt\())-?\d[\d.]*(?:e[+-]?\d+)?"
    r"|(?<![\w.])-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)(?![\w.])"
)


def _names(columns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else columns


def _range(texts: Sequence[str]) -> str:
    low, high = min(texts, key=float), max(texts, key=float)
    return low if float(low) == float(high) else f"{low}..{high}"


def _merged(cells: Sequence[Cell]) -> str:
    """Write the cells of repeated layers as one: numbers that differ as a range."""
    texts = [text(cell) for cell in cells]
    if len(set(texts)) == 1:
        return texts[0]
    if isinstance(cells[0], float):
        return _range(texts)
    numbers = iter([_range(column) for column in zip(*(_NUMBER.findall(each) for each in texts))])
    return _NUMBER.sub(lambda _: next(numbers), texts[0])


def _under_heads(groups: Sequence[Group], cells: Sequence[list[str]]) -> tuple[list[list[str]], list[int]]:
    """Write the common beginning of the names of repeated layers once, in a line above theirs.

    Returns:
        the lines, and for each the number of its group; -1 for a beginning
    """
    heads: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        heads.setdefault(group.layers or group.name, []).append(index)
    lines, numbers = [], []
    for head, members in heads.items():
        if len(members) > 1:
            first = cells[members[0]]
            lines.append([f"{head}  {first[1]}".rstrip(), *[""] * (len(first) - 1)])
            numbers.append(-1)
        for index in members:
            name, _, *line = cells[index]
            lines.append(cells[index] if len(members) == 1 else [f"  {name[len(head) :]}", "", *line])
            numbers.append(index)
    return lines, numbers


class Rows(Sequence[T]):
    """Rows of one kind, mostly one for each tensor of a model.

    A subclass says what a row shows: ``columns``, and what it overrides of the rest. The first column is the name.

    Args:
        rows: the rows, dataclasses with an attribute for each column
    """

    columns: ClassVar[tuple[str, ...]] = ()
    # Heads of columns in place of their names.
    heads: ClassVar[dict[str, str]] = {}
    # Columns for programs, which a table does not show.
    hidden: ClassVar[tuple[str, ...]] = ()
    # Columns of words, broken into lines where there is no room.
    words: ClassVar[tuple[str, ...]] = ()
    # Columns of words in which the numbers of repeated layers may differ.
    varying: ClassVar[tuple[str, ...]] = ()
    # Columns that are left out where there is no room, the least important one first; those of a tuple go together.
    least: ClassVar[tuple[str | tuple[str, ...], ...]] = ()
    # A column that is shown in notes below a table that is fitted.
    noted: ClassVar[str] = ""

    def __init__(self, rows: Iterable[T] = ()) -> None:
        self.rows = list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self.rows[index]

    def __eq__(self, other: object) -> bool:
        return self.rows == (other.rows if isinstance(other, Rows) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rows!r})"

    def __str__(self) -> str:
        return self.table()

    def cells(self, row: T) -> Sequence[Cell]:
        """Return what a row holds in each column."""
        return [getattr(row, column) for column in self.columns]

    def name(self, row: T) -> str:
        """Return the name of a row, by which repeated layers are found."""
        return text(self.cells(row)[0])

    def is_marked(self, row: T) -> bool:
        """True if something is wrong with a row."""
        return False

    @property
    def summary(self) -> str:
        """What all rows say together, in one line; empty if there is nothing to say."""
        return ""

    def each(self) -> list[T]:
        """Return a row for each tensor; a row of another kind may stand for several."""
        return self.rows

    def key(self, row: T) -> Hashable:
        """Return what must be equal in the rows of repeated layers that are one line; a number may differ."""

        def fixed(column: str, cell: Cell) -> Hashable:
            if isinstance(cell, float):
                return float if math.isfinite(cell) else str(cell)
            if isinstance(cell, str):
                return _NUMBER.sub("#", cell) if column in self.varying else cell
            return cell if cell is None or isinstance(cell, int) else tuple(cell)

        cells = list(zip(self.columns, self.cells(row), strict=True))[1:]
        return self.is_marked(row), *(fixed(*each) for each in cells if each[0] not in self.hidden)

    def together(self, rows: Sequence[T]) -> list[str]:
        """Return what the rows of repeated layers hold in each column; numbers that differ are a range."""
        return [_merged(column) for column in zip(*map(self.cells, rows))]

    def table(
        self,
        width: int | None = None,
        *,
        wide: bool = False,
        all: bool = False,
        bad: bool = False,
        color: bool = False,
    ) -> str:
        """Align the rows under their columns, and end with the summary.

        The rows of repeated layers are one line, ``h.{0..11}.attn.c_proj.weight  x12``, where numbers that differ are a
        range, ``0.0199..0.0201``. A marked row never shares a line with one that is not. Where there is no room, the
        less important columns are left out, and long names are cut in the middle.

        Args:
            width: characters in a line, at least 40 (default: those of the terminal)
            wide: whether to show all columns and whole names, with a line for each row, whatever the width
            all: whether to show a line for each row
            bad: whether to show the marked rows only
            color: whether to color the marked rows, for a terminal
        """
        rows = [row for row in self.each() if not bad or self.is_marked(row)]
        width = line_width(width)
        lines: list[str] = []
        if rows:
            lines = self._whole(rows, color) if wide else self._fitted(rows, width, all, color)
        if self.summary:
            lines += paragraphs([self.summary], None if wide else width)
        return "\n".join(lines).rstrip("\n")

    def _shown(self) -> list[int]:
        """Number the columns of a table."""
        return [i for i, column in enumerate(self.columns) if column not in self.hidden]

    def _head(self, index: int) -> str:
        return self.heads.get(self.columns[index], self.columns[index])

    def _whole(self, rows: Sequence[T], color: bool) -> list[str]:
        shown = self._shown()[1:]
        cells = [[self.name(row), *([*self.cells(row)][i] for i in shown)] for row in rows]
        marked = [i for i, row in enumerate(rows) if self.is_marked(row)]
        return [table([self._head(0), *map(self._head, shown)], cells, marked, color), ""]

    def groups(self, rows: Sequence[T], all: bool = False) -> list[tuple[Group, list[T]]]:
        """Group the rows of repeated layers; with ``all`` each row is a group."""
        names = [self.name(row) for row in rows]
        if all:
            return [(Group((name,), (index,)), [rows[index]]) for index, name in enumerate(names)]
        # Rows may have equal names, as findings do.
        seen = Counter[Hashable]()
        keys = [(name, self.key(row)) for name, row in zip(names, rows)]
        groups = grouped([(each[0], (each[1], seen.update([each]) or seen[each])) for each in keys])
        return [(group, [rows[i] for i in group.members]) for group in groups]

    def _lines(self, groups: Sequence[tuple[Group, list[T]]], shown: Sequence[int]) -> list[list[str]]:
        """Write each group: its name, how many rows it has, and its cells."""
        lines = []
        for group, rows in groups:
            together = self.together(rows)
            count = f"x{len(rows)}" if len(rows) > 1 else ""
            lines.append([group.name, count, *(together[i] for i in shown)])
        return lines

    def _layout(self, rows: Sequence[T], shown: Sequence[int]) -> Layout:
        columns = [self.columns[i] for i in shown]
        numbers = {i for row in rows for i, cell in enumerate(self.cells(row)) if type(cell) in (int, float)}
        return Layout(
            [self._head(0), "", *map(self._head, shown)],
            [place for place, column in enumerate(columns, 2) if column in self.words],
            [place for place, i in enumerate(shown, 2) if i in numbers],
            [[columns.index(x) + 2 for x in _names(each) if x in columns] for each in self.least],
        )

    def _fitted(self, rows: Sequence[T], width: int, all: bool, color: bool) -> list[str]:
        groups = self.groups(rows, all)
        shown = [i for i in self._shown()[1:] if self.columns[i] != self.noted]
        layout, lines = self._layout(rows, shown), self._lines(groups, shown)
        notes = self._footnotes(groups, lines, width)
        numbers = list(range(len(lines)))
        if layout.is_tight(lines, width):
            lines, numbers = _under_heads([group for group, _ in groups], lines)
        marked = [i for i, number in enumerate(numbers) if number >= 0 and self.is_marked(groups[number][1][0])]
        return [fitted(layout, lines, width, marked, color), "", *notes]

    def _footnotes(self, groups: Sequence[tuple[Group, list[T]]], lines: Sequence[list[str]], width: int) -> list[str]:
        """Number the notes in the last cells of the lines, and return them as paragraphs."""
        if not self.noted:
            return []
        column = self.columns.index(self.noted)
        notes: dict[str, int] = {}
        for (_, rows), line in zip(groups, lines):
            note = text(self.cells(rows[0])[column])
            if note not in ("", "-"):
                line[-1] += f" [{notes.setdefault(note, len(notes) + 1)}]"
        written = [f"[{number}] {self.noted}: {note}" for note, number in notes.items()]
        return paragraphs(written, width)

    def to_json(self, bad: bool = False) -> str:
        """Return a JSON list with an object for each row, or for each marked one."""
        return to_json(self.columns, [self.cells(row) for row in self.rows if not bad or self.is_marked(row)])

    def _repr_html_(self) -> str:
        """Show the summary, then what is marked, then all rows, those of repeated layers as one."""
        summary = f"<p><b>{html.escape(printable(self.summary))}</b></p>" if self.summary else ""
        groups = self.groups(self.each())
        marked = [each for each in groups if self.is_marked(each[1][0])]
        if not marked or len(groups) <= _SHORT:
            return f"<div>{summary}{self._html(groups)}</div>"
        rest = f"<details><summary>all {len(self)} rows</summary>{self._html(groups)}</details>"
        return f"<div>{summary}{self._html(marked)}{rest}</div>"

    def _html(self, groups: Sequence[tuple[Group, list[T]]]) -> str:
        if not groups:
            return ""
        shown = self._shown()[1:]
        lines = self._lines(groups, shown)
        heads = [self._head(0), "", *map(self._head, shown)]
        kept = [i for i in range(len(heads)) if i == 0 or any(line[i] not in ("", "-") for line in lines)]
        marked = [i for i, (_, rows) in enumerate(groups) if self.is_marked(rows[0])]
        return html_table([heads[i] for i in kept], [[line[i] for i in kept] for line in lines], marked)

    def plot(self) -> Any:
        """Draw the rows; a ``matplotlib.figure.Figure``."""
        raise NotImplementedError(f"plot must be defined, got {type(self).__name__} without it")
