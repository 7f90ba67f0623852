"""The functions as a deployed bundle has them: as methods, with types that C++ and the mobile interpreter take."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from tools.codegen.docstrings import ROOT
from tools.codegen.model import Argument, Function

_SEED = Argument("seed", "int?", "None")


def deployed(functions: Sequence[Function]) -> list[Function]:
    """Select what a bundle exports: initializers, gain and fans, and no Union, which neither C++ nor mobile has."""
    return [
        replace(
            function,
            arguments=tuple(
                replace(argument, type="float?") if argument.type.startswith("Union") else argument
                for argument in function.arguments
            ),
        )
        for function in functions
        if function.family != "_primitives"
    ]


def mobile(function: Function) -> Function:
    """Take a seed in the generator's place: the mobile interpreter has no generator to pass."""
    return replace(
        function,
        arguments=tuple(_SEED if argument.type == "Generator?" else argument for argument in function.arguments),
    )


def version() -> str:
    """Read the release from the package, without importing it."""
    match = re.search(r'^__version__ = "(.+)"$', (ROOT / "torchinit" / "__init__.py").read_text(), re.MULTILINE)
    assert match is not None
    return match[1]


def interface(functions: Sequence[Function]) -> str:
    """Digest the release and every schema, so that a header and an archive of two releases notice each other."""
    both = [version()] + [function.schema for f in deployed(functions) for function in (f, mobile(f))]
    return hashlib.sha256("\n".join(both).encode()).hexdigest()[:16]
