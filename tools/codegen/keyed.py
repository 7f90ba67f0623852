"""The keyed initializers: what each function that draws becomes when a key takes the generator's place."""

from collections.abc import Sequence
from dataclasses import replace

from tools.codegen.model import Argument, Function

# Of any module there.
FAMILY = "keyed.*"

_KEY = Argument("key", "Tensor")
_PIECE = (Argument("full_size", "int[]?", "None"), Argument("offset", "int[]?", "None"))


def keyed(functions: Sequence[Function]) -> list[Function]:
    """Select what draws, with a key after the tensor, and a piece of a logical tensor instead of a generator."""
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
