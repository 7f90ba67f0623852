"""Use a recording where a command takes a recipe."""

import argparse
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from torchinit._core.table import first_line, printable
from torchinit._core.writes import Done, ignore
from torchinit.recipes import Recipe, load as load_recipe
from torchinit.recording import Recording, load
from torchinit.recording._targets import match, named_tensors, present

SUFFIX = ".init"


def is_recording(path: str) -> bool:
    """True for the name of a recording's file."""
    return path.lower().endswith(SUFFIX)


def recipe_or_recording(name: str, constants: Mapping[str, float | str] | None = None) -> Recipe | Recording:
    """Load a recipe by its name or from its file, with its constants, or a recording from its file.

    Raises:
        RuntimeError: if there are constants for a recording
    """
    if not is_recording(name):
        return load_recipe(name, **(constants or {}))
    if constants:
        raise RuntimeError(f"--set goes with a recipe, got the recording {printable(name)}")
    return load(name)


def recipe_of(arguments: argparse.Namespace) -> Recipe | Recording:
    """Load the recipe of ``--recipe``, keeping the parameters of ``--keep``; or a recording, which fills all."""
    recipe = recipe_or_recording(arguments.recipe, dict(arguments.set))
    if not arguments.keep:
        return recipe
    if isinstance(recipe, Recording):
        raise RuntimeError(f"--keep goes with a recipe, got the recording {printable(arguments.recipe)}")
    return recipe.keeping(*arguments.keep)


def fill(
    recipe: Recipe | Recording,
    module: nn.Module,
    generator: torch.Generator | None,
    key: Tensor | None,
    done: Done = ignore,
) -> None:
    """Initialize a module, and call ``done`` with the name of each tensor and itself after it is written."""
    if isinstance(recipe, Recording):
        recipe._filled(module, [], generator=generator, key=key, done=done)
    else:
        recipe._apply(module, generator, key, done=done)


def fitted(recording: Recording, module: nn.Module) -> Recording:
    """Return a recording without the buffers that a module lacks, because tracing may make them constants.

    Raises:
        RuntimeError: if the names or shapes of the module's tensors are not the recorded ones
    """
    entries = present(recording.program.entries, named_tensors(module))
    try:
        match(entries, module, strict=True)
    except ValueError as error:
        raise RuntimeError(first_line(str(error))) from None
    return Recording(replace(recording.program, entries=entries))
