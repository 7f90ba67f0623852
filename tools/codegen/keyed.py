"""The keyed initializers: what each row that draws becomes when a key takes the generator's place."""

import re
from collections.abc import Sequence
from dataclasses import replace

from tools.codegen.docstrings import Docstring, docstring
from tools.codegen.model import Argument, Function

FAMILY = "keyed"

_KEY = Argument("key", "Tensor")
_PIECE = (Argument("full_size", "int[]?", "None"), Argument("offset", "int[]?", "None"))
_TEXTS = {
    "key": "a key, of shape (2,); see :func:`torchinit.keyed.key`. Each tensor needs one of its own",
    "full_size": "shape of the logical tensor that ``tensor`` is a piece of, fans included (default: its own shape)",
    "offset": "where in the logical tensor the piece begins, an index a dimension (default: at its beginning)",
}
_REFUSED = "``key`` is no key, or the piece does not lie within ``full_size``"


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


def keyed_docstring(function: Function, sibling: Function) -> Docstring:
    """Compose what is said of a keyed initializer from what its sibling says."""
    text = docstring(sibling)
    raises = {"ValueError": _REFUSED, **text.raises}
    if "ValueError" in text.raises:
        raises["ValueError"] = f"{text.raises['ValueError']}; if {_REFUSED}"
    else:
        raises["ValueError"] = f"if {_REFUSED}"
    return replace(
        text,
        # What follows the formula speaks of the generator's stream.
        body=re.sub(r"(\.\. math::.*\n(?:    .*\n|\n)*)[\s\S]*", r"\1", text.body + "\n").strip(),
        summary=text.summary.removesuffix(".") + ", by key.",
        arguments={a.name: _TEXTS.get(a.name) or text.arguments[a.name] for a in function.arguments},
        raises=raises,
    )
