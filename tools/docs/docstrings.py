"""Turns a docstring, which is reStructuredText, into Markdown."""

import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

_SECTION = re.compile(r"^(\w+):\n((?:    .*\n|\n)+)", re.MULTILINE)
# A displayed formula: what follows on the line, or what is indented below.
_FORMULA = re.compile(r"^\.\. math::[ ]*(.*)\n((?:    .*\n|\n(?=    ))*)", re.MULTILINE)
_TABLE = re.compile(r"^=[= ]+\n(.+\n)=[= ]+\n((?:.+\n)+?)=[= ]+\n", re.MULTILINE)


@dataclass(frozen=True)
class Text:
    """A docstring's first paragraph, what comes before its sections, and these, as they are written."""

    summary: str
    body: str
    sections: Mapping[str, str]


def read(documented: object) -> Text:
    """Split the docstring of a function or a class."""
    text = (inspect.getdoc(documented) or "") + "\n"
    summary, _, rest = text.partition("\n\n")
    sections = {name: textwrap.dedent(part).strip() for name, part in _SECTION.findall(rest)}
    return Text(" ".join(summary.split()), _SECTION.sub("", rest).strip(), sections)


def markdown(text: str) -> str:
    """Convert the markup that docstrings use; a name in backticks is linked when the site is built."""
    text = _TABLE.sub(_table, text + "\n")
    text = _FORMULA.sub(lambda match: f"$$\n{_join(match[1] + ' ' + match[2])}\n$$\n", text)
    text = re.sub(r":math:`([^`]+)`", lambda match: f"${_join(match[1])}$", text)
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text).replace("``", "`")
    return re.sub(r"(?<![<(`])https?://[^\s,;]*[^\s,;.)]", r"<\g<0>>", text).strip()


def _join(text: str) -> str:
    return " ".join(text.split())


def _table(match: re.Match[str]) -> str:
    """Cut a simple table at the columns that its rule of equal signs draws."""
    rule = match[0].partition("\n")[0]
    starts = [part.start() for part in re.finditer(r"=+", rule)]
    ends = [*starts[1:], None]
    lines = [
        [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        for line in [match[1].rstrip("\n"), *match[2].splitlines()]
    ]
    return rows(lines[0], lines[1:])


def rows(head: list[str], body: list[list[str]]) -> str:
    """Spell a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
