"""What a recipe does to a model: its steps in order, and a row for each parameter.

Planning has three stages: :func:`match` finds the rule of each parameter, :func:`make_steps` orders the writes, and
:func:`make_rows` describes them.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from torchinit._core.checks import check_partitioned
from torchinit._core.compat import is_loaded
from torchinit._core.messages import warn_user
from torchinit._core.registry import INITIALIZERS
from torchinit._core.table import Cell, table, to_json
from torchinit.recipes._bind import bind
from torchinit.recipes._defaults import STATISTICS, default_fills, padding_fills, parent_fills, statistics
from torchinit.recipes._expected import mixed_moments
from torchinit.recipes._fill import Fill, block_shape, call, resolve, scale_residual
from torchinit.recipes._layers import Layer, storage_key, upstream_fans, walk
from torchinit.recipes._rule import DEFAULT, KEEP, RecipeError, Rule

COLUMNS = ("name", "module", "shape", "rule", "initializer", "fan_in", "fan_out", "mean", "std")


@dataclass(frozen=True)
class Row:
    """What happens to one parameter; ``mean`` and ``std`` are the expected ones, None if it is kept."""

    name: str
    module: str
    shape: tuple[int, ...]
    rule: str
    initializer: str
    fan_in: int | None = None
    fan_out: int | None = None
    mean: float | None = None
    std: float | None = None

    def cells(self) -> list[Cell]:
        return [getattr(self, column) for column in COLUMNS]


@dataclass(frozen=True)
class Step:
    """The fills of one parameter or buffer, in order; without a key, a clone copies ``source`` instead."""

    target: str
    tensor: Tensor
    fills: tuple[Fill, ...] = ()
    source: str | None = None


@dataclass
class Plan:
    """The rows of a plan; ``print`` shows them as an aligned table."""

    rows: list[Row] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def __str__(self) -> str:
        return table(COLUMNS, [row.cells() for row in self.rows], color=False)

    def to_json(self) -> str:
        return to_json(COLUMNS, [row.cells() for row in self.rows])


# Stage 1: the rule of each parameter.


@dataclass(frozen=True)
class MatchedLayer:
    """A layer with its own parameters and the running statistics that are reset with them."""

    layer: Layer
    parameters: list[tuple[str, nn.Parameter]]
    statistics: list[tuple[str, Tensor]] = field(default_factory=list)


@dataclass(frozen=True)
class Match:
    """The rule of each parameter; tied parameters go by their first name."""

    layers: list[MatchedLayer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)

    def writer(self, name: str) -> Rule | None:
        """Return the rule that writes a parameter, given any of its names; None if it is kept."""
        name = self.tied.get(name, name)
        rule = self.rules.get(name)
        return None if rule is None or rule.initializer == KEEP or is_loaded(self.tensors[name]) else rule


def _like(layer: Layer, rule: Rule) -> Layer:
    """Return the layer with the type of torch.nn whose default the rule gives it, if any."""
    like = str(rule.args.get("layer", ""))
    return replace(layer, like=like) if rule.initializer == DEFAULT and like else layer


def _first_match(rules: Sequence[Rule], layer: Layer, name: str, tensor: Tensor) -> Rule | None:
    kind, qualified, ndim = layer.kind, layer.qualified(name), tensor.dim()
    for rule in rules:
        if rule.matches(kind, qualified, ndim) and (
            rule.initializer != DEFAULT or default_fills(_like(layer, rule), name, tensor) is not None
        ):
            return rule
    return None


def match(rules: Sequence[Rule], module: nn.Module) -> Match:
    """Find the rule of each parameter: the first that matches its first name, or keep if any of its names is kept."""
    found = Match()
    first: dict[Hashable, str] = {}
    uncovered: dict[str, str] = {}
    for layer in walk(module):
        parameters = layer.parameters()
        for name, parameter in parameters:
            qualified = layer.qualified(name)
            found.tensors[qualified] = parameter
            owner = first.setdefault(storage_key(parameter), qualified)
            rule = _first_match(rules, layer, name, parameter)
            if owner != qualified:
                found.tied[qualified] = owner
                if rule is None or rule.initializer != KEEP:
                    continue
            if rule is not None:
                found.used.add(id(rule))
                found.rules[owner] = rule
                layer = _like(layer, rule)
            elif not is_loaded(parameter):
                uncovered[qualified] = layer.kind
        found.layers.append(MatchedLayer(layer, parameters))
    listed = [f"{name} ({kind})" for name, kind in uncovered.items() if name not in found.rules]
    if listed:
        number = f"{len(listed)} parameter{'s' * (len(listed) != 1)}"
        raise RecipeError(
            f'no rule matches {number}: {", ".join(listed)}; add a rule ("keep" leaves parameters as they are)'
        )
    for matched in found.layers:
        matched.statistics.extend(_match_statistics(rules, matched, found))
    return found


def _match_statistics(rules: Sequence[Rule], matched: MatchedLayer, found: Match) -> list[tuple[str, Tensor]]:
    """Choose the statistics to reset: those of a layer that is written or has no parameters, unless kept."""
    layer, parameters = matched.layer, matched.parameters
    written = not parameters or any(found.writer(layer.qualified(name)) is not None for name, _ in parameters)
    chosen = []
    for name, buffer in statistics(layer):
        rule = _first_match(rules, layer, name, buffer)
        if rule is not None and rule.initializer in (KEEP, DEFAULT):
            found.used.add(id(rule))
        # A catch-all keep does not keep the statistics of a layer whose parameters are written.
        explicit = rule is not None and (not parameters or (rule.name and "*" not in rule.name))
        kept = rule is not None and rule.initializer == KEEP and explicit
        if written and not kept and not is_loaded(buffer):
            chosen.append((name, buffer))
    return chosen


# Stage 2: the writes, in order.


def make_steps(found: Match) -> list[Step]:
    """Order the writes of each layer: its own parameters, then those of its children, then its statistics."""
    counts = Counter(map(id, found.rules.values()))
    steps: list[Step] = []
    for matched in found.layers:
        layer = matched.layer
        for name, parameter in matched.parameters:
            qualified = layer.qualified(name)
            rule = found.writer(qualified)
            if rule is not None and qualified not in found.tied:
                fills = _fills(rule, layer, name, parameter, counts[id(rule)])
                source = _clone_source(found, layer, name, parameter) if rule.initializer == DEFAULT else None
                if fills or source is not None:
                    steps.append(Step(qualified, parameter, tuple(fills), source))
        for name, fill in parent_fills(layer):
            qualified = layer.qualified(name)
            rule = found.writer(qualified)
            if rule is not None and qualified not in found.tied and rule.initializer == DEFAULT:
                steps.append(Step(qualified, found.tensors[qualified], (fill,)))
        steps += [Step(layer.qualified(name), buffer, (STATISTICS[name],)) for name, buffer in matched.statistics]
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


# Stage 3: a row for each parameter.


def make_rows(rules: Sequence[Rule], found: Match, steps: Sequence[Step]) -> list[Row]:
    """Describe what the steps do to each parameter, in the order of the layers, and to each statistic at the end."""
    labels = {id(rule): f"{number}: {rule.conditions()}" for number, rule in enumerate(rules, 1)}
    fills = _fills_of(steps)
    rows, resets = [], []
    for matched in found.layers:
        layer = matched.layer
        for name, parameter in matched.parameters:
            qualified = layer.qualified(name)
            rule, drawn = found.rules.get(qualified), fills.get(qualified, [])
            if qualified in found.tied:
                rows.append(_row(layer, name, parameter, "tied", f"as {found.tied[qualified]}", None, []))
            elif rule is None or is_loaded(parameter):
                rows.append(_row(layer, name, parameter, "loaded", KEEP, rule, []))
            else:
                initializer = _initializer(rule, drawn)
                rows.append(_row(layer, name, parameter, labels[id(rule)], initializer, rule, drawn))
        for name, buffer in matched.statistics:
            fill = STATISTICS[name]
            resets.append(_row(layer, name, buffer, "statistics", fill.initializer, None, [fill]))
    return rows + resets


def _fills_of(steps: Sequence[Step]) -> dict[str, list[Fill]]:
    """Collect the fills of each parameter in order; a copy has those of its source."""
    fills: dict[str, list[Fill]] = {}
    for step in steps:
        if step.source is None:
            fills[step.target] = [*fills.get(step.target, []), *step.fills]
        else:
            fills[step.target] = fills.get(step.source, [])
    return fills


def _row(
    layer: Layer, name: str, tensor: Tensor, label: str, initializer: str, rule: Rule | None, fills: Sequence[Fill]
) -> Row:
    shape = list(tensor.shape)
    by_shape = rule is not None and (rule.initializer == DEFAULT or rule.fans == "upstream")
    fans = (upstream_fans(shape) if by_shape else layer.fans(shape)) or (None, None)
    expected = mixed_moments(fills, shape) or (None, None)
    return Row(layer.qualified(name), layer.kind, tuple(shape), label, initializer, *fans, *expected)


def _initializer(rule: Rule, fills: Sequence[Fill]) -> str:
    if rule.initializer == DEFAULT:
        # Only the last full fill survives.
        whole = [fill.initializer for fill in fills if fill.block is None]
        return f"{DEFAULT} {whole[-1]}" if whole else DEFAULT
    if rule.blocks is None:
        return rule.initializer
    return f"{rule.initializer} x{rule.blocks if isinstance(rule.blocks, int) else len(rule.blocks)}"


def make_plan(rules: Sequence[Rule], module: nn.Module) -> Plan:
    """Plan what the rules do to a model; warn about each rule that does nothing."""
    rules = bind(rules, module)
    found = match(rules, module)
    steps = make_steps(found)
    rows = make_rows(rules, found, steps)
    for number, rule in enumerate(rules, 1):
        if id(rule) not in found.used and not rule.optional:
            warn_user(f"{rule.origin}: rule {number} matched no parameter: {rule!r}")
    # Sort as the model lists its parameters, parents first; the statistics stay last.
    order = {name: i for i, (name, _) in enumerate(module.named_parameters(remove_duplicate=False))}
    return Plan(sorted(rows, key=lambda row: order.get(row.name, len(order))), steps)
