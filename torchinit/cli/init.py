"""``init``: re-initialize a saved model."""

import argparse

import torch

from torchinit.cli._archive import rewrite
from torchinit.cli._arguments import Commands, add_model_and_recipe, add_model_output, add_seed
from torchinit.cli._output import Output
from torchinit.cli._recordings import fitted
from torchinit.keyed import key
from torchinit.recipes import Recipe
from torchinit.recording import Recording


def _run(arguments: argparse.Namespace, output: Output) -> None:
    def initialize(recipe: Recipe | Recording, module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
        if isinstance(recipe, Recording):
            recipe = fitted(recipe, module)
        fill = recipe.materialize_ if isinstance(recipe, Recording) else recipe.apply_
        if arguments.keyed:
            fill(module, key=key(arguments.seed))
        else:
            fill(module, generator=torch.Generator().manual_seed(arguments.seed))
        return module

    rewrite(arguments, output, "initialize", initialize)


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("init", help="re-initialize a saved model")
    add_model_and_recipe(parser)
    add_model_output(parser)
    add_seed(parser, "seed of the generator for all draws", required=True)
    parser.add_argument("--keyed", action="store_true", help="draw each parameter from the seed and its name alone")
    parser.set_defaults(run=_run)
