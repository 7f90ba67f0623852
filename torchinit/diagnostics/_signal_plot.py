"""A plot of the scale of activations and gradients, layer by layer."""

import math
from collections.abc import Sequence
from typing import Any

from torchinit.diagnostics._plots import BLUE, GREEN, GREY, RED, require_matplotlib, shortened
from torchinit.diagnostics._signal import LayerSignal
from torchinit.diagnostics._trend import Trend, notes, trends

_COLORS = {"activation": BLUE, "gradient": GREEN}

# Inches per name; with more names, only every second or third is shown.
_INCHES_PER_NAME, _MAX_NAMES = 0.19, 120

_MAX_LENGTH = 46


def _axis_limits(values: Sequence[float]) -> tuple[float, float]:
    """Span at least two decades, so that small changes look small."""
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.08 * (high - low), 1.0 - (high - low) / 2, 0.15)
    return 10 ** (low - room), 10 ** (high + room)


def _panel(axes: Any, what: str, values: Sequence[float | None], said: Sequence[str], fitted: Trend | None) -> None:
    """Draw one scale against the layers; zeros and infinities go to the edges of the logarithmic axis."""
    drawn = [(i, v) for i, v in enumerate(values) if v is not None and 0 < v < math.inf]
    marked = [(i, v) for i, v in drawn if what in said[i]]
    axes.set_xscale("log")
    axes.set_xlim(*_axis_limits([v for _, v in drawn] or [1.0]))
    axes.plot([v for _, v in drawn], [i for i, _ in drawn], "-", color=_COLORS[what], linewidth=1, alpha=0.4)
    axes.plot([v for _, v in drawn], [i for i, _ in drawn], "o", color=_COLORS[what], markersize=4)
    axes.plot([v for _, v in marked], [i for i, _ in marked], "D", color=RED, markersize=4.5)
    for index, value in enumerate(values):
        if value is not None and not 0 < value < math.inf:
            edge, symbol = (0.0, "<") if value == 0 else (1.0, ">")
            transform = axes.get_yaxis_transform()
            axes.plot([edge], [index], symbol, color=RED, transform=transform, clip_on=False)
    if fitted is not None and 0 < fitted.total < math.inf:
        ends = [0, len(values) - 1] if what == "activation" else [len(values) - 1, 0]
        axes.plot([fitted.start, fitted.start * fitted.total], ends, "--", color=GREY, linewidth=1, zorder=1)
    arrow = "\u2193" if what == "activation" else "\u2191"
    axes.set_title(f"{what}s {arrow}\n{fitted or 'too few for a trend'}", fontsize=9, loc="left")
    axes.grid(True, color="0.9", linewidth=0.6)
    axes.tick_params(axis="x", labelsize=8)


def plot_signal(rows: Sequence[LayerSignal]) -> Any:
    """Draw the scales of activations and gradients side by side, a line for each row from the first down.

    Args:
        rows: the rows of :func:`signal`

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        RuntimeError: if matplotlib is not installed

    Examples:
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
        >>> figure = torchinit.diagnostics.plot_signal(torchinit.diagnostics.signal(model, torch.randn(16, 8)))
        >>> [axes.get_title(loc="left").splitlines()[0] for axes in figure.axes]
        ['activations ↓', 'gradients ↑']
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    every = math.ceil(len(rows) / _MAX_NAMES)
    names = [shortened(row.label, _MAX_LENGTH) for row in rows[::every]]
    figure = Figure(figsize=(9.5, 1.5 + _INCHES_PER_NAME * max(4, len(names))), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    said, (forward, backward) = notes(rows), trends(rows)
    _panel(left, "activation", [row.activation for row in rows], said, forward)
    _panel(right, "gradient", [row.gradient for row in rows], said, backward)
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_yticks(range(0, len(rows), every), names, fontsize=8)
    red = "; red: vanished, exploded, zero or not finite" if any(said) else ""
    figure.supxlabel(f"root mean square at the layer's output{red}", fontsize=8)
    return figure
