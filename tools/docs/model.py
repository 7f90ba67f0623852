"""What a page says of one public name: its signature and docstring, and the row of the table if it has one."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import ModuleType

import torchinit
from tools.codegen.functions import FUNCTIONS
from tools.codegen.keyed import keyed
from tools.codegen.model import Function
from tools.codegen.python_source import signature
from tools.docs.docstrings import Text, read

# Choices up to so many stand in the signature; more stand with the argument.
_FEW = 4
# Beyond it a signature has a line for each argument.
_WIDTH = 60
# How inspect spells what an annotation writes.
_SPELLINGS = {
    r"collections\.abc\.": "",
    r"torchinit\.(recipes\.)?_\w+\.": "",
    r"typing\.": "",
    r"torch\.nn\.modules\.module\.": "nn.",
    r"torch\._C\.": "torch.",
    r"torch\.jit\._script\.": "torch.jit.",
    r"torch\.Tensor": "Tensor",
    r"~(?=\w)": "",
    r"<factory>": "...",
    r"'(Recipe)'": r"\1",
}

# The headings of the reference; a family that is not named here comes under its own name.
FAMILIES: Mapping[str, str] = {
    "_core.distributions": "Distributions and constants",
    "_core.variance_scaling": "Variance scaling",
    "_core.structured": "Structured",
    "_core.layers": "Layers",
    "_core.gains": "Gains",
    "_core.fans": "Fans",
    "_core.patch": "The whole of torch.nn.init",
}


@dataclass(frozen=True)
class Entry:
    """One public name."""

    name: str
    signature: str
    text: Text
    family: str
    row: Function | None = None

    @property
    def long_choices(self) -> dict[str, tuple[str, ...]]:
        """The values of arguments that take too many for a signature."""
        choices = self.row.choices if self.row else {}
        return {name: each.values for name, each in choices.items() if len(each.values) > _FEW}


def _of_row(row: Function, name: str) -> str:
    quoted = {argument: [f'"{value}"' for value in choices.values] for argument, choices in row.choices.items()}
    types = {argument: f"Literal[{', '.join(few)}]" for argument, few in quoted.items() if len(few) <= _FEW}
    return signature(row, name, types).removeprefix("def ").removesuffix(":")


def _of_object(documented: object, name: str) -> str:
    """Spell the signature of what has no row, as its source does."""
    if not callable(documented):
        return name
    parameters = inspect.signature(documented)
    arguments = [str(parameter) for parameter in parameters.parameters.values() if parameter.name != "self"]
    returns = inspect.formatannotation(parameters.return_annotation)
    arrow = "" if parameters.return_annotation in (inspect.Signature.empty, None) else f" -> {returns}"
    short, long = ", ".join(arguments), "".join(f"\n    {argument}," for argument in arguments) + "\n"
    for pattern, spelling in _SPELLINGS.items():
        short, long, arrow = (re.sub(pattern, spelling, text) for text in (short, long, arrow))
    return f"{name}({short}){arrow}" if len(name + short + arrow) <= _WIDTH else f"{name}({long}){arrow}"


def entry(module: ModuleType, name: str, row: Function | None = None) -> Entry:
    """Read one public name of a module."""
    documented = getattr(module, name)
    full = f"{module.__name__}.{name}"
    family = documented.__module__.rpartition(".")[2]
    spelled = _of_row(row, full) if row else _of_object(documented, full)
    return Entry(name, spelled, read(documented), family, row)


def methods(module: ModuleType, name: str) -> list[Entry]:
    """Read the documented methods of a public class; a function has none."""
    documented = getattr(module, name)
    if not inspect.isclass(documented):
        return []
    own = [member for member in vars(documented) if not member.startswith("_")]
    named = [(member, inspect.getattr_static(documented, member)) for member in own]
    return [
        Entry(f"{name}.{member}", _of_object(getattr(documented, member), f"{name}.{member}"), read(value), "")
        for member, value in named
        if isinstance(value, staticmethod) or inspect.isfunction(value)
        if inspect.getdoc(value)
    ]


def public() -> list[Entry]:
    """Read every public name of ``torchinit`` but the deprecated ones, in the order of ``__all__``."""
    rows = {row.name: row for row in FUNCTIONS}
    old = {row.deprecated for row in FUNCTIONS}
    return [entry(torchinit, name, rows.get(name)) for name in torchinit.__all__ if name not in old]


def by_key() -> dict[str, Function]:
    """Return the keyed sibling of each function that has one."""
    return {row.name: replace(row, choices={}) for row in keyed(FUNCTIONS)}
