"""A plot of the scale of activations and gradients, layer by layer."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torchinit._core.table import few, shortened
from torchinit.diagnostics._calls import RESIDUAL
from torchinit.diagnostics._layer_signal import LayerSignal
from torchinit.diagnostics._plots import BLUE, GREY, INDIGO, RED, distinct, require_matplotlib
from torchinit.diagnostics._trend import Way, decades, is_drawn, ways

_COLORS = {"activation": BLUE, "gradient": INDIGO}

# Inches per name. With more names, those in residual branches are left out, and then all but each second or third.
_INCHES_PER_NAME, _MAX_NAMES = 0.19, 150


@dataclass(frozen=True)
class _Layout:
    """A page.

    Attributes:
        width: inches
        name: characters of a name
        title: those of the title
        words: those of a line of a panel's heading
        caption: those of a line below the panels
        legend: columns of the legend
    """

    width: float
    name: int
    title: int
    words: int
    caption: int
    legend: int


# Panels side by side, or below each other for a narrow page.
_LAYOUTS = {2: _Layout(10.5, 46, 90, 72, 140, 4), 1: _Layout(4.4, 24, 34, 40, 64, 1)}


def _draw_values(axes: Any, rows: Sequence[LayerSignal], values: Sequence[float | None], color: str) -> None:
    """Draw a line along the residual stream, or through all layers if there is none."""
    drawn = [i for i, v in enumerate(values) if is_drawn(v)]
    stream = [i for i in drawn if rows[i].kind == RESIDUAL]
    layers = [i for i in drawn if rows[i].kind != RESIDUAL]
    line = stream or layers

    def at(indices: Sequence[int]) -> tuple[list[float | None], Sequence[int]]:
        return [values[i] for i in indices], indices

    axes.plot(*at(line), "-", color=color, linewidth=2.2 if stream else 1, alpha=0.45, gid="line")
    axes.plot(*at(layers), "o", color=color, markersize=3.2 if stream else 4, gid="layer")
    if stream:
        axes.plot(*at(stream), "s", color=color, markersize=5.5, gid="stream")


def _draw_edges(axes: Any, way: Way) -> None:
    """Draw what a logarithmic axis does not hold at its edges."""
    edges: dict[tuple[float, str, str, str], list[int]] = {}
    for index, value in enumerate(way.values):
        if way.zeroed[index]:
            edges.setdefault((0.0, "o", GREY, "white"), []).append(index)
        elif value is None and way.faults[index]:
            edges.setdefault((0.0, "x", RED, RED), []).append(index)
        elif value is not None and not is_drawn(value):
            edges.setdefault((0.0, "<", RED, RED) if value == 0 else (1.0, ">", RED, RED), []).append(index)
    for (edge, symbol, color, face), rows in edges.items():
        style = {"color": color, "markerfacecolor": face, "markersize": 5.5, "clip_on": False, "zorder": 3}
        axes.plot([edge] * len(rows), rows, symbol, transform=axes.get_yaxis_transform(), **style)


def _draw_trend(axes: Any, way: Way) -> None:
    """Draw the fitted line over the rows that it is fitted to, in the signal's order."""
    fitted = way.trend
    if fitted is not None and is_drawn(fitted.total):
        scales = [fitted.start * fitted.factor**step for step in range(len(way.along))]
        axes.plot(scales, way.along, "--", color="black", linewidth=1, zorder=1, gid="trend")


