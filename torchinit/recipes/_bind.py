"""What the globs of rules match in a model."""

from collections.abc import Sequence

from torch import nn

from torchinit.recipes._layers import walk
from torchinit.recipes._roles import role_of
from torchinit.recipes._rule import Rule


def bind(rules: Sequence[Rule], module: nn.Module) -> Sequence[Rule]:
    """Count what ``{layer}`` matches in a model, and find the last of ``{last}``, for the rules that have them."""
    if not any(rule.counts for rule in rules):
        return rules
    parameters = [
        (layer.kinds, layer.names(name), parameter.dim(), role_of(layer, name, parameter.dim()))
        for layer in walk(module)
        for name, parameter in layer.parameters()
    ]
    return [rule.in_model(parameters) for rule in rules]
