"""``plan``: show what a recipe would do to a model, without doing it."""

import argparse

from torchinit.cli._output import Output
from torchinit.cli._recordings import recipe_of
from torchinit.cli._weights import open_model, planned


def run(arguments: argparse.Namespace, output: Output) -> None:
    recipe = recipe_of(arguments)
    with output.progress(1) as progress:
        progress.step("reading", arguments.file)
        opened = open_model(arguments, recipe, output)
    _, plan = planned(recipe, opened.model, arguments.file, output)
    output.show(plan)
