"""Open a model in a file of any kind for a recipe or a recording, and plan what that does to it."""

import argparse
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from torchinit._core.attached import refuse_frozen
from torchinit._core.table import printable
from torchinit.cli._files import SCRIPT, find, load_script, read_tensors
from torchinit.cli._layer_types import FileModule, LayersError, chosen, kept_weights, of_recording, unsaid
from torchinit.cli._models import recording_of_words
from torchinit.cli._output import Output
from torchinit.cli._readers import PathLike, listed
from torchinit.cli._recordings import fitted, is_recording
from torchinit.diagnostics._quantized import unlisted
from torchinit.recipes import Recipe, RecipeError
from torchinit.recipes._plan import Plan
from torchinit.recording import Recording

_LIKE = "--like names them (package.module:factory, timm:NAME, hf:TYPE or a .init file)"


@dataclass(frozen=True)
class Opened:
    """A model in a file.

    Args:
        path: the file, or the index of its shards
        kind: what the file is
        model: its module
        layers: builds the module that has the types of its layers; None if names and shapes tell them
        kept: names of tensors that stay as they are
    """

    path: PathLike
    kind: str
    model: FileModule
    layers: Callable[[], nn.Module] | None = None
    kept: Collection[str] = ()


def _layers(like: str | None, recipe: Recipe | Recording, output: Output) -> Callable[[], nn.Module] | None:
    """Return what builds a module with the layers that ``--like`` names, or else a recording has."""
    if like is None:
        return cache(partial(of_recording, recipe)) if isinstance(recipe, Recording) else None
    recording = recording_of_words(like)
    if not is_recording(like):
        return cache(lambda: recording.build(device="meta"))
    kinds = [] if isinstance(recipe, Recording) else unsaid(recording)
    if kinds:
        output.warning(
            f"{printable(like)} does not say padding_idx, groups and other settings of {listed(kinds)}, which count as"
            " torch's defaults; --like with the model's code does"
        )
    return cache(partial(of_recording, recording))


def _check_kept(names: Collection[str], drawn: bool, file: str, output: Output) -> None:
    """Warn of quantized weights, and refuse a model that has no others."""
    if names and not drawn:
        raise RuntimeError(
            "a model must have floating-point parameters, which are initialized before it is quantized, got"
            f" {printable(file)} with quantized weights: {listed(names)}"
        )
    if names:
        output.warning(f"quantized weights stay as they are: {listed(names)}")


def _refuse_like(like: str | None, file: str) -> None:
    if like is not None:
        raise RuntimeError(f"--like goes with a file without layers, got {printable(file)}, {SCRIPT}")


def _with_layers(
    tensors: Mapping[str, Tensor],
    kept: Collection[str],
    layers: Callable[[], nn.Module] | None,
    file: str,
    option: str,
    named: str,
) -> FileModule:
    """Build the module of a file's tensors; ``option`` names the model, for errors."""
    try:
        return chosen(tensors, kept, layers)
    except LayersError as error:
        raise RuntimeError(
            f"{option} must name a model with the tensors of {printable(file)}, got {printable(named)}, {error}"
        ) from None


def check_script(module: torch.jit.ScriptModule, file: str, output: Output) -> None:
    """Refuse a frozen or quantized module, and warn of quantized weights beside others.

    Raises:
        RuntimeError: if nothing in the module can be initialized
    """
    drawn = any(p.is_floating_point() or p.is_complex() for p in module.parameters())
    _check_kept(list(unlisted(module)), drawn, file, output)
    if not any(True for _ in module.buffers()):
        refuse_frozen(module)


def open_model(arguments: argparse.Namespace, recipe: Recipe | Recording, output: Output) -> Opened:
    """Read the model of ``FILE``, with the layers of ``--like``.

    Raises:
        RuntimeError: if there is no model that a recipe can initialize, or its tensors are not those of ``--like``
        OSError: if a file cannot be read
    """
    file, like = arguments.file, arguments.like
    path, kind = find(file, arguments.key)
    if kind == SCRIPT:
        _refuse_like(like, file)
        module = load_script(path)
        check_script(module, file, output)
        return Opened(path, kind, FileModule(module, typed=True))
    held, tensors = read_tensors(path, kind, arguments.key)
    if not tensors:
        raise RuntimeError(f"a model must have tensors to initialize, got {printable(file)} without any")
    kept = kept_weights(tensors)
    # Packed values are no tensors of the file.
    tensors = {name: tensor for name, tensor in tensors.items() if held.get(name) is tensor}
    _check_kept(kept, bool(tensors.keys() - kept), file, output)
    layers = _layers(like, recipe, output)
    option, named = ("--recipe", arguments.recipe) if like is None else ("--like", like)
    return Opened(path, kind, _with_layers(tensors, kept, layers, file, option, named), layers, kept)


def open_program(arguments: argparse.Namespace) -> nn.Module:
    """Read a model that can be run: TorchScript, or the code of ``--like`` with the weights of ``FILE``.

    Raises:
        RuntimeError: if there is no code to run, or its tensors are not those of the file
        OSError: if a file cannot be read
    """
    file, like = arguments.file, arguments.like
    path, kind = find(file, arguments.key)
    if kind == SCRIPT:
        _refuse_like(like, file)
        return load_script(path)
    if like is None or is_recording(like):
        kind = "a directory" if os.path.isdir(file) else kind
        named = f"{printable(file)}, {kind}" if like is None else printable(like)
        raise RuntimeError(
            f"a probe runs a model's code, which --like names (package.module:factory, timm:NAME or hf:TYPE), got {named}"
        )
    model = recording_of_words(like).build(seed=0)
    _, tensors = read_tensors(path, kind, arguments.key)
    return _with_layers(tensors, kept_weights(tensors), lambda: model, file, "--like", like).module


def planned(
    recipe: Recipe | Recording, model: FileModule, file: str, output: Output
) -> tuple[Recipe | Recording, Plan | Recording]:
    """Fit a recipe or a recording to a model, and plan what it does.

    Warn once of the rules that go by the types of layers, if the file does not say them.

    Raises:
        RecipeError: if a parameter has no rule, or a rule does not fit a parameter
        RuntimeError: if the recording is of another model
    """
    if isinstance(recipe, Recording):
        recipe = fitted(recipe, model.module)
        return recipe, recipe
    if model.typed:
        return recipe, recipe.plan(model.module)
    by_type = [str(number) for number, rule in enumerate(recipe.rules, 1) if rule.module]
    recipe = recipe.with_rules([replace(rule, optional=True) if rule.module else rule for rule in recipe.rules])
    try:
        plan = recipe.plan(model.module)
    except RecipeError as error:
        raise RecipeError(f"{printable(file)} does not say the types of its layers; {_LIKE}: {error}") from None
    if by_type:
        rules = f"rule{'s' * (len(by_type) > 1)} {listed(by_type)}"
        output.warning(f"{printable(file)} does not say the types of its layers, by which {rules} would go; {_LIKE}")
    return recipe, plan
