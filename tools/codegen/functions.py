"""The registry's entries, parsed; ``torchinit/_core/registry.py`` is the source of truth."""

import ast
import runpy
from pathlib import Path
from typing import Any

from tools.codegen.docstrings import ROOT
from tools.codegen.model import Choices, Function, parse

REGISTRY = ROOT / "torchinit" / "_core" / "registry.py"


def _lines(source: str) -> dict[Any, int]:
    """Find the line of each call by its first argument, which is the schema."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    return {call.args[0].value: call.lineno for call in calls if isinstance(call.args[0], ast.Constant)}


def read(path: Path = REGISTRY) -> dict[str, Any]:
    """Run the registry by itself, without the package, which may be broken until its files are generated."""
    registry, lines = runpy.run_path(str(path)), _lines(path.read_text())
    for table in ("UPSTREAM", "EXTRAS", "KEYS"):
        registry[table] = tuple(parse(entry, f"{path}:{lines[entry.schema]}") for entry in registry[table])
    return registry


_REGISTRY = read()
UPSTREAM: tuple[Function, ...] = _REGISTRY["UPSTREAM"]
FUNCTIONS = UPSTREAM + _REGISTRY["EXTRAS"]
KEYS: tuple[Function, ...] = _REGISTRY["KEYS"]
TABLE = FUNCTIONS + KEYS
NONLINEARITY: Choices = _REGISTRY["NONLINEARITY"]
