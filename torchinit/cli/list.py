"""``list``: list the initializers with their signatures, and the recipes."""

import argparse
import inspect

from torchinit._core.registry import INITIALIZERS
from torchinit._core.table import first_line
from torchinit.cli._arguments import Commands, add_constants, add_json
from torchinit.cli._output import Output
from torchinit.recipes import load
from torchinit.recipes._read import about
from torchinit.recipes._shipped import SHIPPED


def _summary(function: object) -> str:
    # NB: python -OO drops docstrings.
    return first_line(inspect.getdoc(function) or "")


def _run(arguments: argparse.Namespace, output: Output) -> None:
    if arguments.recipe is not None:
        output.text(load(arguments.recipe, **dict(arguments.set)).to_toml(), end="")
        return
    rows = [
        ["initializer", name, str(inspect.signature(e.function)), _summary(e.function)]
        for name, e in INITIALIZERS.items()
    ]
    rows += [["recipe", name, "", about(name)[0]] for name in SHIPPED]
    if output.json:
        output.table(["kind", "name", "signature", "does"], rows)
        return
    for _, name, signature, does in rows:
        output.text(f"{name}{signature}\n    {does}".rstrip())


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("list", help="list the initializers with their signatures, and the recipes")
    parser.add_argument("--recipe", metavar="R", help="print this recipe as TOML instead, as a start for your own")
    add_constants(parser)
    add_json(parser)
    parser.set_defaults(run=_run)
