"""Aligned tables, as text and as JSON."""

import html
import itertools
import json
import math
import os
import re
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import Any

Cell = str | int | float | Sequence[int] | None

_MARK = ("\033[33m", "\033[0m")


def printable(words: str) -> str:
    """Escape control characters, which names from a file may hold."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)


def first_line(words: str) -> str:
    """Return the first line that is not blank, without colors and with control characters escaped."""
    lines = re.sub(r"\x1b\[\d*m", "", words).splitlines()
    return printable(next((line.strip() for line in lines if line.strip()), ""))


def text(cell: Cell) -> str:
    """Format a cell: floats to three digits, shapes as 3x4, None as a dash."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.3g}"
    if isinstance(cell, (str, int)):
        return printable(str(cell))
    return "x".join(map(str, cell)) or "scalar"


def _colored() -> bool:
    # https://no-color.org
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], marked: Collection[int] = (), color: bool | None = None
) -> str:
    """Align rows under their columns, numbers to the right; a terminal shows the rows of ``marked`` in color."""
    cells = [[text(cell) for cell in row] for row in rows]
    number = [any(type(row[i]) in (int, float) for row in rows) for i in range(len(columns))]
    width = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    colored = _colored() if color is None else color
    lines = []
    for index, line in enumerate([list(columns), *cells], start=-1):
        padded = [f"{c:>{w}}" if n else f"{c:<{w}}" for c, w, n in zip(line, width, number, strict=True)]
        joined = "  ".join(padded).rstrip()
        lines.append(f"{_MARK[0]}{joined}{_MARK[1]}" if colored and index in marked else joined)
    return "\n".join(lines)


def _shortened(name: str, most: int) -> str:
    """Cut a long name in the middle; its end says more."""
    tail = (most - 3) * 2 // 3
    return name if len(name) <= most else f"{name[: most - 3 - tail]}...{name[len(name) - tail :]}"


def _wrapped(words: str, width: int) -> list[str]:
    """Break a text into lines, after commas and colons outside brackets if the lines are long enough."""

    def held(text: str) -> str:
        # NB: textwrap does not break at a no-break space.
        return text.replace(" ", "\xa0") if len(text) <= width else text

    steps = [held(step) for step in re.split(r"(?<=[,:]) (?![^(\[]*[)\]])", words)]
    marked = " ".join(re.sub(r"[^ ]*\([^()]*\)|(\*\*|[*/+-]) [^ ]+", lambda part: held(part[0]), x) for x in steps)
    return [line.replace("\xa0", " ") for line in textwrap.wrap(marked, width, break_on_hyphens=False)] or [""]


def _widths(cells: Sequence[Sequence[str]], wrapped: Sequence[int], width: int) -> list[int]:
    """Share a line among columns: first those of ``wrapped`` take several lines, then long names one of their own."""
    widths = [max(map(len, column)) for column in zip(*cells)]
    room = width - 2 * (len(widths) - 1) - sum(n for i, n in enumerate(widths) if i and i not in wrapped)
    most = room - min(sum(widths[i] for i in wrapped), room * len(wrapped) // (len(wrapped) + 1))
    widths[0] = max((len(line[0]) for line in cells if len(line[0]) <= most), default=most)
    room -= widths[0]
    for index, left in zip(wrapped, range(len(wrapped), 0, -1)):
        widths[index] = min(widths[index], room // left)
        room -= widths[index]
    return widths


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], wrapped: Sequence[int], width: int) -> str:
    """Align rows under their columns in lines of at most ``width`` characters.

    Args:
        columns: heads of the columns; the first column has names, of which a long one takes a line of its own, and is
            cut in the middle where it is longer than that; a column without a head is left out where it is empty
        rows: the cells
        wrapped: the columns whose cells are broken into lines
        width: characters in a line, at least 40
    """
    kept = [i for i, head in enumerate(columns) if head or any(row[i] for row in rows)]
    lines = [[printable(line[i]) for i in kept] for line in [columns, *rows]]
    wrapped = [kept.index(i) for i in wrapped]
    widths = _widths(lines, wrapped, width)
    text = []
    for name, *line in lines:
        if len(name) > widths[0]:
            text.append(_shortened(name, width))
            name = ""
        cells = [[name], *(_wrapped(c, widths[i]) if i in wrapped else [c] for i, c in enumerate(line, 1))]
        for each in itertools.zip_longest(*cells, fillvalue=""):
            text.append("  ".join(f"{c:<{w}}" for c, w in zip(each, widths)).rstrip())
    return "\n".join(text)


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    """Format rows as one HTML element without a style sheet or a script, in the colors of the page around it."""

    def line(tag: str, cells: Sequence[str]) -> str:
        left = ' style="text-align: left"'
        return f"<tr>{''.join(f'<{tag}{left}>{html.escape(printable(cell))}</{tag}>' for cell in cells)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return (
        f'<div style="overflow-x: auto"><table><thead>{line("th", columns)}</thead><tbody>{body}</tbody></table>'
        f"<p>{html.escape(note)}</p></div>"
    )


def _json_value(cell: Cell) -> Any:
    # JSON has no NaN and no infinity.
    return cell if not isinstance(cell, float) or math.isfinite(cell) else str(cell)


def to_json(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Format the table as a JSON list with one object per row; a float that is not finite becomes a string."""
    records = [{c: _json_value(cell) for c, cell in zip(columns, row, strict=True)} for row in rows]
    return json.dumps(records, indent=2, allow_nan=False)
