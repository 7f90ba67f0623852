"""The methods of a bundle, with types that C++ and the mobile interpreter take."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from tools.codegen.docstrings import ROOT
from tools.codegen.keyed import keyed
from tools.codegen.model import PYTHON_TYPES, Argument, Function

# A bundle is one namespace: a keyed method has this prefix before its sibling's name.
PREFIX = "keyed_"

_SEED = Argument("seed", "int?", "None")


def _without_unions(function: Function) -> list[Function]:
    """Replace Unions, which C++ and mobile lack: an optional number is a float, a number or a name two methods."""
    types = {argument.type for argument in function.arguments}
    if "Union(int, str)" in types:
        return [
            _retyped(function, "Union(int, str)", "int"),
            replace(_retyped(function, "Union(int, str)", "str"), name=f"{function.name}_name"),
        ]
    return [_retyped(function, "Union(float, int, NoneType)", "float?")]


def _retyped(function: Function, old: str, new: str) -> Function:
    arguments = tuple(replace(a, type=new) if a.type == old else a for a in function.arguments)
    return replace(function, arguments=arguments)


def deployed(functions: Sequence[Function]) -> list[Function]:
    """Select what a bundle exports: initializers, gain and fans, keys, and the keyed initializers under a prefix."""
    chosen = [method for f in functions if f.family != "_core.writes" for method in _without_unions(f)]
    return chosen + [replace(function, name=f"{PREFIX}{function.name}") for function in keyed(functions)]


def mobile(function: Function) -> Function:
    """Replace the generator by a seed; the mobile interpreter has no generators."""
    return replace(
        function,
        arguments=tuple(_SEED if argument.type == "Generator?" else argument for argument in function.arguments),
    )


def version() -> str:
    """Read the release from the package, without importing it."""
    match = re.search(r'^__version__ = "(.+)"$', (ROOT / "torchinit" / "__init__.py").read_text(), re.MULTILINE)
    assert match is not None
    return match[1]


def _head(function: Function) -> str:
    parameters = []
    for argument in function.arguments:
        default = "" if argument.default is None else f" = {argument.python_default}"
        parameters.append(f"{argument.name}: {PYTHON_TYPES[argument.type].removeprefix('torch.')}{default}")
    return f"{function.name}(self, {', '.join(parameters)})"


def interface(functions: Sequence[Function]) -> str:
    """Compute the digest of ``torchinit.deploy._bundle.interface``, without importing the package."""
    heads = [_head(function) for f in deployed(functions) for function in (f, mobile(f))]
    return hashlib.sha256("\n".join([version(), *heads]).encode()).hexdigest()[:16]
