"""``probe``: show where a model's activations and gradients vanish or explode, on noise."""

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

import torch

from torchinit.cli._arguments import Commands, add_json, add_layers, add_plot, add_seed, add_table
from torchinit.cli._inputs import add_input, read_input
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_plot, save_plot
from torchinit.cli._weights import open_program
from torchinit.diagnostics import signal
from torchinit.diagnostics._trend import LIMIT


def _run(arguments: argparse.Namespace, output: Output) -> None:
    if arguments.plot is not None:
        check_plot(arguments)
    # The output of a command is its result alone.
    with output.progress() as progress, redirect_stdout(sys.stderr):
        progress.begin("reading", arguments.file)
        module = open_program(arguments)
        generator = torch.Generator().manual_seed(arguments.seed)
        inputs = [read_input(text, module, generator) for text in arguments.input]
        rows = signal(module, *inputs, generator=generator, progress=progress.step)
    if arguments.plot is not None:
        save_plot(arguments, rows.plot(Path(arguments.file).name))
        output.written(arguments.plot)
    output.show(rows)


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "probe",
        help="show where a model's activations and gradients vanish or explode, on noise",
        description="Run a model forward and backward on noise, without training data, and show the scale"
        " (root mean square) of the output of each layer and of the gradient there, each with its ratio to the layer"
        " that the signal comes from. A row x + NAME is the residual stream after the branch NAME. Parameters count as"
        " trainable; the file is not changed. The last line fits one factor per layer, or per sum of the residual stream:"
        f" a signal that grows or shrinks by more than {LIMIT:g} in all explodes or vanishes. A zero is on purpose, and"
        " not marked, if the weight of zeros that makes it learns and the signal passes around it.",
    )
    parser.add_argument("file", metavar="FILE", help="a TorchScript file, or with --like the weights of a model")
    add_input(parser, required=True)
    add_layers(parser)
    add_seed(parser, "seed of the noise (default: 0)")
    add_table(parser, bad=True)
    add_json(parser)
    add_plot(parser, "draw a picture too")
    parser.set_defaults(run=_run)
