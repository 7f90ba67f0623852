"""How the scale of a signal moves through the layers: a factor per layer, and where it vanishes or explodes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from torchinit.diagnostics._calls import RESIDUAL
from torchinit.diagnostics._layer_signal import LayerSignal

# Beyond a factor of 100, one learning rate no longer serves the first layers and the last. Networks that train stay
# far within: convolutional ones with normalization, residual ones and Transformers have trends from 0.06 to 6.
LIMIT = 100.0

# A residual stream speaks for a model if it has a sum for at least every fourth layer outside its branches.
_OUTSIDE = 4

TOO_FEW = "too few for a trend"


@dataclass(frozen=True)
class Trend:
    """A factor per layer, fitted to the scales of a signal in the order in which it passes the layers.

    Attributes:
        start: scale at which the fitted line starts
        factor: factor per layer
        total: factor from the first layer to the last
        verdict: ``"vanish"`` if the total is below 1/100, ``"explode"`` above 100, ``"keep their scale"`` between, or
            ``"not finite"``
        step: what the factor is for: ``"layer"``, or ``"residual sum"`` along a residual stream
    """

    start: float
    factor: float
    total: float
    verdict: str
    step: str = "layer"

    def __str__(self) -> str:
        if not math.isfinite(self.total):
            return self.verdict
        if self.total == 0:
            return f"zero at the end: {self.verdict}"
        return f"x{self.factor:.3g} per {self.step}, x{self.total:.3g} in all: {self.verdict}"


def _exp(x: float) -> float:
    # NB: math.exp raises beyond 709.
    return math.exp(min(x, 709.0))


def trend(values: Sequence[float | None]) -> Trend | None:
    """Fit a factor per layer to scales, by least squares through their logarithms.

    Branches, pooling and heads change the scale once, or up and down; they hardly tilt the line.

    Args:
        values: the scale (root mean square) at each layer, in the signal's order; None if unknown

    Returns:
        The trend; None for fewer than two known scales.

    Examples:
        >>> print(torchinit.diagnostics.trend([1.0, 0.5, 0.25]))
        x0.5 per layer, x0.25 in all: keep their scale
    """
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    if not all(math.isfinite(value) for _, value in known):
        return Trend(math.nan, math.nan, math.nan, "not finite")
    if len(known) < 2:
        return None
    points = [(index, math.log(value)) for index, value in known if value > 0]
    if known[-1][1] == 0 or len(points) < 2:
        return Trend(0.0, 0.0, 0.0, "vanish")
    x, y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    slope = sum((i - x) * (v - y) for i, v in points) / sum((i - x) ** 2 for i, _ in points)
    total = slope * (len(values) - 1)
    verdict = "keep their scale" if abs(total) <= math.log(LIMIT) else "vanish" if total < 0 else "explode"
    return Trend(_exp(y - slope * x), _exp(slope), _exp(total), verdict)


def is_drawn(value: float | None) -> TypeGuard[float]:
    """True if a logarithmic axis holds a value."""
    return value is not None and 0 < value < math.inf


def decades(values: Sequence[float | None]) -> tuple[float, float]:
    """Return the powers of ten at the ends of an axis, at least two decades apart, so that small changes look small."""
    logarithms = [math.log10(value) for value in values if is_drawn(value)] or [0.0]
    low, high = min(logarithms), max(logarithms)
    room = max(0.08 * (high - low), 1.0 - (high - low) / 2, 0.15)
    return low - room, high + room


def path(rows: Sequence[LayerSignal]) -> list[int]:
    """Return the indices of the rows that a trend is fitted to: the residual stream, or all rows if there is none."""
    stream = [index for index, row in enumerate(rows) if row.kind == RESIDUAL]
    outside = sum(row.kind != RESIDUAL and not row.branch for row in rows)
    return stream if len(stream) >= max(2, outside / _OUTSIDE) else list(range(len(rows)))


def _faults(values: Sequence[float | None], along: Sequence[int], verdict: str) -> list[str]:
    """Say what is wrong with each scale; beyond LIMIT times the first, it vanished or exploded.

    Args:
        values: the scales, in any order
        along: the indices of those that the trend is fitted to, in the signal's order
        verdict: what the trend says
    """
    first = next((value for index in along if (value := values[index])), 0.0)

    def fault(value: float | None) -> str:
        if value is None:
            return ""
        if not math.isfinite(value):
            return "not finite"
        if value == 0:
            return "zero"
        if verdict == "vanish" and value < first / LIMIT:
            return "vanished"
        return "exploded" if verdict == "explode" and value > first * LIMIT else ""

    return [fault(value) for value in values]


@dataclass(frozen=True)
class Way:
    """The way of a signal through the layers: of the activations forward, or of the gradients backward.

    Attributes:
        what: ``"activation"`` or ``"gradient"``
        direction: ``"forward"`` or ``"backward"``
        values: the scale at each row; None where none arrived
        zeroed: the parameter that makes each scale 0 on purpose; empty where none does
        faults: what is wrong with each; empty where nothing is
        along: the indices of the rows that the trend is fitted to, in the signal's order
        trend: their trend; None for fewer than two scales
        words: the trend in words
    """

    what: str
    direction: str
    values: list[float | None]
    zeroed: list[str]
    faults: list[str]
    along: list[int]
    trend: Trend | None
    words: str


def ways(rows: Sequence[LayerSignal]) -> tuple[Way, Way]:
    """Follow the activations and the gradients; zeros on purpose count as unknown."""
    along = path(rows)
    return _way(rows, "activation", "forward", along), _way(rows, "gradient", "backward", along[::-1])


def _way(rows: Sequence[LayerSignal], what: str, direction: str, along: list[int]) -> Way:
    values = [getattr(row, what) for row in rows]
    zeroed = [getattr(row, f"{what}_zeroed_by") for row in rows]
    known = [None if zero else value for zero, value in zip(zeroed, values, strict=True)]
    fitted = trend([known[index] for index in along])
    if fitted is not None and len(along) < len(rows):
        fitted = replace(fitted, step="residual sum")
    faults = _faults(known, along, fitted.verdict if fitted else "")
    words = str(fitted or TOO_FEW)
    if what == "gradient":
        # A layer that a gradient passes by, as after detach, does not learn.
        missing = [row.gradient is row.weight_gradient is None and row.kind != RESIDUAL for row in rows]
        faults = ["missing" if lacks else fault for lacks, fault in zip(missing, faults, strict=True)]
        heads = [f"zero below {name}, which is 0" for name in _heads(rows).values()]
        words = words if fitted or not heads else heads[0]
    return Way(what, direction, values, zeroed, faults, along, fitted, words)


def _joined(activation: str, gradient: str) -> str:
    if activation == gradient:
        return activation and f"activation and gradient {activation}"
    return ", ".join(f"{what} {note}" for what, note in (("activation", activation), ("gradient", gradient)) if note)


def _beside(parameter: str, layer: str) -> str:
    """Return the name of a parameter without the modules that it shares with a layer."""
    names, others = parameter.split("."), layer.split(".")
    shared = next((i for i, (a, b) in enumerate(zip(names, others, strict=False)) if a != b), len(others))
    start = max(0, min(shared, len(names) - 2))
    # The number of a layer says nothing without the list that holds it.
    while start and names[start].isdecimal():
        start -= 1
    return ".".join(names[start:])


def _heads(rows: Sequence[LayerSignal]) -> dict[int, str]:
    """Return the parameters that keep the gradient from all rows before theirs, by the index of their row."""
    found = {}
    for name in dict.fromkeys(row.gradient_zeroed_by for row in rows if row.gradient_zeroed_by):
        layer = name.rpartition(".")[0]
        last = max((i for i, row in enumerate(rows) if row.layer == layer and row.kind != RESIDUAL), default=0)
        if last and all(not row.gradient for row in rows[:last]):
            found[last] = name
    return found


def notes(rows: Sequence[LayerSignal]) -> list[str]:
    """Say what is wrong in each row, and which zeros are there on purpose.

    A zero is on purpose if a parameter that is 0 makes it, the parameter learns at the first step, and the signal passes
    around it or it belongs to the last layer: the last norm of a residual branch, ReZero, LoRA's B, adaLN-zero, a head.

    Args:
        rows: the rows of :func:`signal`

    Returns:
        A note for each row, such as ``"gradient vanished"``; empty where there is nothing to say. See :func:`marked`.

    Examples:
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
        >>> _ = torchinit.zeros_(model[1].weight), torchinit.zeros_(model[1].bias)
        >>> torchinit.diagnostics.notes(torchinit.diagnostics.signal(model, torch.randn(4, 8)))
        ['gradient zero', 'activation zero', '']
        >>> _ = torchinit.xavier_normal_(model[1].weight), torchinit.zeros_(model[2].weight)
        >>> torchinit.diagnostics.notes(torchinit.diagnostics.signal(model, torch.randn(4, 8)))[1:]
        ['gradient zero on purpose (2.weight is 0)', '2.weight is 0: nothing below learns at the first step']
    """
    heads = _heads(rows)

    def purpose(index: int, row: LayerSignal) -> str:
        if index in heads:
            return f"{_beside(heads[index], row.layer)} is 0: nothing below learns at the first step"
        said = (
            f"zero on purpose ({_beside(name, row.layer)} is 0)" if name else ""
            for name in (row.activation_zeroed_by, row.gradient_zeroed_by)
        )
        return _joined(*said)

    forward, backward = ways(rows)
    said = map(_joined, forward.faults, backward.faults)
    meant = (purpose(*pair) for pair in enumerate(rows))
    return [", ".join(filter(None, pair)) for pair in zip(said, meant, strict=True)]


def marked(rows: Sequence[LayerSignal]) -> list[bool]:
    """Say for each row if something is wrong in it; a zero on purpose is not.

    Args:
        rows: the rows of :func:`signal`

    Examples:
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
        >>> _ = torchinit.zeros_(model[1].weight), torchinit.zeros_(model[1].bias)
        >>> torchinit.diagnostics.marked(torchinit.diagnostics.signal(model, torch.randn(4, 8)))
        [False, False]
    """
    return [any(pair) for pair in zip(*(way.faults for way in ways(rows)), strict=True)]


def trends(rows: Sequence[LayerSignal]) -> tuple[Trend | None, Trend | None]:
    """Fit the trends of activations, from the first row to the last, and of gradients, from the last to the first.

    Where a residual stream runs through the model, they are fitted to its sums alone. Zeros on purpose count as unknown.

    Args:
        rows: the rows of :func:`signal`

    Returns:
        Both trends; None for one with fewer than two scales.

    Examples:
        >>> model = torch.nn.Sequential(*[torch.nn.Linear(64, 64) for _ in range(20)])
        >>> for layer in model:
        ...     _ = torchinit.orthogonal_(layer.weight, gain=0.5), torchinit.zeros_(layer.bias)
        >>> forward, backward = torchinit.diagnostics.trends(torchinit.diagnostics.signal(model, torch.randn(4, 64)))
        >>> round(forward.factor, 2), backward.verdict
        (0.5, 'vanish')
    """
    forward, backward = ways(rows)
    return forward.trend, backward.trend


def summary(rows: Sequence[LayerSignal]) -> str:
    """Say both trends in one line.

    Args:
        rows: the rows of :func:`signal`

    Returns:
        The line; see :class:`Trend` for its words.

    Examples:
        >>> torchinit.diagnostics.summary(torchinit.diagnostics.signal(torch.nn.Linear(4, 4), torch.randn(2, 4)))
        'activations: too few for a trend; gradients: too few for a trend'
    """
    return "; ".join(f"{way.what}s: {way.words}" for way in ways(rows))
