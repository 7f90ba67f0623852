"""What a recipe would draw for a model, computed on a copy."""

import copy
import warnings

import torch
from torch import Tensor, nn

from torchinit.recipes import Recipe, Rule
from torchinit.recipes._layers import storage_key


def with_rest_kept(recipe: Recipe) -> Recipe:
    """Return a recipe that keeps what it has no rule for: a file without modules has no types for rules to match."""
    rest = Rule("keep", optional=True)
    is_whole = any(rule.shadows(rest) for rule in recipe.rules)
    return recipe if is_whole else recipe.with_rules([*recipe.rules, rest])


def preview(model: nn.Module, recipe: Recipe, generator: torch.Generator) -> dict[str, Tensor]:
    """Initialize a copy of a model by a recipe, and return by name the parameters that it has a rule for."""
    other = copy.deepcopy(model)
    recipe = with_rest_kept(recipe)
    recipe.apply_(other, generator=generator)
    after = dict(other.named_parameters(remove_duplicate=False))
    with warnings.catch_warnings():
        # apply_ gave the same warnings.
        warnings.simplefilter("ignore")
        steps = recipe.plan(other).steps
    written = {storage_key(tensor) for step in steps for _, tensor, _ in step.written()}
    return {name: parameter for name, parameter in after.items() if storage_key(parameter) in written}
