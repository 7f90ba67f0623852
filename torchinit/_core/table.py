"""Aligned tables, as text and as JSON."""

import json
import math
import os
import re
import sys
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


def _json_value(cell: Cell) -> Any:
    # JSON has no NaN and no infinity.
    return cell if not isinstance(cell, float) or math.isfinite(cell) else str(cell)


def to_json(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Format the table as a JSON list with one object per row; a float that is not finite becomes a string."""
    records = [{c: _json_value(cell) for c, cell in zip(columns, row, strict=True)} for row in rows]
    return json.dumps(records, indent=2, allow_nan=False)
