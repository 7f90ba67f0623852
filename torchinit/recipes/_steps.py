"""Orders the writes of a recipe: which fills each parameter gets."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchinit._core.checks import check_partitioned
from torchinit._core.registry import INITIALIZERS
from torchinit.recipes._blocks import Block, block_shape, cut
from torchinit.recipes._defaults import STATISTICS, default_fills, padding_fills, parent_fills
from torchinit.recipes._fill import Fill, call, resolve, scale_residual
from torchinit.recipes._layers import Layer, upstream_fans
from torchinit.recipes._match import Match
from torchinit.recipes._parametrized import Parametrized
from torchinit.recipes._rule import DEFAULT, RecipeError, Rule


@dataclass(frozen=True)
class Step:
    """The fills of one parameter or buffer, in order; without a key, a clone copies ``source`` instead.

    ``plain`` is the target's name without wrappers, from which its key is made.
    A step with ``through`` writes an effective weight to the originals: that of ``source`` if it is tied to one.
    """

    target: str
    plain: str
    tensor: Tensor
    fills: tuple[Fill, ...] = ()
    source: str | None = None
    through: Parametrized | None = None

    def written(self) -> list[tuple[str, Tensor, tuple[Fill, ...]]]:
        """Return the tensors of the model that the step writes, with their names and fills."""
        if self.through is None:
            return [(self.target, self.tensor, self.fills)]
        return [(name, original, ()) for name, original in self.through.originals.items()]


def make_steps(found: Match) -> list[Step]:
    """Order the writes of each layer: its own parameters, then those of its children, then its buffers."""
    counts = Counter(map(id, found.rules.values()))
    # By layer, in the order in which the parametrizations were registered.
    weights: dict[str, list[Parametrized]] = {}
    effective: dict[str, str] = {}
    for through in found.parametrized.values():
        weights.setdefault(through.layer.path, []).append(through)
        effective[list(through.originals)[-1]] = through.name
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
            qualified = effective.get(layer.qualified(name), layer.qualified(name))
            rule = found.writer(qualified)
            if rule is not None and qualified not in found.tied and rule.initializer == DEFAULT:
                steps.append(Step(qualified, found.plain[qualified], found.tensors[qualified], (fill,)))
                steps += _stores(found, [found.parametrized[qualified]] if qualified in found.parametrized else [])
        steps += _stores(found, weights.get(layer.path, []))
        for name, buffer in matched.statistics:
            steps.append(Step(layer.qualified(name), layer.plain_name(name), buffer, (STATISTICS[name],)))
    last = {step.target: number for number, step in enumerate(steps) if step.through is not None}
    return [step for number, step in enumerate(steps) if step.through is None or last[step.target] == number]


def _stores(found: Match, weights: Sequence[Parametrized]) -> Iterator[Step]:
    """Yield the steps that store a layer's effective weights, after all that its construction draws."""
    for through in weights:
        rule, owner = found.writer(through.name), found.tied.get(through.name)
        if rule is None or through.weight.numel() == 0:
            continue
        # A module that stands in two places has one weight.
        if owner not in found.parametrized or found.parametrized[owner].layer.module is not through.layer.module:
            through.rule = rule
            yield Step(through.name, found.plain[through.name], through.weight, (), owner, through)


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
    _check_matrices(rule, qualified, shape)
    fills = []
    for block in _blocks(rule, qualified, shape):
        fill = _fill(rule, layer, qualified, block_shape(shape, block), parameter.is_complex())
        if rule.residual:
            # Bounds that the initializer derives from the std shrink with it.
            fill = scale_residual(fill, math.sqrt(count), with_bounds=rule.initializer != fill.initializer)
        fills.append(replace(fill, block=block))
    return [*fills, *padding]


