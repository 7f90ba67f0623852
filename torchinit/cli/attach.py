"""``attach``: give a saved model methods that reset it."""

import argparse

import torch

from torchinit.cli._archive import rewrite
from torchinit.cli._arguments import Commands, add_model_and_recipe, add_model_output
from torchinit.cli._output import Output
from torchinit.cli._recordings import fitted
from torchinit.recipes import Recipe
from torchinit.recording import Recording


def _run(arguments: argparse.Namespace, output: Output) -> None:
    def attach(recipe: Recipe | Recording, module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
        source = fitted(recipe, module) if isinstance(recipe, Recording) else recipe
        return source.attach(module, mobile=arguments.mobile)

    rewrite(arguments, output, "attach", attach, mobile=arguments.mobile)


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "attach", help="give a saved model methods reset_parameters and reset_parameters_keyed"
    )
    add_model_and_recipe(parser)
    add_model_output(parser)
    parser.add_argument("--mobile", action="store_true", help="for the mobile interpreter: the method takes a seed")
    parser.set_defaults(run=_run)
