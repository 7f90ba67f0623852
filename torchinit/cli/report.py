"""``report``: write a page about how a model is initialized."""

import argparse
import os
import sys
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from torchinit._core.table import first_line, printable
from torchinit.cli._files import read
from torchinit.cli._inputs import read_input
from torchinit.cli._models import recording_of
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_output, is_same_file, save
from torchinit.cli._progress import Progress
from torchinit.cli._recordings import is_recording, recipe_or_recording
from torchinit.diagnostics import Report, report
from torchinit.diagnostics._parameters import module_of
from torchinit.recipes import Recipe
from torchinit.recording import Recording, load

_Model: TypeAlias = nn.Module | dict[str, Tensor]


def _built(arguments: argparse.Namespace, recording: Recording, generator: torch.Generator) -> _Model:
    """Build a recorded model; of a recording's file, which has no modules, its parameters."""
    device = "meta" if arguments.meta else "cpu"
    if not is_recording(arguments.model):
        return recording.build(device, generator=generator)
    entries = [x for x in recording.program.entries if x.kind == "parameter" and x.tied is None]
    empty = {x.name: nn.Parameter(torch.empty(x.ref.size, dtype=x.ref.dtype, device=device), False) for x in entries}
    return dict(recording.materialize_(module_of(empty), generator=generator, strict=False).named_parameters())


def _check_memory(model: str, recording: Recording) -> None:
    """Fail if a model does not fit into the memory of this machine."""
    needed = sum(recording.program.nbytes[n] for n in {entry.ref.storage for entry in recording.program.entries})
    if not hasattr(os, "sysconf"):
        # Windows does not say.
        return
    has = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > has:
        raise RuntimeError(
            f"{printable(model)} must fit into memory, got {needed / 1e9:.3g} GB of parameters and {has / 1e9:.3g} GB of"
            " memory; --meta shows what is meant without building it"
        )


def _model(arguments: argparse.Namespace, generator: torch.Generator) -> tuple[_Model, Recording | None]:
    """Read a model from a file, or build one and record how."""
    values: dict[str, Any] = dict(arguments.values)
    is_file = os.path.exists(arguments.model) or ":" not in arguments.model
    if is_file and not is_recording(arguments.model):
        if values or arguments.meta:
            what = f"arguments, got {', '.join(values)}" if values else "--meta, got it"
            raise RuntimeError(f"a file takes no {what} for {printable(arguments.model)}")
        return read(arguments.model, arguments.key), None
    if arguments.key is not None:
        raise RuntimeError(f"--key chooses among the state dicts of a checkpoint, got {printable(arguments.model)}")
    recording = recording_of(arguments.model, values)
    if not arguments.meta:
        _check_memory(arguments.model, recording)
    return _built(arguments, recording, generator), recording


def run(arguments: argparse.Namespace, output: Output) -> None:
    check_output(arguments.output, arguments.force)
    if is_same_file(arguments.output, arguments.model):
        raise RuntimeError(f"-o must name another file than the input, got {printable(arguments.output)}")
    given = None if arguments.recipe is None else recipe_or_recording(arguments.recipe, dict(arguments.set))
    recorded = None if arguments.recording is None else load(arguments.recording)
    generator = torch.Generator().manual_seed(arguments.seed)
    # The output of a command is its result alone.
    with output.progress(1) as progress, redirect_stdout(sys.stderr):
        progress.begin("reading", arguments.model)
        model, own = _model(arguments, generator)
        inputs = None
        if arguments.input is not None:
            if not isinstance(model, nn.Module):
                raise RuntimeError(
                    f"--input needs a file with a module, got {printable(arguments.model)}, a state dict"
                )
            inputs = [read_input(text, model, generator) for text in arguments.input]
        made = _report(arguments, model, given, recorded or own, inputs, generator, progress)
    save(arguments.output, made.html.encode(), arguments.force)
    output.paragraph(made.summary, indent=0)
    output.written(arguments.output)


def _title(arguments: argparse.Namespace) -> str:
    """Name a file without its folders, and a model with its arguments."""
    if os.path.exists(arguments.model):
        return Path(arguments.model).resolve().name
    return " ".join([arguments.model, *(f"{name}={value}" for name, value in arguments.values)])


def _report(
    arguments: argparse.Namespace,
    model: _Model,
    given: Recipe | Recording | None,
    recording: Recording | None,
    inputs: list[Tensor] | None,
    generator: torch.Generator,
    progress: Progress,
) -> Report:
    try:
        return report(
            model,
            given if isinstance(given, Recipe) else None,
            given if isinstance(given, Recording) else recording,
            inputs,
            title=_title(arguments),
            generator=generator,
            measure_time=arguments.time,
            date=date.today().isoformat() if arguments.date else "",
            progress=progress.step,
        )
    except ValueError as error:
        raise RuntimeError(first_line(str(error))) from None
