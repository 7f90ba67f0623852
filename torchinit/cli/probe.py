"""``probe``: show where a model's activations and gradients vanish or explode, on noise."""

import argparse
import os
import re
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from torchinit.cli._arguments import Commands, add_json, add_layers, add_plot, add_seed, add_table
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_plot, save_plot
from torchinit.cli._weights import open_program
from torchinit.diagnostics import signal
from torchinit.diagnostics._trend import LIMIT

_SHAPE = re.compile(r"(\d+(?:[x,]\d+)*)(?::(\d+))?")
_INPUT = "a shape such as 8x3x32x32, of integers below 1000 such as 2x16:1000, or a file of torch.save with a tensor"


def _tensor(path: str) -> Tensor:
    """Read a tensor that torch.save wrote."""
    if not os.path.exists(path):
        raise RuntimeError(f"--input takes {_INPUT}, got {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # NB: torch.load raises many types of errors, of several lines.
        raise RuntimeError(f"--input takes {_INPUT}, got {path}, which torch.load does not read") from error
    if not isinstance(loaded, Tensor):
        raise RuntimeError(f"--input takes {_INPUT}, got {path} with {type(loaded).__name__}")
    return loaded


def _input(text: str, module: nn.Module, generator: torch.Generator) -> Tensor:
    """Draw standard normal noise in the dtype of the parameters, or integers, or read a file."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        return _tensor(text)
    shape = [int(size) for size in re.split("[x,]", match[1])]
    bound = int(match[2] or 1)
    if not all(0 < number < 1 << 63 for number in [*shape, bound]):
        raise RuntimeError(f"the numbers of an input must be from 1 to 2**63 - 1, got {text}")
    if match[2] is not None:
        return torch.randint(bound, shape, generator=generator)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return torch.randn(shape, generator=generator, dtype=dtype)


def _run(arguments: argparse.Namespace, output: Output) -> None:
    if arguments.plot is not None:
        check_plot(arguments)
    with output.progress() as progress:
        progress.begin("reading", arguments.file)
        module = open_program(arguments)
        generator = torch.Generator().manual_seed(arguments.seed)
        inputs = [_input(text, module, generator) for text in arguments.input]
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
    parser.add_argument(
        "--input",
        required=True,
        action="append",
        metavar="SHAPE",
        help="standard normal noise of this shape, 8x3x32x32 or 8,3,32,32; or integers from 0 to 999, 2x16:1000; or a"
        " file with a tensor that torch.save wrote; once for each argument of forward",
    )
    add_layers(parser)
    add_seed(parser, "seed of the noise (default: 0)")
    add_table(parser, bad=True)
    add_json(parser)
    add_plot(parser, "draw a picture too")
    parser.set_defaults(run=_run)
