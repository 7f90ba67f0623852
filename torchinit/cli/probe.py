"""``probe``: show where a model's activations and gradients vanish or explode, on noise."""

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

import torch

from torchinit.cli._inputs import read_input
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_plot, save_plot
from torchinit.cli._weights import open_program
from torchinit.diagnostics import signal


def run(arguments: argparse.Namespace, output: Output) -> None:
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
