"""What a recipe does to a model: the writes in their order, and a row for each parameter."""

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from torchinit._core.checks import _check_partitioned
from torchinit._core.table import Cell, table, to_json
from torchinit.recipes._defaults import STATISTICS, default_fills, late_fills, padding_fills, statistics
from torchinit.recipes._fills import (
    REWRITTEN,
    SCALED,
    STRUCTURED,
    Fill,
    Value,
    block_shape,
    call,
    damped,
    mixed_moments,
    rewritten,
    scaled,
)
from torchinit.recipes._layers import Layer, memory, upstream_fans, walk
from torchinit.recipes._rule import DEFAULT, KEEP, RecipeError, Rule, arguments_of

COLUMNS = ("name", "module", "shape", "rule", "initializer", "fan_in", "fan_out", "mean", "std")


@dataclass(frozen=True)
class Row:
    """What happens to one parameter; ``mean`` and ``std`` are expected, and None where it is kept."""

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
    """Fills of one parameter or buffer, in order; or, but for a key, which draws each anew, a copy of another's values."""

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


def _is_loaded(tensor: Tensor) -> bool:
    """Whether transformers has read the parameter from a file."""
    return bool(getattr(tensor, "_is_hf_initialized", False))


def _blocks(rule: Rule, name: str, shape: list[int]) -> list[tuple[int, int, int] | None]:
    """Where a packed parameter's blocks begin and how long they are."""
    if rule.blocks is None:
        return [None]
    if not -len(shape) <= rule.dim < len(shape):
        raise rule.error(f"dim must be one of {name}, of shape {shape}, got {rule.dim}", "dim")
    dim = rule.dim % len(shape)
    if not isinstance(rule.blocks, int):
        sizes = list(rule.blocks)
    else:
        sizes = [shape[dim] // rule.blocks] * rule.blocks if shape[dim] % rule.blocks == 0 else []
    if sum(sizes) != shape[dim]:
        blocks = rule.blocks if isinstance(rule.blocks, int) else sizes
        raise rule.error(f"blocks must fill dimension {dim} of {name}, of shape {shape}, got {blocks}", "blocks")
    return [(dim, sum(sizes[:index]), size) for index, size in enumerate(sizes)]


def _fill(rule: Rule, layer: Layer, name: str, shape: list[int]) -> Fill:
    """Settle the numbers of a rule for a parameter, or a block, of this shape."""
    if rule.initializer in SCALED:
        fans = layer.fans(shape) if rule.fans == "layer" else upstream_fans(shape)
        if fans is None:
            raise rule.error(f"{rule.initializer} needs fans, thus 2 dimensions or more, got {name} of shape {shape}")
        return scaled(rule.initializer, fans, dict(rule.args))
    if rule.initializer in REWRITTEN:
        return rewritten(rule.initializer, dict(rule.args))
    takes = arguments_of(rule.initializer)
    values: list[Value] = [rule.args.get(name, p.default) for name, p in takes.items()]
    fill = Fill(rule.initializer, tuple(values))
    if rule.initializer in STRUCTURED:
        try:
            # On meta it looks at the shape and no more.
            call(torch.empty(shape, device="meta"), fill, None)
        except ValueError as error:
            raise rule.error(f"{rule.initializer} of {name}: {error}") from None
    return fill


def _like(layer: Layer, rule: Rule) -> Layer:
    """The layer, as the type of torch whose default a rule says it has."""
    like = str(rule.args.get("layer", ""))
    return replace(layer, like=like) if rule.initializer == DEFAULT and like else layer


class _Planner:
    """Goes through a model: first which rule each parameter has, then what is written."""

    def __init__(self, rules: Sequence[Rule], module: nn.Module) -> None:
        self.rules = rules
        self.layers = [(layer, layer.parameters()) for layer in walk(module)]
        self.tensors: dict[str, Tensor] = {}
        self.fills: dict[str, list[Fill]] = {}
        self.rule_of: dict[str, Rule] = {}
        self.tied: dict[str, str] = {}
        self.used: set[int] = set()
        self.steps: list[Step] = []
        self.rows: dict[str, Row] = {}
        self.counts: Counter[int] = Counter()

    def _rule(self, layer: Layer, name: str, parameter: Tensor) -> Rule | None:
        for rule in self.rules:
            if rule.matches(layer.kind, layer.qualified(name), parameter.dim()) and (
                rule.initializer != DEFAULT or default_fills(_like(layer, rule), name, parameter) is not None
            ):
                return rule
        return None

    def match(self) -> None:
        """Find the rule of each parameter, the first that matches; of tied ones that of the first name, or keep."""
        first: dict[object, str] = {}
        uncovered: dict[str, str] = {}
        for index, (layer, parameters) in enumerate(self.layers):
            for name, parameter in parameters:
                qualified = layer.qualified(name)
                self.tensors[qualified] = parameter
                owner = first.setdefault(memory(parameter), qualified)
                rule = self._rule(layer, name, parameter)
                if owner != qualified:
                    self.tied[qualified] = owner
                    if rule is None or rule.initializer != KEEP:
                        continue
                if rule is not None:
                    self.used.add(id(rule))
                    self.rule_of[owner] = rule
                    layer = _like(layer, rule)
                elif not _is_loaded(parameter):
                    uncovered[qualified] = layer.kind
            self.layers[index] = (layer, parameters)
        listed = [f"{name} ({kind})" for name, kind in uncovered.items() if name not in self.rule_of]
        if listed:
            raise RecipeError(f"every parameter needs a rule, if only keep, got none for {', '.join(listed)}")
        self.counts = Counter(id(rule) for rule in self.rule_of.values())

    def _is_written(self, name: str) -> bool:
        name = self.tied.get(name, name)
        rule = self.rule_of.get(name)
        return rule is not None and rule.initializer != KEEP and not _is_loaded(self.tensors[name])

    def _fills(self, rule: Rule, layer: Layer, name: str, parameter: Tensor) -> list[Fill]:
        if parameter.numel() == 0:
            _check_partitioned(parameter)
            return []
        padding = padding_fills(layer) if name == "weight" else []
        if rule.initializer == DEFAULT:
            return [*(default_fills(layer, name, parameter) or []), *padding]
        qualified, shape = layer.qualified(name), list(parameter.shape)
        fills = []
        for block in _blocks(rule, qualified, shape):
            fill = _fill(rule, layer, qualified, block_shape(shape, block))
            if rule.residual:
                narrowed = rule.initializer != fill.initializer
                fill = damped(fill, math.sqrt(self.counts[id(rule)]), narrowed)
            fills.append(replace(fill, block=block))
        return [*fills, *padding]

    def _is_cloned(self, source: str, parameter: Tensor) -> bool:
        """Whether the layer that this one's layer was cloned from draws its default for a like parameter."""
        if not self._is_written(source) or self.rule_of[source].initializer != DEFAULT:
            return False
        other = self.tensors[source]
        return other.shape == parameter.shape and other.is_meta == parameter.is_meta

    def _write(self, layer: Layer, name: str, parameter: Tensor) -> None:
        qualified, source = layer.qualified(name), f"{layer.source}.{name}"
        source = self.tied.get(source, source)
        rule = self.rule_of[qualified]
        if layer.source is not None and rule.initializer == DEFAULT and self._is_cloned(source, parameter):
            self.fills[qualified] = self.fills.get(source, [])
            self.steps.append(Step(qualified, parameter, tuple(self._fills(rule, layer, name, parameter)), source))
        else:
            self._append(qualified, parameter, self._fills(rule, layer, name, parameter))

    def _append(self, name: str, tensor: Tensor, fills: Sequence[Fill]) -> None:
        self.fills[name] = [*self.fills.get(name, []), *fills]
        if fills:
            self.steps.append(Step(name, tensor, tuple(fills)))

    def _row(self, layer: Layer, name: str, tensor: Tensor, label: str, initializer: str) -> None:
        qualified, shape = layer.qualified(name), list(tensor.shape)
        rule = self.rule_of.get(qualified)
        by_shape = rule is not None and (rule.initializer == DEFAULT or rule.fans == "upstream")
        fans = (upstream_fans(shape) if by_shape else layer.fans(shape)) or (None, None)
        expected = mixed_moments(self.fills.get(qualified, []), shape) or (None, None)
        self.rows[qualified] = Row(qualified, layer.kind, tuple(shape), label, initializer, *fans, *expected)

    def _statistics(self, layer: Layer, parameters: list[tuple[str, nn.Parameter]]) -> None:
        """Reset running statistics with the layer's parameters; without any, unless a rule keeps them."""
        for name, buffer in statistics(layer):
            qualified = layer.qualified(name)
            rule = self._rule(layer, name, buffer)
            if rule is not None and rule.initializer in (KEEP, DEFAULT):
                self.used.add(id(rule))
            # A rule that keeps the rest does not mean the statistics of a layer that starts anew.
            meant = rule is not None and (not parameters or (rule.name and "*" not in rule.name))
            kept = rule is not None and rule.initializer == KEEP and meant
            written = not parameters or any(self._is_written(layer.qualified(own)) for own, _ in parameters)
            if written and not kept and not _is_loaded(buffer):
                self._append(qualified, buffer, [STATISTICS[name]])
                self._row(layer, name, buffer, "statistics", STATISTICS[name].initializer)

    def run(self) -> None:
        for layer, parameters in self.layers:
            for name, parameter in parameters:
                if layer.qualified(name) not in self.tied and self._is_written(layer.qualified(name)):
                    self._write(layer, name, parameter)
            for name, fill in late_fills(layer):
                qualified = layer.qualified(name)
                ours = qualified not in self.tied and self._is_written(qualified)
                if ours and self.rule_of[qualified].initializer == DEFAULT:
                    self._append(qualified, self.tensors[qualified], [fill])
            self._statistics(layer, parameters)

    def describe(self) -> None:
        for layer, parameters in self.layers:
            for name, parameter in parameters:
                qualified = layer.qualified(name)
                rule = self.rule_of.get(qualified)
                if qualified in self.tied:
                    self._row(layer, name, parameter, "tied", f"as {self.tied[qualified]}")
                elif rule is None or _is_loaded(parameter):
                    self._row(layer, name, parameter, "loaded", KEEP)
                else:
                    self._row(layer, name, parameter, self._label(rule), self._initializer(rule, qualified))

    def _label(self, rule: Rule) -> str:
        return f"{self.rules.index(rule) + 1}: {rule.conditions()}"

    def _initializer(self, rule: Rule, name: str) -> str:
        fills = self.fills.get(name, [])
        if rule.initializer == DEFAULT:
            # What is left of several draws is the last of the whole.
            whole = [fill.initializer for fill in fills if fill.block is None]
            return f"{DEFAULT} {whole[-1]}" if whole else DEFAULT
        if rule.blocks is None:
            return rule.initializer
        return f"{rule.initializer} x{rule.blocks if isinstance(rule.blocks, int) else len(rule.blocks)}"


def make_plan(rules: Sequence[Rule], module: nn.Module, stacklevel: int) -> Plan:
    """Plan what the rules do to a model; warn of each that does nothing."""
    planner = _Planner(rules, module)
    planner.match()
    planner.run()
    planner.describe()
    for number, rule in enumerate(rules, 1):
        if id(rule) not in planner.used and not rule.optional:
            warnings.warn(f"{rule.origin}: rule {number} matched no parameter: {rule!r}", stacklevel=stacklevel)
    # In the model's own order, the statistics last.
    names = dict.fromkeys([*(name for name, _ in module.named_parameters(remove_duplicate=False)), *planner.rows])
    return Plan([planner.rows[name] for name in names if name in planner.rows], planner.steps)
