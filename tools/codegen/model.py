"""The frozen model of a function: a JIT schema that prints back exactly, and the facts that a schema lacks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

# TorchScript's types, and how Python spells them.
PYTHON_TYPES = {
    "Tensor": "Tensor",
    "float": "float",
    "int": "int",
    "str": "str",
    "bool": "bool",
    "Generator?": "torch.Generator | None",
    "float?": "float | None",
    "int?": "int | None",
    "int[]": "list[int]",
    "int[]?": "list[int] | None",
    "float[]?": "list[float] | None",
    "Union(int, str)": "int | str",
    "Union(float, int, NoneType)": "int | float | None",
    "((int, int))": "tuple[int, int]",
}


class CodegenError(Exception):
    """One line: ``file:line: what; what would be right``."""


class Choices(Protocol):
    """The values of a string argument, and the name of its type in the stub."""

    @property
    def name(self) -> str: ...

    @property
    def values(self) -> tuple[str, ...]: ...


class Entry(Protocol):
    """The fields that are read from an entry of the registry."""

    schema: str
    family: str
    choices: Mapping[str, Choices]
    deprecated: str | None


@dataclass(frozen=True)
class Argument:
    """One argument of a schema; ``default`` is TorchScript's text, or None."""

    name: str
    type: str
    default: str | None = None

    def __str__(self) -> str:
        return f"{self.type} {self.name}" + ("" if self.default is None else f"={self.default}")

    @property
    def python_default(self) -> str | None:
        """The default as Python source; TorchScript prints 1.0 as ``1.``, and 0.1 with 17 digits."""
        if self.default is not None and self.type == "float":
            return repr(float(self.default))
        return self.default


@dataclass(frozen=True)
class Function:
    """An entry of the registry, parsed."""

    name: str
    arguments: tuple[Argument, ...]
    returns: str
    family: str
    choices: Mapping[str, Choices] = field(default_factory=dict)
    deprecated: str | None = None

    @property
    def schema(self) -> str:
        """The JIT schema, as ``str(torch.jit.script(function).schema)`` prints it."""
        return f"{self.name}({', '.join(map(str, self.arguments))}) -> {self.returns}"

    @property
    def public(self) -> bool:
        """True if ``torchinit.__all__`` has the name."""
        return not self.name.startswith("_")


def _split_arguments(text: str) -> list[str]:
    """Split at the commas outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _fail(where: str, what: str, right: str) -> CodegenError:
    return CodegenError(f"{where}: {what}; {right}")


def _parse_argument(text: str, where: str) -> Argument:
    match = re.fullmatch(r"(?P<type>.+) (?P<name>\w+)(?:=(?P<default>.+))?", text)
    if match is None:
        raise _fail(where, f"cannot read argument {text!r}", "write 'type name' or 'type name=default'")
    if match["type"] not in PYTHON_TYPES:
        raise _fail(where, f"unknown type {match['type']!r}", f"use one of {', '.join(PYTHON_TYPES)}")
    return Argument(match["name"], match["type"], match["default"])


def parse(entry: Entry, where: str) -> Function:
    """Parse an entry of the registry.

    Args:
        entry: the entry
        where: its file and line, for an error
    """
    schema = entry.schema
    match = re.fullmatch(r"(?P<name>\w+)\((?P<arguments>.*)\) -> (?P<returns>.+)", schema)
    if match is None:
        raise _fail(where, f"cannot read schema {schema!r}", "write 'name(type name=default, ...) -> type'")
    arguments = tuple(_parse_argument(text, where) for text in _split_arguments(match["arguments"]))
    if match["returns"] not in PYTHON_TYPES:
        raise _fail(where, f"unknown type {match['returns']!r}", f"use one of {', '.join(PYTHON_TYPES)}")
    function = Function(match["name"], arguments, match["returns"], entry.family, entry.choices, entry.deprecated)
    if function.schema != schema:
        raise _fail(where, f"schema {schema!r} is not in canonical form", f"write {function.schema!r}")
    for name in function.choices:
        if name not in [argument.name for argument in arguments]:
            raise _fail(where, f"choices for {name!r}, which is no argument", f"use one of {schema!r}")
    return function
