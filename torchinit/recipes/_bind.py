"""Binds the globs of rules to a model: how many layers ``{layer}`` has, and which one ``{last}`` is."""

from collections.abc import Sequence

from torchinit.recipes._layers import Layer
from torchinit.recipes._roles import role_of
from torchinit.recipes._rule import Rule


def bind(rules: Sequence[Rule], layers: Sequence[Layer]) -> Sequence[Rule]:
    """Count what ``{layer}`` matches in a model, and find the last of ``{last}``, for the rules that have them."""
    if not any(rule.counts for rule in rules):
        return rules
    parameters = [
        (layer.kinds, layer.names(name), parameter.dim(), role_of(layer, name, parameter.dim()))
        for layer in layers
        for name, parameter in layer.parameters()
    ]
    buffers = [
        (layer.kinds, layer.names(name), buffer.dim(), "buffer")
        for layer in layers
        for name, buffer in layer.module._buffers.items()
        if buffer is not None
    ]
    return [rule.in_model([*parameters, *buffers]) for rule in rules]
