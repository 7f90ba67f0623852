"""``list``: list the initializers with their signatures, and the recipes."""

import argparse
import inspect
import re
from collections.abc import Callable

from torchinit._core.registry import INITIALIZERS
from torchinit._core.table import first_line, to_json
from torchinit.cli._output import Output
from torchinit.recipes import load
from torchinit.recipes._read import about
from torchinit.recipes._shipped import SHIPPED

# Roles and literals of docstrings: :func:`record`, ``tensor``.
_MARKUP = re.compile(r":\w+:`([^`]*)`|``([^`]*)``")


def _summary(function: object) -> str:
    # NB: python -OO drops docstrings.
    return _MARKUP.sub(lambda match: match[1] or match[2], first_line(inspect.getdoc(function) or ""))


def _signature(function: Callable[..., object]) -> str:
    return str(inspect.signature(function)).replace("torch._C.", "torch.")


def run(arguments: argparse.Namespace, output: Output) -> None:
    if arguments.recipe is not None:
        if output.json:
            arguments.usage_error("a recipe is printed as TOML; --json goes without --recipe")
        output.text(load(arguments.recipe, **dict(arguments.set)).to_toml(), end="")
        return
    rows = [["initializer", name, _signature(e.function), _summary(e.function)] for name, e in INITIALIZERS.items()]
    rows += [["recipe", name, "", about(name)[0]] for name in SHIPPED]
    if output.json:
        output.text(to_json(["kind", "name", "signature", "does"], rows))
        return
    for _, name, signature, does in rows:
        output.paragraph(f"{name}{signature}", indent=8)
        if does:
            output.paragraph(f"    {does}", indent=4)
