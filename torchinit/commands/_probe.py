"""The command that shows where a model's signal vanishes or explodes."""

import argparse
import math
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from torchinit._progress import Progress
from torchinit._table import Cell, table, to_json
from torchinit.commands._arguments import picture, picture_format, seed
from torchinit.commands._probe_rows import Row, measure

# Beyond a factor of 100, one learning rate no longer serves the first layers and the last. Networks that train stay
# far within: convolutional ones with normalization, residual ones and Transformers have trends from 0.06 to 6.
LIMIT = 100.0

_SHAPE = re.compile(r"(\d+(?:[x,]\d+)*)(?::(\d+))?")
_INPUT = "a shape such as 8x3x32x32, of integers below 1000 such as 2x16:1000, or a file of torch.save with a tensor"


@dataclass(frozen=True)
class Trend:
    """How a scale moves with the flow.

    Attributes:
        start: where the fitted line starts
        factor: by how much a layer multiplies the scale
        total: by how much all of them do
        verdict: vanish if the total is below 1 / LIMIT, explode if it is above LIMIT, else keep their scale; not finite
    """

    start: float
    factor: float
    total: float
    verdict: str

    def __str__(self) -> str:
        if not math.isfinite(self.total):
            return self.verdict
        if self.total == 0:
            return f"zero at the end: {self.verdict}"
        return f"x{self.factor:.3g} per layer, x{self.total:.3g} in all: {self.verdict}"


def _exp(x: float) -> float:
    # NB: math.exp raises beyond 709.
    return math.exp(min(x, 709.0))


def trend(values: Sequence[float | None]) -> Trend | None:
    """Fit a factor per layer to the scales, in the order in which the signal passes; None for fewer than two.

    A straight line through the logarithms, by least squares: a factor per layer is one, and branches, pooling and heads,
    which change the scale once or to and fro, hardly tilt it.
    """
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    if not all(math.isfinite(value) for _, value in known):
        return Trend(math.nan, math.nan, math.nan, "not finite")
    if len(known) < 2:
        return None
    points = [(index, math.log(value)) for index, value in known if value > 0]
    if known[-1][1] == 0 or len(points) < 2:
        return Trend(0.0, 0.0, 0.0, "vanish")
    x, y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    slope = sum((i - x) * (v - y) for i, v in points) / sum((i - x) ** 2 for i, _ in points)
    total = slope * (len(values) - 1)
    verdict = "keep their scale" if abs(total) <= math.log(LIMIT) else "vanish" if total < 0 else "explode"
    return Trend(_exp(y - slope * x), _exp(slope), _exp(total), verdict)


def _notes(values: Sequence[float | None]) -> list[str]:
    """What is wrong with each of the scales; where they vanish or explode, from a factor of LIMIT to the first on."""
    fitted = trend(values)
    verdict = fitted.verdict if fitted else ""
    first = next((value for value in values if value), 0.0)
    notes = []
    for value in values:
        note = ""
        if value is not None and not math.isfinite(value):
            note = "not finite"
        elif value == 0:
            note = "zero"
        elif value is not None and verdict == "vanish" and value < first / LIMIT:
            note = "vanished"
        elif value is not None and verdict == "explode" and value > first * LIMIT:
            note = "exploded"
        notes.append(note)
    return notes


def _said(activation: str, gradient: str) -> str:
    if activation == gradient:
        return activation and f"activation and gradient {activation}"
    return ", ".join(f"{what} {note}" for what, note in (("activation", activation), ("gradient", gradient)) if note)


def notes(rows: Sequence[Row]) -> list[str]:
    """What is wrong in each row, or nothing."""
    activations = _notes([row.activation for row in rows])
    gradients = reversed(_notes([row.gradient for row in reversed(rows)]))
    return [_said(a, g) for a, g in zip(activations, gradients, strict=True)]


def trends(rows: Sequence[Row]) -> tuple[Trend | None, Trend | None]:
    """Those of the activations, from the first row to the last, and of the gradients, from the last to the first."""
    return trend([row.activation for row in rows]), trend([row.gradient for row in reversed(rows)])


def summary(rows: Sequence[Row]) -> str:
    """Both trends in one line."""
    forward, backward = (fitted or "too few for a trend" for fitted in trends(rows))
    return f"activations: {forward}; gradients: {backward}"


def _text(rows: Sequence[Row]) -> str:
    columns = ["layer", "kind", "output", "activation", "ratio", "gradient", "ratio", "weight", "its gradient", ""]
    said = notes(rows)
    cells: list[Sequence[Cell]] = [
        [row.label, *list(asdict(row).values())[2:], note] for row, note in zip(rows, said, strict=True)
    ]
    marked = [index for index, note in enumerate(said) if note]
    return f"{table(columns, cells, marked)}\n\n{summary(rows)}"


def _json(rows: Sequence[Row]) -> str:
    cells = [[*asdict(row).values(), note] for row, note in zip(rows, notes(rows), strict=True)]
    return to_json([*Row.__dataclass_fields__, "note"], cells)


def _tensor(path: str) -> Tensor:
    if not os.path.exists(path):
        raise RuntimeError(f"--input takes {_INPUT}, got {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # What torch.load says of a file that is none of its own is of many types and lines.
        raise RuntimeError(f"--input takes {_INPUT}, got {path}, which torch.load does not read") from error
    if not isinstance(loaded, Tensor):
        raise RuntimeError(f"--input takes {_INPUT}, got {path} with {type(loaded).__name__}")
    return loaded


def _input(text: str, module: nn.Module, generator: torch.Generator) -> Tensor:
    """Draw standard normal noise in the type of the parameters, or integers, or read a file."""
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


def _run(arguments: argparse.Namespace) -> None:
    from torchinit.commands._files import refuse_existing, refuse_input, save, script

    if arguments.plot is not None:
        from torchinit.commands._plot import check_matplotlib
        from torchinit.commands._probe_plot import plot

        refuse_input(arguments.plot, arguments.file)
        refuse_existing(arguments.plot, arguments.force)
        check_matplotlib()
    module = script(arguments.file)
    generator = torch.Generator().manual_seed(arguments.seed)
    inputs = tuple(_input(text, module, generator) for text in arguments.input)
    rows = measure(module, inputs, generator, Progress(0, after=1.0))
    if arguments.plot is not None:
        save(arguments.plot, plot(rows, picture_format(arguments.plot)), arguments.force)
    print(_json(rows) if arguments.json else _text(rows))


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "probe",
        help="where a model's activations and gradients vanish or explode, on noise",
        description="Run a TorchScript model forward and backward on noise, without training data, and show the scale"
        " (root mean square) of the output of each layer and of the gradient there, each with its ratio to the layer"
        " that the signal comes from. Parameters count as trainable; the file is not changed. The last line fits one"
        f" factor per layer: what grows or shrinks by more than {LIMIT:g} in all explodes or vanishes.",
    )
    parser.add_argument("file", metavar="FILE", help="a TorchScript file, scripted or traced")
    parser.add_argument(
        "--input",
        required=True,
        action="append",
        metavar="SHAPE",
        help="standard normal noise of this shape, 8x3x32x32 or 8,3,32,32; or integers from 0 to 999, 2x16:1000; or a"
        " file with a tensor that torch.save wrote; once for each argument of forward",
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the noise; 0 if not given")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--plot", type=picture, metavar="OUT", help="draw a picture too, .png, .svg or .pdf; needs matplotlib"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the picture if it exists")
    parser.set_defaults(run=_run)
