"""Aligned tables, as text and as JSON. Nothing here imports torch: the command line needs it for a message."""

import html
import json
import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

Cell = str | int | float | Sequence[int] | None

_MARK = ("\033[33m", "\033[0m")

# Words need so much of a line, or 3/8 of it, before less important columns get any, and before names are whole.
_ENOUGH = 40
_A_WORD = 8


def printable(words: str) -> str:
    """Escape control characters, which names from a file may hold."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)


def first_line(words: str) -> str:
    """Return the first line that is not blank, without colors and with control characters escaped.

    A line that ends in a colon introduces the next one, which is returned as well.
    """
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", words).splitlines() if line.strip()]
    return printable(" ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]))


def text(cell: Cell) -> str:
    """Format a cell: floats to three digits, shapes as 3x4, None as a dash."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.3g}"
    if isinstance(cell, (str, int)):
        return printable(str(cell))
    return "x".join(map(str, cell)) or "scalar"


def colored() -> bool:
    """True if stdout is a terminal that shows colors."""
    # https://no-color.org
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str) -> str:
    """Color each line of a text."""
    return "\n".join(f"{_MARK[0]}{line}{_MARK[1]}" for line in text.split("\n"))


def line_width(width: int | None = None) -> int:
    """Return the characters of a line: those asked for, or the terminal's; at least 40."""
    return max(width or shutil.get_terminal_size().columns, 40)


def paragraphs(texts: Iterable[str], width: int | None) -> list[str]:
    """Break each text into lines, those after the first indented; None leaves it one line."""
    return [
        printable(each) if width is None else textwrap.fill(printable(each), width, subsequent_indent="    ")
        for each in texts
    ]


def shortened(words: str, most: int, head: int | None = None, mark: str = "…") -> str:
    """Cut a long name in the middle, at dots if some are near; its end says more.

    Args:
        words: the name; control characters are escaped
        most: characters that are kept, those of ``mark`` included
        head: how many of them are of the beginning (default: a third)
        mark: stands for what is left out
    """
    words = printable(words)
    if len(words) <= most:
        return words
    head = (most - len(mark)) // 3 if head is None else head
    start, end = words[:head], words[head + len(words) - most + len(mark) :]
    before, after = start.rfind(".") + 1, end.find(".") + 1
    return f"{start[:before] if 3 * before > 2 * head else start}{mark}{end[after:] if 3 * after < len(end) else end}"


def few(names: Sequence[str], most: int) -> str:
    """List the first names, and how many more there are: ``a, b and 3 more``."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _held(text: str, width: float = math.inf) -> str:
    """Keep a text in one line if it fits."""
    # NB: textwrap does not break at a no-break space.
    return text.replace(" ", "\xa0") if len(text) <= width else text


def _units(words: str, width: float = math.inf) -> str:
    """Keep a call with its arguments, and an operator with what follows, in one line if they fit."""
    return re.sub(r"[^ ]*\([^()]*\)|(\*\*|[*/+-]) [^ ]+", lambda part: _held(part[0], width), words)


def _wrapped(words: str, width: int) -> list[str]:
    """Break a text into lines, after commas and colons outside brackets if the lines are long enough."""
    steps = [_held(step, width) for step in re.split(r"(?<=[,:]) (?![^(\[]*[)\]])", words)]
    marked = " ".join(_units(step, width) for step in steps)
    return [line.replace("\xa0", " ") for line in textwrap.wrap(marked, width, break_on_hyphens=False)] or [""]


def dtype_name(dtype: object) -> str:
    """Write a dtype without its module: ``float32``."""
    return str(dtype).removeprefix("torch.")


def in_bytes(count: float) -> str:
    """Write a number of bytes in a unit that suits it, to 4 digits: ``1.5 kB``."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count:.0f} bytes"


def rounded(count: int) -> str:
    """Write a count, a large one to 4 digits: ``124.4 M``."""
    for unit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if count >= unit:
            return f"{count / unit:.4g} {letter}"
    return f"{count:,}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun: ``124.4 M values``."""
    return f"{rounded(count)} {noun if count == 1 else plural or f'{noun}s'}"


