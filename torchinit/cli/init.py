"""``init``: re-initialize a saved model."""

import argparse
from functools import partial

import torch

from torchinit._core.table import printable
from torchinit.cli._archive import output_extras, serialize
from torchinit.cli._files import JSON, SAFETENSORS, SCRIPT
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_output, save
from torchinit.cli._progress import Progress
from torchinit.cli._recordings import fill as fill_module, recipe_of
from torchinit.cli._rewrite import SUFFIXES, Fill, check_targets, may_be_directory, rewrite_tensors
from torchinit.cli._suffixes import choices, has_suffix
from torchinit.cli._weights import Opened, open_model, planned
from torchinit.keyed import key


def _write_script(arguments: argparse.Namespace, opened: Opened, fill: Fill, progress: Progress) -> None:
    """Initialize a TorchScript module, and write it."""
    module, extras = opened.model.module, output_extras(opened.path, arguments.output)
    assert isinstance(module, torch.jit.ScriptModule)
    progress.step("initializing", arguments.file)
    fill(module)
    progress.step("writing", arguments.output)
    save(arguments.output, serialize(module, extras), arguments.force)


def run(arguments: argparse.Namespace, output: Output) -> None:
    out, force = arguments.output, arguments.force
    if not may_be_directory(arguments.file):
        if not has_suffix(out, SUFFIXES):
            arguments.usage_error(
                f"argument -o/--output: the name of a model must end in {choices(SUFFIXES)}, got {out!r}"
            )
        check_output(out, force)
    recipe = recipe_of(arguments)
    with output.progress(3) as progress:
        progress.step("reading", arguments.file)
        opened = open_model(arguments, recipe, output)
        targets = check_targets(opened, out, force)
        recipe, _ = planned(recipe, opened.model, arguments.file, output)
        if opened.kind in (SAFETENSORS, JSON) and opened.layers is None and not arguments.keyed:
            output.warning(
                f"the draws follow the order of the names in {printable(arguments.file)}, which need not be the model's;"
                " --like gives the model's order, and --keyed needs none"
            )
        drawn = key(arguments.seed) if arguments.keyed else None
        generator = None if arguments.keyed else torch.Generator().manual_seed(arguments.seed)
        fill = partial(fill_module, recipe, generator=generator, key=drawn)
        if opened.kind == SCRIPT:
            _write_script(arguments, opened, fill, progress)
        else:
            rewrite_tensors(opened, targets, out, arguments.key, fill, progress)
    output.written(out, () if opened.kind == SCRIPT else targets.values())
