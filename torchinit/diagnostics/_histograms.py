"""A page of histograms, one small panel per parameter."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchinit._core.table import counted, shortened, text
from torchinit.diagnostics._moments import chunks, flattened, measure, only_finite
from torchinit.diagnostics._parameters import module_of
from torchinit.diagnostics._plots import BLUE, GREY, ORANGE, ORANGE_INK, RED, distinct, require_matplotlib
from torchinit.diagnostics._statistics import ParameterStatistics

# More panels could not be told apart.
MAX_PANELS = 60
_MAX_COLUMNS = 6

# How panels are chosen if there are more parameters.
ORDER = "bad ones are kept first, constant ones last"

# Inches: a panel, the margins for its titles and ticks, and the space above and below all panels.
_WIDTH, _HEIGHT = 3.0, 2.2
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.17, 0.17, 0.57, 0.33
_HEAD, _FOOT = 0.55, 0.15
_MIN_WIDTH, _NARROW = 5.4, 3.6

# Characters that fit into the width of a panel, of each of two lines below its title, and of a label of the legend.
_TITLE, _SUBTITLE, _LABEL = 36, 46, 31
# Inches beside the labels of the legend, and their characters in an inch.
_BESIDE, _PER_INCH = 2.5, 14

# Height of a panel in those of its bars; above them is room for the standard deviations.
_PANEL_HEIGHT = 1.3

# Stands before the name of a bad parameter, for those who do not see red.
_SIGN = "\u2717 "


def _choose(rows: Sequence[ParameterStatistics]) -> list[ParameterStatistics]:
    """Choose the parameters that a page shows, and keep their order."""
    ranks = [0 if row.bad else 2 if row.constant else 1 for row in rows]
    return [rows[index] for index in sorted(sorted(range(len(rows)), key=ranks.__getitem__)[:MAX_PANELS])]


def _range(tensor: Tensor | None) -> tuple[float, float] | None:
    """Return the least and the greatest finite value; None if there is none, or an axis cannot span them."""
    moments = None if tensor is None else measure(flattened(tensor))
    return (moments.min, moments.max) if moments and math.isfinite(moments.max - moments.min) else None


def _heights(tensor: Tensor, bins: int, low: float, high: float) -> list[float]:
    """Count the values in each bin, relative to the fullest bin."""
    counts = torch.zeros(bins, dtype=torch.float64, device="cpu")
    for chunk in chunks(flattened(tensor)):
        counts += torch.histc(only_finite(chunk), bins, low, high)
    heights: list[float] = (counts / counts.max()).tolist()
    return heights


@dataclass
class Curve:
    """A histogram, or the one value if all are equal, and the standard deviation."""

    heights: list[float]
    constant: float | None
    std: float | None


@dataclass
class Panel:
    """Histograms of a parameter's values and, on the same bins, of others to compare."""

    name: str
    about: str
    bad: bool
    low: float
    high: float
    values: Curve | None
    other: Curve | None

    @staticmethod
    def of(name: str, row: ParameterStatistics, tensor: Tensor | None, other: Tensor | None) -> "Panel":
        """Count the values of a parameter, whose name may be shortened."""
        about = text(row.shape) + (", real and imaginary" if row.dtype.is_complex else "")
        about += f", {row.verdict}" if row.verdict else ""
        limits = [_range(tensor), _range(other)]
        low = min((pair[0] for pair in limits if pair), default=0.0)
        high = max((pair[1] for pair in limits if pair), default=0.0)
        bins = max(8, min(40, math.isqrt(math.prod(row.shape))))

        def curve(each: Tensor | None, pair: tuple[float, float] | None) -> Curve | None:
            if each is None or pair is None:
                return None
            if pair[0] == pair[1]:
                return Curve([], pair[0], 0.0)
            moments = None if each is tensor else measure(each)
            return Curve(_heights(each, bins, low, high), None, moments.std if moments else row.std)

        return Panel(name, about, row.bad, low, high, curve(tensor, limits[0]), curve(other, limits[1]))


def _span(panel: Panel) -> tuple[float, float]:
    """Add a margin to the range, a larger one around a single value."""
    margin = 0.05 * (panel.high - panel.low) or abs(panel.low) or 1.0
    return panel.low - margin, panel.high + margin


def _draw_panel(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    for curve, color, filled in ((panel.values, BLUE, True), (panel.other, ORANGE, False)):
        if curve is None:
            continue
        if curve.constant is not None:
            axes.axvline(curve.constant, ymax=1.0 / _PANEL_HEIGHT, color=color, linewidth=4.0 if filled else 1.3)
        else:
            step = (panel.high - panel.low) / len(curve.heights)
            edges = [panel.low + step * index for index in range(len(curve.heights) + 1)]
            axes.stairs(curve.heights, edges, fill=filled, color=color, linewidth=1.3, alpha=0.6 if filled else 1.0)
    for curve, color, place in ((panel.values, BLUE, 0.0), (panel.other, ORANGE_INK, 1.0)):
        if curve is not None and curve.std is not None:
            style = {"ha": "right" if place else "left", "va": "top", "color": color, "fontsize": 8}
            axes.text(place, 0.99, f"std {curve.std:.3g}", transform=axes.transAxes, **style)
    drawn = panel.values is not None or panel.other is not None
    if not drawn:
        axes.text(0.5, 0.5, "nothing to draw", transform=axes.transAxes, ha="center", color=GREY, fontsize=8)
    low, high = _span(panel)
    # Enough digits to tell the ticks apart.
    digits = max(4, 2 + math.ceil(math.log10(max(abs(low), abs(high)) / (high - low))))
    axes.set_xlim(low, high)
    axes.set_ylim(0.0, _PANEL_HEIGHT)
    axes.set_yticks([])
    single = FixedLocator([panel.low] if drawn else [])
    axes.xaxis.set_major_locator(single if panel.low == panel.high else MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.{digits}g}"))
    axes.tick_params(axis="x", labelsize=8, length=2, colors=GREY)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GREY)


