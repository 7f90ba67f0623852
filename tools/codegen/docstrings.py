"""Reads the docstring of a function, without importing the package."""

import ast
import functools
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tools.codegen.model import CodegenError, Function

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Docstring:
    """A docstring's first line and its sections, each entry a name and its text in one line."""

    summary: str
    arguments: dict[str, str]
    returns: str
    raises: dict[str, str]


def plain(text: str) -> str:
    """Replace reStructuredText's inline markup by plain backticks."""
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", text).replace("``", "`")


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _section(text: str, name: str) -> str:
    match = re.search(rf"^{name}:\n((?:    .*\n|\n)*)", text, re.MULTILINE)
    return textwrap.dedent(match[1]) if match else ""


def entries(section: str) -> dict[str, str]:
    """Split a section of ``name: text`` into its entries, each text in one line."""
    found = re.findall(r"^(\w+): (.*(?:\n    .*)*)", section, re.MULTILINE)
    return {name: _line(text) for name, text in found}


def _parse(text: str) -> Docstring:
    return Docstring(
        summary=_line(text.partition("\n\n")[0]),
        arguments=entries(_section(text, "Args")),
        returns=_line(_section(text, "Returns")),
        raises=entries(_section(text, "Raises")),
    )


@functools.cache
def _functions(path: Path) -> dict[str, str]:
    """Return the docstrings of a file's functions by name."""
    nodes = ast.parse(path.read_text()).body
    return {node.name: ast.get_docstring(node) or "" for node in nodes if isinstance(node, ast.FunctionDef)}


def docstring(function: Function) -> Docstring:
    """Read the docstring of a function of ``torchinit.<family>``; the family may be a glob pattern."""
    pattern = f"torchinit/{function.family.replace('.', '/')}.py"
    for path in sorted(ROOT.glob(pattern)):
        if function.name in _functions(path):
            return _parse(_functions(path)[function.name] + "\n")
    raise CodegenError(f"{ROOT / pattern}:1: no function {function.name!r}; define what the registry names")
