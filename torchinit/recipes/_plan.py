"""What a recipe does to a model: the writes in their order, and a row for each parameter."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from torchinit._checks import _check_partitioned
from torchinit._table import Cell, table, to_json
from torchinit.recipes._defaults import STATISTICS, default_fills, late_fills, padding_fills, statistics
from torchinit.recipes._fills import SCALED, STRUCTURED, Fill, Number, call, damped, mixed_moments, scaled
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
    """Fills of one parameter or buffer, in order; or a copy of another's values."""

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
    if not rule.blocks:
        return [None]
    sizes: list[int] = list(rule.blocks)  # type: ignore[arg-type]
    if not -len(shape) <= rule.dim < len(shape):
        raise rule.error(f"dim must be one of {name}, of shape {shape}, got {rule.dim}")
    dim = rule.dim % len(shape)
    if len(sizes) == 1 and shape[dim] % sizes[0] == 0:
        sizes = [shape[dim] // sizes[0]] * sizes[0]
    if sum(sizes) != shape[dim]:
        raise rule.error(f"blocks must fill dimension {dim} of {name}, of shape {shape}, got {list(rule.blocks)}")  # type: ignore[arg-type]
    return [(dim, sum(sizes[:index]), size) for index, size in enumerate(sizes)]


def _fill(rule: Rule, layer: Layer, name: str, shape: list[int]) -> Fill:
    """Settle the numbers of a rule for a parameter, or a block, of this shape."""
    if rule.initializer in SCALED:
        fans = layer.fans(shape) if rule.fans == "layer" else upstream_fans(shape)
        if fans is None:
            raise rule.error(f"{rule.initializer} needs fans, thus 2 dimensions or more, got {name} of shape {shape}")
        return scaled(rule.initializer, fans, dict(rule.args))
    takes = arguments_of(rule.initializer)
    numbers: list[Number] = [rule.args.get(name, p.default) for name, p in takes.items()]  # type: ignore[misc]
    fill = Fill(rule.initializer, tuple(numbers))
    if rule.initializer in STRUCTURED:
        try:
            # On meta it looks at the shape and no more.
            call(torch.empty(shape, device="meta"), fill, None)
        except ValueError as error:
            raise rule.error(f"{rule.initializer} of {name}: {error}") from None
    return fill


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

    def _rule(self, layer: Layer, name: str, parameter: Tensor) -> Rule | None:
        for rule in self.rules:
            if rule.matches(layer.kind, layer.qualified(name), parameter.dim()):
                kind = str(rule.args.get("layer", layer.kind))
                if rule.initializer != DEFAULT or default_fills(layer, name, parameter, kind) is not None:
                    return rule
        return None

    def match(self) -> None:
        """Find the rule of each parameter, the first that matches; of tied ones under the first name alone."""
        first: dict[object, str] = {}
        uncovered = []
        for layer, parameters in self.layers:
            for name, parameter in parameters:
                qualified = layer.qualified(name)
                self.tensors[qualified] = parameter
                owner = first.setdefault(memory(parameter), qualified)
                rule = self._rule(layer, name, parameter)
                self.used.add(id(rule))
                if owner != qualified:
                    self.tied[qualified] = owner
                elif rule is not None:
                    self.rule_of[qualified] = rule
                elif not _is_loaded(parameter):
                    uncovered.append(f"{qualified} ({layer.kind})")
        if uncovered:
            raise RecipeError(f"every parameter needs a rule, if only keep, got none for {', '.join(uncovered)}")

    def _is_written(self, name: str) -> bool:
        rule = self.rule_of.get(name)
        return rule is not None and rule.initializer != KEEP and not _is_loaded(self.tensors[name])

    def _fills(self, rule: Rule, layer: Layer, name: str, parameter: Tensor) -> list[Fill]:
        if parameter.numel() == 0:
            _check_partitioned(parameter)
            return []
        padding = padding_fills(layer) if name == "weight" else []
        if rule.initializer == DEFAULT:
            return [*(default_fills(layer, name, parameter, str(rule.args.get("layer", layer.kind))) or []), *padding]
        qualified, shape = layer.qualified(name), list(parameter.shape)
        fills = []
        for block in _blocks(rule, qualified, shape):
            fill = _fill(rule, layer, qualified, Fill("", (), block).shape(shape))
            if rule.residual:
                fill = damped(fill, math.sqrt(sum(other is rule for other in self.rule_of.values())))
            fills.append(replace(fill, block=block))
        return [*fills, *padding]

    def _write(self, layer: Layer, name: str, parameter: Tensor) -> None:
        qualified, source = layer.qualified(name), f"{layer.source}.{name}"
        rule = self.rule_of[qualified]
        cloned = layer.source is not None and rule.initializer == DEFAULT and source in self.tensors
        if cloned and self.tensors[source].shape == parameter.shape:
            self.fills[qualified] = self.fills.get(source, [])
            self.steps.append(Step(qualified, parameter, source=source))
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
            self.used.add(id(rule))
            reset = rule is None or rule.initializer != KEEP
            if parameters:
                reset = any(self._is_written(layer.qualified(own)) for own, _ in parameters)
            if reset and not _is_loaded(buffer):
                self._append(qualified, buffer, [STATISTICS[name]])
                self._row(layer, name, buffer, "statistics", STATISTICS[name].initializer)

    def run(self) -> None:
        for layer, parameters in self.layers:
            for name, parameter in parameters:
                if self._is_written(layer.qualified(name)):
                    self._write(layer, name, parameter)
            for name, fill in late_fills(layer):
                qualified = layer.qualified(name)
                if self._is_written(qualified) and self.rule_of[qualified].initializer == DEFAULT:
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
        return f"{next(i for i, other in enumerate(self.rules, 1) if other is rule)}: {rule.conditions()}"

    def _initializer(self, rule: Rule, name: str) -> str:
        fills = self.fills.get(name, [])
        if rule.initializer == DEFAULT:
            # What is left of several draws is the last of the whole.
            whole = [fill.initializer for fill in fills if fill.block is None]
            return f"{DEFAULT} {whole[-1]}" if whole else DEFAULT
        return f"{rule.initializer} x{len(fills)}" if rule.blocks else rule.initializer


def make_plan(rules: Sequence[Rule], module: nn.Module, stacklevel: int) -> Plan:
    """Plan what the rules do to a model; warn of each that does nothing."""
    planner = _Planner(rules, module)
    planner.match()
    planner.run()
    planner.describe()
    for number, rule in enumerate(rules, 1):
        if id(rule) not in planner.used and not rule.optional:
            warnings.warn(f"{rule.origin}: rule {number} matched no parameter: {rule!r}", stacklevel=stacklevel)
    order = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    names = [*(name for name in order if name in planner.rows), *(name for name in planner.rows if name not in order)]
    return Plan([planner.rows[name] for name in dict.fromkeys(names)], planner.steps)