def _blocks(rule: Rule, name: str, shape: list[int]) -> list[Block | None]:
    """Cut a packed parameter into its blocks."""
    if rule.blocks is None:
        return [None]
    if not -len(shape) <= rule.dim < len(shape):
        raise rule.error(f"dim must be a dimension of {name}, of shape {shape}, got {rule.dim}")
    dim = rule.dim % len(shape)
    if dim < rule.batch_dims:
        raise rule.error(
            f"dim must come after the {rule.batch_dims} batch dimensions of {name}, of shape {shape}, got {rule.dim}"
        )
    if not isinstance(rule.blocks, int):
        sizes = list(rule.blocks)
    else:
        sizes = [shape[dim] // rule.blocks] * rule.blocks if shape[dim] % rule.blocks == 0 else []
    if rule.repeat and shape[dim] % sum(sizes) == 0:
        return [*cut(sizes, dim, shape[dim] // sum(sizes))]
    if sum(sizes) != shape[dim]:
        blocks = rule.blocks if isinstance(rule.blocks, int) else sizes
        how = "repeat to " if rule.repeat else ""
        raise rule.error(f"blocks must {how}fill dimension {dim} of {name}, of shape {shape}, got {blocks}")
    return [*cut(sizes, dim)]


def _check_matrices(rule: Rule, name: str, shape: list[int]) -> None:
    """Raise if a parameter has too few dimensions to be a stack of matrices, or of transposed ones."""
    if rule.batch_dims >= max(1, len(shape)):
        raise rule.error(
            f"batch_dims must be less than the number of dimensions of {name}, of shape {shape}, got {rule.batch_dims}"
        )
    if rule.transposed and len(shape) - rule.batch_dims < 2:
        matrices = f"{shape} with {rule.batch_dims} batch dimensions" if rule.batch_dims else f"{shape}"
        raise rule.error(f"a transposed parameter needs at least 2 dimensions, got {name} of shape {matrices}")


def _fill(rule: Rule, layer: Layer, name: str, shape: list[int], is_complex: bool) -> Fill:
    """Resolve a rule for a parameter, or a block, of this shape."""
    matrix, entry = shape[rule.batch_dims :], INITIALIZERS[rule.initializer]
    fans = count_fans(rule, layer, shape)
    if fans is None and (entry.needs_fans or (len(matrix) > 2 and (entry.flattens or rule.asks_for_fans))):
        raise _no_fans(rule, layer, name, matrix)
    fill = resolve(rule.initializer, rule.values(name, matrix, fans), fans, is_complex)
    if not fill.entry.structured:
        # All matrices have one distribution, so one call draws them.
        return fill
    fill = replace(fill, batch_dims=rule.batch_dims, transposed=rule.transposed)
    try:
        # On the meta device the initializer only checks the shape.
        call(torch.empty(fill.matrix_shape(shape), device="meta"), fill, None)
    except ValueError as error:
        raise rule.error(f"{rule.initializer} of {name}: {error}") from None
    return fill


def count_fans(rule: Rule, layer: Layer, shape: list[int]) -> tuple[int, int] | None:
    """Count the fans of each matrix as the rule says; None if it has none, or the layer is not known to have them."""
    matrix = shape[rule.batch_dims :]
    if rule.fans == "upstream":
        return upstream_fans(matrix, rule.transposed)
    return layer.fans(matrix, rule.transposed) if rule.batch_dims > 0 or layer.knows_fans(matrix) else None


def _no_fans(rule: Rule, layer: Layer, name: str, matrix: list[int]) -> RecipeError:
    if len(matrix) < 2:
        return rule.error(f"{rule.initializer} needs fans, so at least 2 dimensions, got {name} of shape {matrix}")
    return rule.error(
        f"{rule.initializer} in {len(matrix)} dimensions needs a layer that looks like a convolution, got {name} of shape"
        f" {matrix} in {layer.kind}; a rule with batch_dims={len(matrix) - 2} initializes each matrix of a stack, one with"
        ' fans="upstream" counts as torch.nn.init does'
    )
