"""Writes HTML: every text is escaped, unless it is markup that these functions made."""

import html
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from torchinit._core.table import Cell, printable, text

# The multiplication sign.
TIMES = "\u00d7"


class Html(str):
    """Markup, which needs no more escaping."""

    __slots__ = ()


class Number(Html):
    """A number in words, to be aligned as one."""

    __slots__ = ()


def escaped(words: str) -> Html:
    """Escape a text for an element or an attribute, control characters included."""
    return words if isinstance(words, Html) else Html(html.escape(printable(words)))


def joined(*parts: str) -> Html:
    """Put texts and elements side by side."""
    return Html("".join(map(escaped, parts)))


def tag(name: str, *parts: str, **attributes: str) -> Html:
    """Write an element with its contents; an attribute that is a Python word ends in ``_``, and empty ones are left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"' for key, value in attributes.items() if value
    )
    return Html(f"<{name}{given}>{joined(*parts)}</{name}>")


def code(name: str) -> Html:
    """Write a name; a line may break after a dot or an underscore, and anywhere if it must."""
    broken = escaped(name).replace(".", ".<wbr>").replace("_", "_<wbr>")
    return tag("code", Html(broken))


def repeated(name: str, count: int) -> Html:
    """Write the name of one or several tensors."""
    return joined(code(name), Html(f' <span class="count">{TIMES}{count}</span>') if count > 1 else "")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    marked: Collection[int] = (),
    ids: Mapping[int, str] = MappingProxyType({}),
) -> Html:
    """Write a table, which scrolls by itself where it is wider than the page; numbers are aligned to the right.

    Args:
        columns: heads of the columns
        rows: the cells
        marked: the rows in which something is wrong
        ids: the names of rows that links lead to
    """
    right = [
        any(isinstance(row[i], Number) or type(row[i]) in (int, float) for row in rows) for i in range(len(columns))
    ]

    def line(kind: str, cells: Sequence[Cell], **attributes: str) -> Html:
        written = [cell if isinstance(cell, Html) else text(cell) for cell in cells]
        styles = ["number" if each else "" for each in right]
        return tag("tr", *(tag(kind, x, class_=style) for x, style in zip(written, styles)), **attributes)

    body = [line("td", row, class_="bad" if i in marked else "", id=ids.get(i, "")) for i, row in enumerate(rows)]
    head = tag("thead", line("th", columns))
    return tag("div", tag("table", head, tag("tbody", *body)), class_="scroll", tabindex="0")


def details(summary: str, *parts: str) -> Html:
    """Write parts that are closed until they are asked for."""
    return tag("details", tag("summary", summary), *parts)
