"""``inspect``: show statistics of the parameters of a file, and which known initialization they are like."""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from torchinit._core.table import printable
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


def run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.check:
        arguments.failed = 2
    if arguments.plot is not None:
        check_plot(arguments)
    elif arguments.recipe is not None:
        arguments.usage_error("--recipe needs --plot OUT")
    recipe = None if arguments.recipe is None else recipe_or_recording(arguments.recipe)
    with output.progress() as progress:
        progress.begin("reading", arguments.file)
        model = read(arguments.file, arguments.key)
        rows = statistics(model, progress.step)
    # torch.jit.freeze removes this attribute.
    frozen = isinstance(model, torch.jit.ScriptModule) and not hasattr(model, "training")
    why = "; torch.jit.freeze has made them constants of its code" if frozen else ""
    needs = f"needs a file with parameters, got {printable(arguments.file)} without any{why}"
    if arguments.plot is not None:
        if not rows:
            raise RuntimeError(f"--plot {needs}")
        _plot(arguments, output, model, rows, recipe)
    output.show(rows)
    if not rows:
        if arguments.check:
            raise RuntimeError(f"--check {needs}")
        output.note(f"{printable(arguments.file)} holds no parameters{why}")
    if not arguments.check:
        return 0
    marked = [row.name for row in rows if row.bad]
    output.note(f"{len(marked)} of {len(rows)} parameters are marked{': ' if marked else ''}{listed(marked)}")
    return int(bool(marked))
