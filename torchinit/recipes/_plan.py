"""What a recipe does to a model: its steps in order, and a row for each parameter.

Planning has three stages: :func:`match` finds the rule of each parameter, :func:`make_steps` orders the writes, and
:func:`make_rows` describes them.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from torchinit._core.messages import warn_user
from torchinit._core.rows import Rows
from torchinit._core.table import counted
from torchinit.recipes._defaults import STATISTICS
from torchinit.recipes._expected import mixed_moments
from torchinit.recipes._fill import Fill
from torchinit.recipes._layers import Layer, upstream_fans
from torchinit.recipes._match import Match, match
from torchinit.recipes._parametrized import Parametrized
from torchinit.recipes._rule import DEFAULT, KEEP, Rule
from torchinit.recipes._steps import Step, count_fans, make_steps
from torchinit.recipes._warnings import warn_of_lost_marks, warn_of_uninitialized_buffers

TIED = "tied"

# A longer text is no line to read.
_LINE = 100

Adapt = Callable[[Match, list[Step]], list[Step]]


@dataclass(frozen=True)
class Row:
    """What happens to one parameter; ``mean`` and ``std`` are the expected ones, None if it is kept or they are unknown."""

    name: str
    module: str
    shape: tuple[int, ...]
    rule: str
    initializer: str
    fan_in: int | None = None
    fan_out: int | None = None
    mean: float | None = None
    std: float | None = None


class Plan(Rows[Row]):
    """The rows of a plan; ``print`` shows them as an aligned table.

    Args:
        rows: what happens to each parameter, and to the buffers that a recipe resets
        steps: the writes in their order
    """

    columns = ("name", "module", "shape", "rule", "initializer", "fan_in", "fan_out", "mean", "std")
    words = ("rule", "initializer")
    least = (("fan_in", "fan_out"), "mean", "module", "shape", "rule", "std")

    def __init__(self, rows: Iterable[Row] = (), steps: Iterable[Step] = ()) -> None:
        super().__init__(rows)
        self.steps = list(steps)

    @property
    def summary(self) -> str:
        """How many tensors and values there are, and how many tensors are kept or tied."""
        own = [row for row in self.rows if row.rule != TIED]
        told = [counted(len(own), "tensor"), counted(sum(math.prod(row.shape) for row in own), "value")]
        kept = sum(row.initializer == KEEP for row in own)
        others = [(kept, "kept"), (len(self.rows) - len(own), "tied")]
        return ", ".join([*told, *(f"{count} {what}" for count, what in others if count)])


def make_rows(found: Match, steps: Sequence[Step]) -> list[Row]:
    """Describe what the steps do to each parameter, parents first as the model lists them, then to each buffer."""
    labels = {id(rule): f"{number}: {rule.conditions()}" for number, rule in enumerate(found.bound, 1)}
    fills = _fills_of(steps)
    rows, buffers = [], []
    order = {path: index for index, (path, _) in enumerate(found.module.named_modules(remove_duplicate=False))}
    for matched in sorted(found.layers, key=lambda matched: order[matched.layer.path]):
        layer = matched.layer
        for name, parameter in matched.parameters:
            qualified = layer.qualified(name)
            rule, drawn = found.rules.get(qualified), fills.get(qualified, [])
            through = found.parametrized.get(qualified)
            if qualified in found.tied:
                rows.append(_row(layer, name, parameter, TIED, f"as {found.tied[qualified]}", None, []))
            elif rule is None or qualified in found.kept:
                rows.append(_row(layer, name, parameter, found.kept[qualified], KEEP, rule, []))
            else:
                label = labels[id(rule)] + " (no gradient)" * (found.trains and not parameter.requires_grad)
                row = _row(layer, name, parameter, label, _initializer(rule, drawn, parameter), rule, drawn)
                rows.append(row if through is None or not drawn else _through(row, through, drawn))
    for matched in found.layers:
        layer = matched.layer
        for name, buffer in matched.statistics:
            fill = STATISTICS[name]
            buffers.append(_row(layer, name, buffer, "statistics", fill.initializer, None, [fill]))
        for name, buffer in matched.buffers:
            qualified = layer.qualified(name)
            rule, drawn = found.rules.get(qualified), fills.get(qualified, [])
            label = "buffer" if rule is None else labels[id(rule)]
            initializer = KEEP if rule is None else _initializer(rule, drawn, buffer)
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
    if rule is None:
        fans = layer.fans(shape)
    else:
        fans = upstream_fans(shape) if rule.initializer == DEFAULT else count_fans(rule, layer, shape)
    expected = mixed_moments(fills, shape, tensor.is_complex()) or (None, None)
    return Row(layer.qualified(name), layer.kind, tuple(shape), label, initializer, *(fans or (None, None)), *expected)


def _through(row: Row, through: Parametrized, fills: Sequence[Fill]) -> Row:
    """Mark the row of a parametrized weight, and expect what the parametrization makes of the draw."""
    mean, std = through.expected(fills) or (None, None)
    return replace(row, initializer=f"{row.initializer} ({through.label})", mean=mean, std=std)


def _initializer(rule: Rule, fills: Sequence[Fill], parameter: Tensor) -> str:
    if rule.initializer == DEFAULT:
        # Only the last full fill survives.
        whole = [fill.initializer for fill in fills if fill.block is None]
        return f"{DEFAULT} {whole[-1]}" if whole else DEFAULT
    blocks = rule.blocks if rule.blocks is None or isinstance(rule.blocks, int) else len(rule.blocks)
    packed = "" if blocks is None else f" x{blocks}"
    stacked = f" x{math.prod(parameter.shape[: rule.batch_dims])} stacked" if rule.batch_dims else ""
    return f"{rule.initializer}{packed}{stacked}"


def make_plan(rules: Sequence[Rule], module: nn.Module, adapt: Adapt | None = None) -> Plan:
    """Plan what the rules do to a model, with the steps that ``adapt`` returns.

    Warns about each rule that does nothing, and of what nothing resets.
    """
    found = match(rules, module)
    steps = make_steps(found)
    if adapt is not None:
        steps = adapt(found, steps)
    fills = _fills_of(steps)
    for step in steps:
        if step.through is not None:
            step.through.check(fills[step.target])
    rows = make_rows(found, steps)
    for number, rule in enumerate(found.bound, 1):
        if id(rule) not in found.used and not rule.optional:
            # A rule of many names is shown in short, so that the warning is a line.
            shown = repr(rule) if len(repr(rule)) <= _LINE else f"{rule.initializer} for {rule.conditions()}"
            warn_user(f"{rule.place(number)} matched no parameter: {shown}")
    warn_of_lost_marks(module, found)
    warn_of_uninitialized_buffers(found)
    return Plan(rows, steps)
