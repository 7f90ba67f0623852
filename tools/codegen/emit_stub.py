"""Renders ``torchinit/__init__.pyi``: the facade for type checkers, with literal choices."""

from collections.abc import Sequence

from tools.codegen.model import Choices, Function
from tools.codegen.python_source import STAMP, signature

PATH = "torchinit/__init__.pyi"

_HEAD = """
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import deprecated

__version__: str
"""


def _literal(choices: Choices) -> str:
    values = "".join(f'    "{value}",\n' for value in choices.values)
    return f"{choices.name} = Literal[\n{values}]\n"


def _stub(function: Function, name: str) -> str:
    types = {argument: choices.name for argument, choices in function.choices.items()}
    return signature(function, name, types) + " ...\n"


def _all(functions: Sequence[Function]) -> str:
    names = [f.name for f in functions if f.public] + [f.deprecated for f in functions if f.deprecated]
    return "__all__ = [\n" + "".join(f'    "{name}",\n' for name in names) + "]\n"


def render(functions: Sequence[Function]) -> str:
    literals = {choices.name: choices for f in functions for choices in f.choices.values()}
    current = "".join(_stub(f, f.name) for f in functions)
    old = "".join(
        f'@deprecated("`torchinit.{f.deprecated}` is now deprecated in favor of `torchinit.{f.name}`.")\n'
        + _stub(f, f.deprecated)
        for f in functions
        if f.deprecated
    )
    return "\n".join(
        [STAMP + _HEAD, _all(functions), *map(_literal, literals.values()), current + old],
    )