def _grid(count: int, columns: int | None) -> tuple[int, int]:
    """Choose columns and rows: a page wider than high until all columns are used."""
    if columns is None:
        columns = count if count <= 4 else min(_MAX_COLUMNS, math.ceil(math.sqrt(1.3 * count)))
    return columns, math.ceil(count / columns)


def _legend(figure: Any, labels: Sequence[str], width: float, height: float) -> None:
    """Draw the legend beside the number of parameters; a short label leaves its room to the other one."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(color=BLUE, alpha=0.6), Line2D([], [], color=ORANGE, linewidth=1.3)]
    place = {"loc": "upper right", "bbox_to_anchor": (1.0 - _RIGHT / width, 1.0 - 0.3 / height), "borderaxespad": 0}
    room = int((width - _BESIDE) * _PER_INCH)
    most = [max(8, min(_LABEL, max(room // 2, room - len(other)))) for other in reversed(labels)]
    shown = [shortened(*each) for each in zip(labels, most, strict=True)]
    legend = figure.legend(handles, shown, ncols=2, frameon=False, fontsize=8, columnspacing=1.0, **place)
    for words in legend.get_texts():
        words.set_parse_math(False)


def _lines(about: str) -> str:
    """Break what is said of a panel into two lines."""
    return "\n".join(textwrap.wrap(about, _SUBTITLE, max_lines=2, placeholder=" …"))


def _page(panels: Sequence[Panel], total: int, title: str, labels: Sequence[str], columns: int | None) -> Any:
    """Draw a page of panels, and say on it how many parameters are left out."""
    from matplotlib.figure import Figure

    least = _MIN_WIDTH if columns is None else _NARROW
    columns, rows = _grid(len(panels), columns)
    width, height = max(least, columns * _WIDTH), _HEAD + rows * _HEIGHT + _FOOT
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white")
    each = width / columns

    def write(x: float, y: float, words: str, size: float, **style: Any) -> None:
        figure.text(x / width, 1.0 - y / height, words, fontsize=size, parse_math=False, va="top", **style)

    count = counted(total, "parameter")
    if len(panels) < total:
        count = f"{len(panels)} of {count}; {ORDER}"
    write(_LEFT, 0.08, shortened(title, 30), 11, weight="bold")
    write(_LEFT, 0.31, count, 8.5, color=GREY)
    if labels:
        _legend(figure, labels, width, height)
    for index, panel in enumerate(panels):
        x, y = index % columns * each + _LEFT, index // columns * _HEIGHT + _HEAD
        sign = _SIGN if panel.bad else ""
        write(x, y + 0.07, sign + panel.name, 9, color=RED if panel.bad else "black")
        write(x, y + 0.25, _lines(panel.about), 8, color=RED if panel.bad else GREY)
        inner = (each - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM)
        bottom = height - y - _TOP - inner[1]
        _draw_panel(figure.add_axes((x / width, bottom / height, inner[0] / width, inner[1] / height)), panel)
    return figure


def draw_histograms(
    rows: Sequence[ParameterStatistics],
    tensors: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    title: str,
    labels: Sequence[str],
    progress: Callable[[str, str, int], object] | None,
    columns: int | None,
) -> Any:
    """Draw the rows by their tensors, by others, or by both; ``labels`` are the names of the two in the legend."""
    require_matplotlib()
    if not rows:
        raise RuntimeError("a plot needs at least one parameter, got none")
    if columns is not None and columns < 1:
        raise ValueError(f"a plot needs at least one column, got {columns}")
    panels = []
    shown = _choose(rows)
    names = distinct([row.name for row in shown], _TITLE - len(_SIGN))
    for row, name in zip(shown, names, strict=True):
        if progress is not None:
            progress("drawing", row.name, len(shown))
        panels.append(Panel.of(name, row, tensors.get(row.name), others.get(row.name)))
    return _page(panels, len(rows), title, labels, columns)


def plot_statistics(
    model: nn.Module | Mapping[str, Any],
    rows: Sequence[ParameterStatistics],
    others: Mapping[str, Tensor] | None = None,
    title: str = "",
    label: str = "others",
    progress: Callable[[str, str, int], object] | None = None,
    *,
    columns: int | None = None,
) -> Any:
    """Draw a histogram of each parameter, at most 60: the bad ones first, the constant ones last.

    Args:
        model: the module or the state dict that was measured
        rows: its rows of :func:`statistics`
        others: tensors to compare by parameter name, such as fresh weights; drawn over the values, on the same bins
        title: heading of the page
        label: name of ``others`` in the legend
        progress: called before each panel with ``"drawing"``, the parameter's name and the number of panels
        columns: panels side by side (default: as many as make a page that is wider than high); 1 for a narrow page

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        RuntimeError: if matplotlib is not installed, or there are no rows

    Examples:
        >>> layer = torch.nn.Linear(20, 30)
        >>> figure = torchinit.diagnostics.plot_statistics(layer, torchinit.diagnostics.statistics(layer))
        >>> len(figure.axes)
        2
    """
    module = model if isinstance(model, nn.Module) else module_of(model)
    tensors = dict(module.named_parameters(remove_duplicate=False))
    labels = () if others is None else ("values", label)
    return draw_histograms(rows, tensors, others or {}, title, labels, progress, columns)
