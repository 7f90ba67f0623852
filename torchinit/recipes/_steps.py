"""Orders the writes of a recipe: which fills each parameter gets."""

import math
from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchinit._core.checks import check_partitioned
from torchinit._core.registry import INITIALIZERS
from torchinit.recipes._defaults import STATISTICS, default_fills, padding_fills, parent_fills
from torchinit.recipes._fill import Fill, block_shape, call, resolve, scale_residual
from torchinit.recipes._layers import Layer, upstream_fans
from torchinit.recipes._match import Match
from torchinit.recipes._rule import DEFAULT, Rule


@dataclass(frozen=True)
class Step:
    """The fills of one parameter or buffer, in order; without a key, a clone copies ``source`` instead.

    ``plain`` is the target's name without wrappers, from which its key is made.
    """

    target: str
    plain: str
    tensor: Tensor
    fills: tuple[Fill, ...] = ()
    source: str | None = None


def make_steps(found: Match) -> list[Step]:
    """Order the writes of each layer: its own parameters, then those of its children, then its buffers."""
    counts = Counter(map(id, found.rules.values()))
    steps: list[Step] = []
    for matched in found.layers:
        layer = matched.layer
        for name, tensor in (*matched.parameters, *matched.buffers):
            qualified = layer.qualified(name)
            rule = found.writer(qualified)
            if rule is not None and qualified not in found.tied:
                fills = _fills(rule, layer, name, tensor, counts[id(rule)])
                source = _clone_source(found, layer, name, tensor) if rule.initializer == DEFAULT else None
                if fills or source is not None:
                    steps.append(Step(qualified, layer.plain_name(name), tensor, tuple(fills), source))
        for name, fill in parent_fills(layer):
            qualified = layer.qualified(name)
            rule = found.writer(qualified)
            if rule is not None and qualified not in found.tied and rule.initializer == DEFAULT:
                steps.append(Step(qualified, layer.plain_name(name), found.tensors[qualified], (fill,)))
        for name, buffer in matched.statistics:
            steps.append(Step(layer.qualified(name), layer.plain_name(name), buffer, (STATISTICS[name],)))
    return steps


def _clone_source(found: Match, layer: Layer, name: str, parameter: Tensor) -> str | None:
    """Return the name of the parameter that this one clones, if that one draws its default and has the same shape."""
    if layer.source is None:
        return None
    source = f"{layer.source}.{name}"
    source = found.tied.get(source, source)
    rule = found.writer(source)
    if rule is None or rule.initializer != DEFAULT:
        return None
    other = found.tensors[source]
    return source if other.shape == parameter.shape and other.is_meta == parameter.is_meta else None


def _fills(rule: Rule, layer: Layer, name: str, parameter: Tensor, count: int) -> list[Fill]:
    """Resolve the fills of a parameter by its rule, which matches ``count`` parameters in the model."""
    if parameter.numel() == 0:
        check_partitioned(parameter)
        return []
    padding = padding_fills(layer) if name == "weight" else []
    if rule.initializer == DEFAULT:
        return [*(default_fills(layer, name, parameter) or []), *padding]
    qualified, shape = layer.qualified(name), list(parameter.shape)
    fills = []
    for block in _blocks(rule, qualified, shape):
        fill = _fill(rule, layer, qualified, block_shape(shape, block))
        if rule.residual:
            # Bounds that the initializer derives from the std shrink with it.
            fill = scale_residual(fill, math.sqrt(count), with_bounds=rule.initializer != fill.initializer)
        fills.append(replace(fill, block=block))
    return [*fills, *padding]


def _blocks(rule: Rule, name: str, shape: list[int]) -> list[tuple[int, int, int] | None]:
    """Return dimension, start and length of each block of a packed parameter."""
    if rule.blocks is None:
        return [None]
    if not -len(shape) <= rule.dim < len(shape):
        raise rule.error(f"dim must be a dimension of {name}, of shape {shape}, got {rule.dim}")
    dim = rule.dim % len(shape)
    if not isinstance(rule.blocks, int):
        sizes = list(rule.blocks)
    else:
        sizes = [shape[dim] // rule.blocks] * rule.blocks if shape[dim] % rule.blocks == 0 else []
    if sum(sizes) != shape[dim]:
        blocks = rule.blocks if isinstance(rule.blocks, int) else sizes
        raise rule.error(f"blocks must fill dimension {dim} of {name}, of shape {shape}, got {blocks}")
    return [(dim, sum(sizes[:index]), size) for index, size in enumerate(sizes)]


def _fill(rule: Rule, layer: Layer, name: str, shape: list[int]) -> Fill:
    """Resolve a rule for a parameter, or a block, of this shape."""
    fans = layer.fans(shape) if rule.fans == "layer" else upstream_fans(shape)
    if fans is None and INITIALIZERS[rule.initializer].needs_fans:
        raise rule.error(f"{rule.initializer} needs fans, so at least 2 dimensions, got {name} of shape {shape}")
    fill = resolve(rule.initializer, rule.values(name, shape, fans), fans)
    if fill.entry.structured:
        try:
            # On the meta device the initializer only checks the shape.
            call(torch.empty(shape, device="meta"), fill, None)
        except ValueError as error:
            raise rule.error(f"{rule.initializer} of {name}: {error}") from None
    return fill