def _panel(axes: Any, rows: Sequence[LayerSignal], way: Way, width: int) -> None:
    """Draw one scale against the layers, under the trend in words."""
    values = way.values
    axes.set_xscale("log")
    axes.set_xlim(*(10.0**end for end in decades(values)))
    _draw_values(axes, rows, values, _COLORS[way.what])
    marked = [i for i, v in enumerate(values) if way.faults[i] and is_drawn(v)]
    axes.plot([values[i] for i in marked], marked, "D", color=RED, markersize=5.5, gid="marked")
    _draw_edges(axes, way)
    _draw_trend(axes, way)
    arrow = "\u2193" if way.direction == "forward" else "\u2191"
    lines = [f"{way.what}s {arrow}", *textwrap.wrap(way.words, width)]
    axes.set_title("\n".join(lines), fontsize=9, loc="left", parse_math=False)
    axes.grid(True, color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", labelsize=8)


def _legend(figure: Any, title: str, rows: Sequence[LayerSignal], both: Sequence[Way], layout: _Layout) -> None:
    """Write the heading, and explain what is drawn."""
    from matplotlib.lines import Line2D

    def entry(label: str, marker: str, color: str, **more: Any) -> Any:
        return Line2D([], [], marker=marker, color=color, label=label, **{"linestyle": "", "markersize": 5.5, **more})

    stream = any(row.kind == RESIDUAL for row in rows)
    handles = [entry("a layer's output", "o", BLUE, markersize=3.2 if stream else 4)]
    if stream:
        handles.append(entry("the residual stream, after a branch", "s", BLUE, linestyle="-", linewidth=2.2, alpha=0.7))
    for fitted in [way.trend for way in both if way.trend is not None and is_drawn(way.trend.total)][:1]:
        handles.append(entry(f"trend: one factor per {fitted.step}", "", "black", linestyle="--", linewidth=1))
    if any(any(way.zeroed) for way in both):
        handles.append(entry("zero on purpose", "o", GREY, markerfacecolor="white"))
    words = {fault for way in both for fault in way.faults}
    if words & {"vanished", "exploded"}:
        handles.append(entry("vanished or exploded", "D", RED))
    if "zero" in words:
        handles.append(entry("zero", "<", RED))
    if "not finite" in words:
        handles.append(entry("not finite", ">", RED))
    if "missing" in words:
        handles.append(entry("no gradient", "x", RED))
    legend = figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=layout.legend,
        fontsize=8,
        frameon=False,
        title=shortened(title, layout.title) or "The signal's scale at each layer",
        title_fontproperties={"size": 11, "weight": "bold"},
        alignment="left",
    )
    legend.get_title().set_parse_math(False)


def _caption(rows: Sequence[LayerSignal]) -> str:
    """Say what the axis shows, and which weights are 0 on purpose."""
    zeros = dict.fromkeys(z for row in rows for z in (row.activation_zeroed_by, row.gradient_zeroed_by) if z)
    said = "root mean square of each output, and of the gradient there for noise at the model's outputs"
    if not zeros:
        return said
    return f"{said}\n0 on purpose until the first step: {few([shortened(name, 40) for name in zeros], 2)}"


def _labelled(rows: Sequence[LayerSignal]) -> list[int]:
    """Choose the rows whose names are shown."""
    chosen = list(range(len(rows)))
    if len(chosen) > _MAX_NAMES:
        chosen = [index for index in chosen if not rows[index].branch]
    return chosen[:: max(1, math.ceil(len(chosen) / _MAX_NAMES))]


def plot_signal(rows: Sequence[LayerSignal], title: str = "", *, columns: int = 2) -> Any:
    """Draw the scales of activations and gradients, a line for each row from the first down.

    Where a residual stream runs through the model, the line follows the stream, and the layers of its branches are
    small dots beside it. The dashed line is the trend.

    Args:
        rows: the rows of :func:`signal`
        title: heading of the picture
        columns: 2 for both side by side, 1 for a narrow page with one below the other

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        RuntimeError: if matplotlib is not installed, or there are no rows
        ValueError: if ``columns`` is neither 1 nor 2

    Examples:
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
        >>> figure = torchinit.diagnostics.plot_signal(torchinit.diagnostics.signal(model, torch.randn(16, 8)))
        >>> [axes.get_title(loc="left").splitlines()[0] for axes in figure.axes]
        ['activations ↓', 'gradients ↑']
    """
    require_matplotlib()
    if not rows:
        raise RuntimeError("a plot needs a signal that passes a layer, got no rows")
    if columns not in _LAYOUTS:
        raise ValueError(f"plot_signal() draws in 1 or 2 columns, got {columns}")
    from matplotlib.figure import Figure

    layout, chosen = _LAYOUTS[columns], _labelled(rows)
    height = 2.2 + _INCHES_PER_NAME * max(4, min(len(rows), _MAX_NAMES)) * (3 - columns)
    figure = Figure(figsize=(layout.width, height), dpi=110, facecolor="white", layout="constrained")
    both = figure.subplots(3 - columns, columns, sharey=True)
    found = ways(rows)
    for axes, way in zip(both, found, strict=True):
        _panel(axes, rows, way, layout.words)
    both[0].set_ylim(len(rows) - 0.5, -0.5)
    both[0].set_yticks(chosen, distinct([rows[i].label for i in chosen], layout.name), fontsize=8)
    for axes in both[: 3 - columns]:
        for index, label in zip(chosen, axes.get_yticklabels(), strict=True):
            label.set_parse_math(False)
            label.set_fontsize(8)
            label.set_fontweight("bold" if rows[index].kind == RESIDUAL else "normal")
            label.set_color(RED if any(way.faults[index] for way in found) else "black")
    _legend(figure, title, rows, found, layout)
    caption = "\n".join(textwrap.fill(line, layout.caption) for line in _caption(rows).split("\n"))
    figure.supxlabel(caption, fontsize=8, parse_math=False)
    return figure
