"""``plan``: show what a recipe would do to a model, without doing it."""

import argparse

from torchinit.cli._arguments import Commands, add_json, add_model_and_recipe, add_table, recipe_of
from torchinit.cli._files import load_torchscript
from torchinit.cli._output import Output
from torchinit.cli._recordings import fitted
from torchinit.recording import Recording


def _run(arguments: argparse.Namespace, output: Output) -> None:
    recipe = recipe_of(arguments)
    with output.progress() as progress:
        progress.begin("reading", arguments.file)
        module = load_torchscript(arguments.file)
    plan = fitted(recipe, module) if isinstance(recipe, Recording) else recipe.plan(module)
    output.show(plan)


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("plan", help="show what a recipe would do to a model, without doing it")
    add_model_and_recipe(parser)
    add_table(parser)
    add_json(parser)
    parser.set_defaults(run=_run)
