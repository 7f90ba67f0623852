"""``inspect``: show statistics of the parameters of a file, and which known initialization they are like."""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch import nn

from torchinit._core.table import Cell
from torchinit.cli._arguments import Commands, add_json, add_plot, add_seed
from torchinit.cli._files import load
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_plot, save_plot
from torchinit.cli._recordings import recipe_or_recording, recorded_values
from torchinit.diagnostics import ParameterStatistics, plot_statistics, statistics
from torchinit.diagnostics._histograms import MAX_PANELS, ORDER
from torchinit.diagnostics._preview import preview
from torchinit.recipes import Recipe
from torchinit.recording import Recording

COLUMNS = (
    *("name", "shape", "dtype", "fan_in", "fan_out", "mean", "std", "min", "max", "zeros", "not_finite"),
    *("he", "xavier", "verdict", "tied"),
)


def _cells(row: ParameterStatistics) -> list[Cell]:
    cells: dict[str, Cell] = {column: getattr(row, column) for column in COLUMNS}
    cells["dtype"] = str(row.dtype).removeprefix("torch.")
    cells["tied"] = ", ".join(row.tied) or None
    if isinstance(row.mean, complex):
        cells["mean"] = f"{row.mean:.6g}"
    return list(cells.values())


def _plot(
    arguments: argparse.Namespace,
    output: Output,
    model: nn.Module,
    rows: list[ParameterStatistics],
    recipe: Recipe | Recording | None,
) -> None:
    others = None
    if recipe is not None:
        generator = torch.Generator().manual_seed(arguments.seed)
        if isinstance(recipe, Recording):
            others = recorded_values(model, recipe, generator)
        else:
            others = preview(model, recipe, generator)
        kept = sum(row.name not in others for row in rows)
        if kept:
            output.note(
                f"no curve is drawn for {kept} of {len(rows)} parameters;"
                f" {arguments.recipe} keeps them or has no rule for them"
            )
    title, label = Path(arguments.file).name, f"recipe {arguments.recipe}"
    with output.progress() as progress:
        figure = plot_statistics(model, rows, others, title, label, progress.step)
    save_plot(arguments, figure)
    if len(rows) > MAX_PANELS:
        output.note(f"{arguments.plot} shows {MAX_PANELS} of {len(rows)} parameters; {ORDER}")


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace, output: Output) -> None:
    if arguments.plot is not None:
        check_plot(arguments)
    elif arguments.recipe is not None:
        parser.error("--recipe needs --plot OUT")
    recipe = None if arguments.recipe is None else recipe_or_recording(arguments.recipe)
    model = load(arguments.file)
    with output.progress() as progress:
        rows = statistics(model, progress.step)
    if arguments.plot is not None:
        _plot(arguments, output, model, rows, recipe)
    # Leave out the column of tied parameters if there are none.
    width = len(COLUMNS) if output.json or any(row.tied for row in rows) else -1
    output.table(COLUMNS[:width], [_cells(row)[:width] for row in rows], [i for i, row in enumerate(rows) if row.bad])
    if not rows:
        output.note(f"{arguments.file} holds no parameters")


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "inspect",
        help="show statistics of the parameters of a file, and which initialization they are like",
        description="Show mean, std and more of each parameter of FILE, a TorchScript archive, a state dict that"
        " torch.save wrote, or safetensors, and which initialization its std is like. A parameter is marked if it is"
        " not finite, far from any known scale, or constant although it should not be. In a file without modules, a"
        " transposed or grouped convolution looks like any other, and its fans are counted as such.",
    )
    parser.add_argument("file", metavar="FILE", help="the file to read; of its code, only TorchScript's is run")
    add_json(parser, "print JSON, one object a parameter, with all digits")
    add_plot(parser, "draw a histogram of each parameter")
    parser.add_argument(
        "--recipe", metavar="R", help="also draw what this recipe would do: a name, a TOML file or a .init file"
    )
    add_seed(parser, "seed of the recipe's draws (default: 0)")
    parser.set_defaults(run=partial(_run, parser))
