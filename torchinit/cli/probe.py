"""``probe``: show where a model's activations and gradients vanish or explode, on noise."""

import argparse
from collections.abc import Sequence
from dataclasses import astuple, fields

import torch

from torchinit.cli._arguments import Commands, add_json, add_plot, add_seed
from torchinit.cli._files import load_torchscript
from torchinit.cli._inputs import add_input, read_input
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_plot, save_plot
from torchinit.diagnostics import LayerSignal, notes, plot_signal, signal, summary
from torchinit.diagnostics._trend import LIMIT

_COLUMNS = ("layer", "kind", "output", "activation", "ratio", "gradient", "ratio", "weight", "its gradient", "")


def _print(rows: Sequence[LayerSignal], output: Output) -> None:
    said = notes(rows)
    if output.json:
        names = [field.name for field in fields(LayerSignal)]
        output.table([*names, "note"], [[*astuple(row), note] for row, note in zip(rows, said, strict=True)])
        return
    cells = [[row.label, *astuple(row)[2:], note] for row, note in zip(rows, said, strict=True)]
    output.table(_COLUMNS, cells, [index for index, note in enumerate(said) if note])
    output.text(f"\n{summary(rows)}")


def _run(arguments: argparse.Namespace, output: Output) -> None:
    if arguments.plot is not None:
        check_plot(arguments)
    module = load_torchscript(arguments.file)
    generator = torch.Generator().manual_seed(arguments.seed)
    inputs = [read_input(text, module, generator) for text in arguments.input]
    with output.progress() as progress:
        rows = signal(module, *inputs, generator=generator, progress=progress.step)
    if arguments.plot is not None:
        save_plot(arguments, plot_signal(rows))
    _print(rows, output)


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "probe",
        help="show where a model's activations and gradients vanish or explode, on noise",
        description="Run a TorchScript model forward and backward on noise, without training data, and show the scale"
        " (root mean square) of the output of each layer and of the gradient there, each with its ratio to the layer"
        " that the signal comes from. Parameters count as trainable; the file is not changed. The last line fits one"
        f" factor per layer: a signal that grows or shrinks by more than {LIMIT:g} in all explodes or vanishes.",
    )
    parser.add_argument("file", metavar="FILE", help="a TorchScript file, scripted or traced")
    add_input(parser, required=True)
    add_seed(parser, "seed of the noise (default: 0)")
    add_json(parser)
    add_plot(parser, "draw a picture too")
    parser.set_defaults(run=_run)
