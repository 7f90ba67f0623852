"""The keyed initializers: each function that draws, with a key instead of the generator."""

from collections.abc import Sequence
from dataclasses import replace

from tools.codegen.model import Argument, Function

# A pattern: any module of torchinit.keyed.
FAMILY = "keyed.*"

_KEY = Argument("key", "Tensor")
_PIECE = (Argument("full_size", "int[]?", "None"), Argument("offset", "int[]?", "None"))


def keyed(functions: Sequence[Function]) -> list[Function]:
    """Select the functions that draw; add a key after the tensor, and replace the generator by a piece."""
    drawing = [f for f in functions if f.public and any(a.type == "Generator?" for a in f.arguments)]
    return [
        replace(
            function,
            arguments=(
                function.arguments[0],
                _KEY,
                *(argument for argument in function.arguments[1:] if argument.type != "Generator?"),
                *_PIECE,
            ),
            family=FAMILY,
            deprecated=None,
        )
        for function in drawing
    ]
