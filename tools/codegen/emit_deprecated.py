"""Renders ``torchinit/_core/deprecated.py``: the old names as functions that script and warn at the caller's line."""

from collections.abc import Sequence

from tools.codegen.model import Function
from tools.codegen.python_source import STAMP, imports, signature

PATH = "torchinit/_core/deprecated.py"

_HEAD = '''
"""The names that torch deprecated, as functions with their own signatures."""

import torch
from torch import Tensor

'''


def _shim(function: Function, old: str) -> str:
    arguments = ", ".join(argument.name for argument in function.arguments)
    return f'''

{signature(function, old, {})}
    r"""Call :func:`torchinit.{function.name}`; this name is deprecated."""
    warn_deprecated("{old}", "{function.name}")
    return {function.name}({arguments})
'''


def render(functions: Sequence[Function]) -> str:
    names = {"torchinit._core.messages": ["warn_deprecated"]}
    shims = []
    for function in functions:
        if function.deprecated is not None:
            names.setdefault(f"torchinit.{function.family}", []).append(function.name)
            shims.append(_shim(function, function.deprecated))
    return STAMP + _HEAD + imports(names) + "".join(shims)
