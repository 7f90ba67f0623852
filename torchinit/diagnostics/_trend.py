"""How the scale of a signal moves through the layers: a factor per layer, and where it vanishes or explodes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torchinit.diagnostics._signal import LayerSignal

# Beyond a factor of 100, one learning rate no longer serves the first layers and the last. Networks that train stay
# far within: convolutional ones with normalization, residual ones and Transformers have trends from 0.06 to 6.
LIMIT = 100.0


@dataclass(frozen=True)
class Trend:
    """A factor per layer, fitted to the scales of a signal in the order in which it passes the layers.

    Attributes:
        start: scale at which the fitted line starts
        factor: factor per layer
        total: factor from the first layer to the last
        verdict: ``"vanish"`` if the total is below 1/100, ``"explode"`` above 100, ``"keep their scale"`` between, or
            ``"not finite"``
    """

    start: float
    factor: float
    total: float
    verdict: str

    def __str__(self) -> str:
        if not math.isfinite(self.total):
            return self.verdict
        if self.total == 0:
            return f"zero at the end: {self.verdict}"
        return f"x{self.factor:.3g} per layer, x{self.total:.3g} in all: {self.verdict}"


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


def _notes(values: Sequence[float | None]) -> list[str]:
    """Say what is wrong with each scale; beyond LIMIT times the first, it vanished or exploded."""
    fitted = trend(values)
    verdict = fitted.verdict if fitted else ""
    first = next((value for value in values if value), 0.0)

    def note(value: float | None) -> str:
        if value is None:
            return ""
        if not math.isfinite(value):
            return "not finite"
        if value == 0:
            return "zero"
        if verdict == "vanish" and value < first / LIMIT:
            return "vanished"
        return "exploded" if verdict == "explode" and value > first * LIMIT else ""

    return [note(value) for value in values]


def _joined(activation: str, gradient: str) -> str:
    if activation == gradient:
        return activation and f"activation and gradient {activation}"
    return ", ".join(f"{what} {note}" for what, note in (("activation", activation), ("gradient", gradient)) if note)


def notes(rows: Sequence[LayerSignal]) -> list[str]:
    """Say what is wrong in each row.

    Args:
        rows: the rows of :func:`signal`

    Returns:
        A note for each row, such as ``"gradient vanished"``; empty where nothing is wrong.

    Examples:
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
        >>> _ = torchinit.zeros_(model[1].weight), torchinit.zeros_(model[1].bias)
        >>> torchinit.diagnostics.notes(torchinit.diagnostics.signal(model, torch.randn(4, 8)))
        ['gradient zero', 'activation zero']
    """
    activations = _notes([row.activation for row in rows])
    gradients = reversed(_notes([row.gradient for row in reversed(rows)]))
    return [_joined(a, g) for a, g in zip(activations, gradients, strict=True)]


def trends(rows: Sequence[LayerSignal]) -> tuple[Trend | None, Trend | None]:
    """Fit the trends of activations, from the first row to the last, and of gradients, from the last to the first.

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
    return trend([row.activation for row in rows]), trend([row.gradient for row in reversed(rows)])


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
    forward, backward = (fitted or "too few for a trend" for fitted in trends(rows))
    return f"activations: {forward}; gradients: {backward}"
