"""What a recipe or a recording would draw for a model, computed on a copy."""

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchinit._core.table import first_line
from torchinit.diagnostics._parameters import module_of
from torchinit.recipes import Recipe, Rule
from torchinit.recipes._layers import storage_key
from torchinit.recording import Recording


def preview(
    model: nn.Module | Mapping[str, Any], recipe: Recipe | Recording, generator: torch.Generator
) -> dict[str, Tensor]:
    """Initialize a copy of a model, and return by name the parameters that the recipe or the recording fills.

    Raises:
        RecipeError: if a rule does not fit a parameter
        RuntimeError: if a shape is not the recorded one
    """
    other = copy.deepcopy(model) if isinstance(model, nn.Module) else copy.deepcopy(module_of(model))
    return _recorded(other, recipe, generator) if isinstance(recipe, Recording) else _drawn(other, recipe, generator)


def _recorded(model: nn.Module, recording: Recording, generator: torch.Generator) -> dict[str, Tensor]:
    try:
        recording.materialize_(model, generator=generator, strict=False)
    except ValueError as error:
        raise RuntimeError(first_line(str(error))) from None
    known = {entry.name for entry in recording.program.entries}
    return {name: x for name, x in model.named_parameters(remove_duplicate=False) if name in known}


def with_rest_kept(recipe: Recipe) -> Recipe:
    """Let a recipe keep what no rule matches, as a file without modules has no types for rules to match."""
    rest = Rule("keep", optional=True)
    return recipe if any(rule.shadows(rest) for rule in recipe.rules) else recipe.with_rules([*recipe.rules, rest])


def _drawn(model: nn.Module, recipe: Recipe, generator: torch.Generator) -> dict[str, Tensor]:
    recipe = with_rest_kept(recipe)
    recipe.apply_(model, generator=generator)
    after = dict(model.named_parameters(remove_duplicate=False))
    with warnings.catch_warnings():
        # apply_ gave the same warnings.
        warnings.simplefilter("ignore")
        steps = recipe.plan(model).steps
    written = {storage_key(tensor) for step in steps for _, tensor, _ in step.written()}
    return {name: parameter for name, parameter in after.items() if storage_key(parameter) in written}
