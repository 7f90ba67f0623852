"""Renders ``torchinit/keyed/__init__.pyi``: the keyed functions for type checkers, with literal choices."""

from collections.abc import Sequence

from tools.codegen.keyed import keyed
from tools.codegen.model import Function
from tools.codegen.python_source import STAMP, all_names, literals, stub

PATH = "torchinit/keyed/__init__.pyi"

_HEAD = """
from typing import Literal

from torch import Tensor

VERSION: int
"""


def render(functions: Sequence[Function]) -> str:
    chosen = [f for f in functions if f.family.startswith("keyed.")] + keyed(functions)
    return "\n".join(
        [STAMP + _HEAD, all_names([f.name for f in chosen]), *literals(chosen), "".join(map(stub, chosen))]
    )
