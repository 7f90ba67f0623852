"""Reads what the package's docstrings say of a function, without importing the package."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from tools.codegen.model import CodegenError, Function

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Docstring:
    """A docstring's first line and sections, each entry a name and its text in one line."""

    summary: str
    arguments: dict[str, str]
    returns: str
    raises: dict[str, str]


def _plain(text: str) -> str:
    """Turn reStructuredText's inline markup into plain backticks."""
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
    return re.sub(r"\s+", " ", text.replace("``", "`")).strip()


def _section(text: str, name: str) -> str:
    match = re.search(rf"^{name}:\n((?:    .*\n|\n)*)", text, re.MULTILINE)
    return match[1] if match else ""


def _entries(section: str) -> dict[str, str]:
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
    return {name: _plain(text) for name, text in entries}


def docstring(function: Function) -> Docstring:
    """Read the docstring of ``torchinit.<family>.<name>``."""
    path = ROOT / "torchinit" / f"{function.family}.py"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == function.name:
            text = (ast.get_docstring(node) or "") + "\n"
            return Docstring(
                summary=_plain(text.split("\n\n")[0]),
                arguments=_entries(_section(text, "Args")),
                returns=_plain(_section(text, "Returns")),
                raises=_entries(_section(text, "Raises")),
            )
    raise CodegenError(f"{path}:1: no function {function.name!r}; define what the table names")