@dataclass(frozen=True)
class Layout:
    """What a table that is fitted may do with its columns, given by their numbers.

    Args:
        heads: heads of the columns. The first column has names, of which a long one takes a line of its own, and is cut
            in the middle where it is longer than that. A column without a head is left out where it is empty
        wrapped: columns of words, which are broken into lines
        numbers: columns that are aligned to the right
        least: columns to leave out where there is no room, the least important ones first; those of a pair together
    """

    heads: Sequence[str]
    wrapped: Sequence[int] = ()
    numbers: Collection[int] = ()
    least: Sequence[Collection[int]] = ()

    def _lacks(self, cells: Sequence[Sequence[str]], kept: Collection[int], width: int, words: int = _ENOUGH) -> int:
        """Return how many characters a line lacks, with so many for each column of words."""
        widths = [max(map(len, column)) for column in zip(self.heads, *cells)]
        least = [min(widths[i], words, width * 3 // 8) if i in self.wrapped else widths[i] for i in kept]
        return sum(least) + 2 * (len(least) - 1) - width

    def _said(self, cells: Sequence[Sequence[str]]) -> list[int]:
        """Number the columns that say something."""
        said = [any(row[i] not in ("", "-") for row in cells) for i in range(len(self.heads))]
        return [i for i, head in enumerate(self.heads) if said[i] or (head and i not in chain(*self.least))]

    def kept(self, cells: Sequence[Sequence[str]], width: int) -> list[int]:
        """Choose the columns that say something, and that there is room for."""
        kept = self._said(cells)
        # A longer name takes a line of its own.
        shown = [[row[0][: width * 3 // 8], *row[1:]] for row in cells]
        for columns in self.least:
            if self._lacks(shown, kept, width) > 0:
                kept = [i for i in kept if i not in columns]
        # In a narrow terminal, others make room for a word.
        for index in reversed([i for i in kept[1:] if self.heads[i] and i not in self.wrapped]):
            if self._lacks([["", *row[1:]] for row in cells], kept, width, _A_WORD) > 0:
                kept = [i for i in kept if i != index]
        return kept

    def is_tight(self, cells: Sequence[Sequence[str]], width: int) -> bool:
        """True if whole names leave too little to the words, or take much of a line while columns are left out."""
        kept, names = self.kept(cells, width), max(len(row[0]) + len(row[1]) for row in cells) + 4
        return self._lacks(cells, kept, width) > 0 or (len(kept) < len(self._said(cells)) and 8 * names > 3 * width)


def _needed(column: Sequence[str], units: bool) -> int:
    """Return the least width that cuts no word of a column, or with ``units`` no call with its arguments."""
    return max(len(part) for cell in column for part in (_units(cell) if units else cell).split(" "))


def _widths(cells: Sequence[Sequence[str]], wrapped: Sequence[int], width: int) -> list[int]:
    """Share a line among columns: first those of ``wrapped`` take several lines, then long names one of their own."""
    columns = list(zip(*cells))
    widths = [max(map(len, column)) for column in columns]
    room = width - 2 * (len(widths) - 1) - sum(n for i, n in enumerate(widths) if i and i not in wrapped)
    most = room - min(sum(widths[i] for i in wrapped), room * len(wrapped) // (len(wrapped) + 1))
    calls, words = ([_needed(columns[i], units) for i in wrapped] for units in (True, False))
    if len(cells[0][0]) <= room - sum(words) < most:
        most = room - sum(words)
    # A name without cells needs no column.
    widths[0] = max((len(name) for name, *rest in cells if len(name) <= most and any(rest)), default=most)
    room -= widths[0]
    needed = dict(zip(wrapped, next((each for each in (calls, words) if sum(each) <= room), [1] * len(wrapped))))
    for index, left in zip(sorted(wrapped, key=widths.__getitem__), range(len(wrapped), 0, -1)):
        own = needed.pop(index)
        widths[index] = max(min(widths[index], max(room // left, own), room - sum(needed.values())), 1)
        room -= widths[index]
    return widths


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], marked: Collection[int] = (), color: bool = False
) -> str:
    """Align rows under their columns, numbers to the right; ``color`` shows the rows of ``marked`` in color."""
    numbers = {i for row in rows for i, cell in enumerate(row) if type(cell) in (int, float)}
    return fitted(Layout(columns, numbers=numbers), [[text(cell) for cell in row] for row in rows], None, marked, color)


def fitted(
    layout: Layout, rows: Sequence[Sequence[str]], width: int | None, marked: Collection[int] = (), color: bool = False
) -> str:
    """Align rows under their columns in lines of at most ``width`` characters, at least 40; None for as many as it takes."""
    printed = [[printable(cell) for cell in row] for row in rows]
    kept = list(range(len(layout.heads))) if width is None else layout.kept(printed, width)
    lines = [[line[i] for i in kept] for line in [layout.heads, *printed]]
    wrapped = [kept.index(i) for i in layout.wrapped if i in kept]
    right = [kept.index(i) for i in layout.numbers if i in kept]
    widths = [max(map(len, column)) for column in zip(*lines)] if width is None else _widths(lines, wrapped, width)
    found: list[str] = []
    for number, (name, *line) in enumerate(lines, start=-1):
        block = [shortened(name, width, (width - 1) // 3, "...")] if width and len(name) > widths[0] else []
        cells = [_wrapped(c, widths[i]) if i in wrapped else [c] for i, c in enumerate(line, 1)]
        for each in zip_longest([name][len(block) :], *cells, fillvalue="") if any([*line, not block]) else ():
            padded = [f"{c:>{w}}" if i in right else f"{c:<{w}}" for i, (c, w) in enumerate(zip(each, widths))]
            block.append("  ".join(padded).rstrip())
        found.append(painted("\n".join(block)) if color and number in marked else "\n".join(block))
    return "\n".join(found)


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], marked: Collection[int] = ()) -> str:
    """Format rows as an HTML table without a style sheet or a script, in the colors of the page around it.

    A row of ``marked`` has an orange bar and a sign, which are visible on light and on dark pages.
    """

    def line(tag: str, cells: Sequence[str], sign: str = "") -> str:
        bar = ' style="box-shadow: inset 4px 0 #e69f00; font-weight: bold"' if sign else ""
        shown = [html.escape(printable(cell)) for cell in cells]
        each = "".join(f'<{tag} style="text-align: left">{cell}</{tag}>' for cell in [sign + shown[0], *shown[1:]])
        return f"<tr{bar}>{each}</tr>"

    body = "".join(line("td", row, "&#9888; " if index in marked else "") for index, row in enumerate(rows))
    return (
        f'<div style="overflow-x: auto"><table><thead>{line("th", columns)}</thead><tbody>{body}</tbody></table></div>'
    )


def _json_value(cell: Cell) -> Any:
    return cell if not isinstance(cell, float) or math.isfinite(cell) else str(cell)


def records(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[dict[str, Any]]:
    """Return a dict for each row, for JSON, which has no NaN and no infinity: a float that is not finite is a string."""
    return [{c: _json_value(cell) for c, cell in zip(columns, row, strict=True)} for row in rows]


def to_json(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Format the table as a JSON list with one object per row; a float that is not finite becomes a string."""
    return json.dumps(records(columns, rows), indent=2, allow_nan=False)
