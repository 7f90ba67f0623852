"""What a recipe does to a model: its steps in order, and a row for each parameter.

Planning has three stages: :func:`match` finds the rule of each parameter, :func:`make_steps` orders the writes, and
:func:`make_rows` describes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from torchinit._core.messages import warn_user
from torchinit._core.table import Cell, table, to_json
from torchinit.recipes._bind import bind
from torchinit.recipes._defaults import STATISTICS
from torchinit.recipes._expected import mixed_moments
from torchinit.recipes._fill import Fill
from torchinit.recipes._layers import Layer, upstream_fans
from torchinit.recipes._match import Match, match
from torchinit.recipes._rule import DEFAULT, KEEP, Rule
from torchinit.recipes._steps import Step, make_steps
from torchinit.recipes._warnings import warn_of_lost_marks, warn_of_uninitialized_buffers

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


@dataclass
class Plan:
    """The rows of a plan; ``print`` shows them as an aligned table."""

    rows: list[Row] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def __str__(self) -> str:
        return table(COLUMNS, [row.cells() for row in self.rows], color=False)

    def to_json(self) -> str:
        return to_json(COLUMNS, [row.cells() for row in self.rows])


def make_rows(rules: Sequence[Rule], found: Match, steps: Sequence[Step]) -> list[Row]:
    """Describe what the steps do to each parameter, in the order of the layers, and to each buffer at the end."""
    labels = {id(rule): f"{number}: {rule.conditions()}" for number, rule in enumerate(rules, 1)}
    fills = _fills_of(steps)
    rows, buffers = [], []
    for matched in found.layers:
        layer = matched.layer
        for name, parameter in matched.parameters:
            qualified = layer.qualified(name)
            rule, drawn = found.rules.get(qualified), fills.get(qualified, [])
            if qualified in found.tied:
                rows.append(_row(layer, name, parameter, "tied", f"as {found.tied[qualified]}", None, []))
            elif rule is None or qualified in found.kept:
                rows.append(_row(layer, name, parameter, found.kept[qualified], KEEP, rule, []))
            else:
                label = labels[id(rule)] + " (no gradient)" * (qualified in found.frozen)
                rows.append(_row(layer, name, parameter, label, _initializer(rule, drawn), rule, drawn))
        for name, buffer in matched.statistics:
            fill = STATISTICS[name]
            buffers.append(_row(layer, name, buffer, "statistics", fill.initializer, None, [fill]))
        for name, buffer in matched.buffers:
            qualified = layer.qualified(name)
            rule, drawn = found.rules.get(qualified), fills.get(qualified, [])
            label = "buffer" if rule is None else labels[id(rule)]
            initializer = KEEP if rule is None else _initializer(rule, drawn)
            buffers.append(_row(layer, name, buffer, label, initializer, rule, drawn))
    return rows + buffers


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
    """Plan what the rules do to a model; warn about each rule that does nothing, and of what nothing resets."""
    rules = bind(rules, module)
    found = match(rules, module)
    steps = make_steps(found)
    rows = make_rows(rules, found, steps)
    for number, rule in enumerate(rules, 1):
        if id(rule) not in found.used and not rule.optional:
            warn_user(f"{rule.origin}: rule {number} matched no parameter: {rule!r}")
    warn_of_lost_marks(module, found)
    warn_of_uninitialized_buffers(found)
    # Sort as the model lists its parameters, parents first; the buffers stay last.
    order = {name: i for i, (name, _) in enumerate(module.named_parameters(remove_duplicate=False))}
    return Plan(sorted(rows, key=lambda row: order.get(row.name, len(order))), steps)
