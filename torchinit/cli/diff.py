"""``diff``: compare two models, or what fills them."""

import argparse
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from torchinit import recording
from torchinit._core.table import printable
from torchinit.cli._files import read
from torchinit.cli._layer_types import of_recording
from torchinit.cli._models import recording_of_words
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_plot, save_plot
from torchinit.cli._recordings import is_recording
from torchinit.diagnostics import compare
from torchinit.diagnostics._pairs import NOT_COMPARED
from torchinit.diagnostics._sides import planned
from torchinit.recipes import Plan, Recipe, load as load_recipe
from torchinit.recipes._shipped import SHIPPED
from torchinit.recording import Recording

_Operand: TypeAlias = torch.nn.Module | dict[str, Tensor] | Recording | Recipe


def _operand(words: str, key: str | None) -> _Operand:
    """Read what one word of the command line names."""
    if is_recording(words):
        return recording.load(words)
    if words.lower().endswith(".toml") or (words in SHIPPED and not os.path.exists(words)):
        return load_recipe(words)
    if os.path.exists(words):
        return read(words, key)
    if ":" in words or not words:
        return recording_of_words(words)
    if os.path.splitext(words)[1] or os.sep in words:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), words)
    return load_recipe(words)


def _both(arguments: argparse.Namespace, output: Output) -> Sequence[_Operand | Plan]:
    """Read both sides; two recipes are planned for a third model."""
    pair: list[_Operand] = []
    with output.progress(2) as progress:
        for words, key in ((arguments.a, arguments.key_a), (arguments.b, arguments.key_b)):
            progress.step("reading", words)
            pair.append(_operand(words, key))
    models = [each for each in pair if not isinstance(each, Recipe)]
    if len(models) == 2:
        return pair
    if models:
        model: _Operand = models[0]
    elif arguments.model is None:
        raise RuntimeError("two recipes are compared by what they do to a model, got none; add --model MODEL")
    else:
        model = _operand(arguments.model, None)
    if isinstance(model, Recipe):
        raise RuntimeError(f"--model must name a model, got the recipe {arguments.model}")
    if isinstance(model, Recording) and model._skeleton is None:
        # A recording's file has the types of layers, without modules.
        model = of_recording(model)
    return [planned(each, model) if isinstance(each, Recipe) else each for each in pair]


def run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.plot is not None:
        for words in (arguments.a, arguments.b):
            arguments.file = words
            check_plot(arguments)
    a, b = _both(arguments, output)
    if isinstance(a, Recording) and isinstance(b, Recording) and arguments.plot is None:
        differences = recording.diff(a, b)
        output.show(differences)
        return int(bool(differences))
    with output.progress() as progress:
        found = compare(a, b, any_seed=arguments.any_seed, progress=progress.step)
    if found.counts and found.counts.keys() == {NOT_COMPARED}:
        raise RuntimeError(
            "A and B must have values or laws to compare, got tensors without values, or a recipe whose rules match none"
        )
    if arguments.plot is not None and not found.drawn:
        output.note(f"{printable(arguments.plot)} is not written, because no tensor differs that has values to draw")
    elif arguments.plot is not None:
        labels = f"A: {Path(arguments.a).name}", f"B: {Path(arguments.b).name}"
        save_plot(arguments, found.plot("What differs", labels=labels))
        output.written(arguments.plot)
    output.show(found)
    return int(bool(found))
