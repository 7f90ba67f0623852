"""``inspect``: show statistics of the parameters of a file, and which known initialization they are like."""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from torchinit._core.table import printable
from torchinit.cli._arguments import Commands, add_json, add_key, add_plot, add_seed, add_table
from torchinit.cli._files import read
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_plot, save_plot
from torchinit.cli._readers import listed
from torchinit.cli._recordings import recipe_or_recording
from torchinit.diagnostics import Statistics, plot_statistics, statistics
from torchinit.diagnostics._histograms import MAX_PANELS, ORDER
from torchinit.diagnostics._preview import preview
from torchinit.recipes import Recipe
from torchinit.recording import Recording


def _plot(
    arguments: argparse.Namespace,
    output: Output,
    model: nn.Module | dict[str, Tensor],
    rows: Statistics,
    recipe: Recipe | Recording | None,
) -> None:
    others = None
    if recipe is not None:
        others = preview(model, recipe, torch.Generator().manual_seed(arguments.seed))
        kept = sum(row.name not in others for row in rows)
        if kept:
            output.note(
                f"no curve is drawn for {kept} of {len(rows)} parameters;"
                f" {arguments.recipe} keeps them or has no rule for them"
            )
    title, label = Path(arguments.file).name, f"recipe {arguments.recipe}"
    with output.progress() as progress:
        figure = plot_statistics(rows.tensors, rows, others, title, label, progress.step)
    save_plot(arguments, figure)
    output.written(arguments.plot)
    if len(rows) > MAX_PANELS:
        output.note(f"{arguments.plot} shows {MAX_PANELS} of {len(rows)} parameters; {ORDER}")


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace, output: Output) -> int:
    if arguments.check:
        arguments.failed = 2
    if arguments.plot is not None:
        check_plot(arguments)
    elif arguments.recipe is not None:
        parser.error("--recipe needs --plot OUT")
    recipe = None if arguments.recipe is None else recipe_or_recording(arguments.recipe)
    with output.progress() as progress:
        progress.begin("reading", arguments.file)
        model = read(arguments.file, arguments.key)
        rows = statistics(model, progress.step)
    if arguments.plot is not None:
        _plot(arguments, output, model, rows, recipe)
    output.show(rows)
    if not rows:
        # torch.jit.freeze removes this attribute.
        frozen = isinstance(model, torch.jit.ScriptModule) and not hasattr(model, "training")
        why = "; torch.jit.freeze has made them constants of its code" if frozen else ""
        if arguments.check:
            raise RuntimeError(
                f"--check needs a file with parameters, got {printable(arguments.file)} without any{why}"
            )
        output.note(f"{printable(arguments.file)} holds no parameters{why}")
    if not arguments.check:
        return 0
    marked = [row.name for row in rows if row.bad]
    output.note(f"{len(marked)} of {len(rows)} parameters are marked{': ' if marked else ''}{listed(marked)}")
    return int(bool(marked))


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "inspect",
        help="show statistics of the parameters of a file, and which initialization they have",
        description="Show mean, std and more of each parameter of FILE, and which distribution and which known"
        " initialization it has. FILE is a TorchScript archive, a checkpoint or a state dict that torch.save wrote,"
        " safetensors, an archive of torch.export, or a directory or an index of shards as transformers writes it. A"
        " parameter is marked for what no sound initialization gives, such as copied or dead rows, outliers or a scale"
        " that blows up the signal. In a file without modules, a transposed or grouped convolution looks like any"
        " other, and its fans are counted as such. Integers are shown"
        " and never marked; quantized tensors are measured by the values that they stand for.",
    )
    parser.add_argument(
        "file", metavar="FILE", help="the file or directory to read; of its code, only TorchScript's is run"
    )
    add_key(parser)
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a parameter is marked, and with 2 if there is an error"
    )
    add_table(parser, bad=True)
    add_json(parser, "print JSON, one object a parameter, with all digits")
    add_plot(parser, "draw a histogram of each parameter")
    parser.add_argument(
        "--recipe", metavar="R", help="also draw what this recipe would do: a name, a TOML file or a .init file"
    )
    add_seed(parser, "seed of the recipe's draws (default: 0)")
    parser.set_defaults(run=partial(_run, parser))
