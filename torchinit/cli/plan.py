"""``plan``: show what a recipe would do to a model, without doing it."""

import argparse

from torchinit.cli._arguments import Commands, add_json, add_layers, add_model_and_recipe, add_table, recipe_of
from torchinit.cli._output import Output
from torchinit.cli._weights import open_model, planned


def _run(arguments: argparse.Namespace, output: Output) -> None:
    recipe = recipe_of(arguments)
    with output.progress(1) as progress:
        progress.step("reading", arguments.file)
        opened = open_model(arguments, recipe, output)
    _, plan = planned(recipe, opened.model, arguments.file, output)
    output.show(plan)


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("plan", help="show what a recipe would do to a model, without doing it")
    add_model_and_recipe(parser)
    add_layers(parser)
    add_table(parser)
    add_json(parser)
    parser.set_defaults(run=_run)
