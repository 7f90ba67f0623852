"""``plan``: show what a recipe would do to a model, without doing it."""

import argparse

from torchinit.cli._arguments import Commands, add_json, add_model_and_recipe, recipe_of
from torchinit.cli._files import load_torchscript
from torchinit.cli._output import Output


def _run(arguments: argparse.Namespace, output: Output) -> None:
    plan = recipe_of(arguments).plan(load_torchscript(arguments.file))
    output.text(plan.to_json() if output.json else str(plan))


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("plan", help="show what a recipe would do to a model, without doing it")
    add_model_and_recipe(parser)
    add_json(parser)
    parser.set_defaults(run=_run)
