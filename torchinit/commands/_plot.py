"""A page of histograms, one small panel a parameter."""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchinit._table import printable
from torchinit.commands._inspect import chunks, only_finite

# What a page holds whose panels can still be told apart.
MOST = 60
_MOST_COLUMNS = 6

# Who comes onto a page that does not hold all.
ORDER = "bad ones are kept first, constant ones last"

_VALUES, _RECIPE, _BAD, _GREY = "#4477aa", "#ee7733", "#bb2222", "#555555"

# Inches: a panel, what its titles and ticks take of it, and the lines above and below all panels.
_WIDTH, _HEIGHT = 2.7, 1.9
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.17, 0.17, 0.44, 0.3
_HEAD, _FOOT = 0.5, 0.15
_NARROWEST = 5.4

# Characters that fit beside one another, in the sizes below.
_TITLE, _SUBTITLE = 36, 44


def check_matplotlib() -> None:
    """Refuse in words where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise RuntimeError("--plot needs the package matplotlib: pip install 'torchinit[plot]'") from None


def render(figure: Any, kind: str) -> bytes:
    """Render a figure as png, svg or pdf, with the same bytes each time; pyplot would keep it and may need a display."""
    from matplotlib import rc_context

    contents = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": "torchinit", "savefig.bbox": None}):
        # A box in place of a letter says as much.
        warnings.filterwarnings("ignore", message="Glyph ")
        figure.savefig(contents, format=kind, metadata=undated)
    return contents.getvalue()


def choose(ranks: Sequence[int], most: int = MOST) -> list[int]:
    """Choose whose panels a page holds, in order: those of low rank first, then from the front."""
    return sorted(sorted(range(len(ranks)), key=ranks.__getitem__)[:most])


def shortened(words: str, most: int) -> str:
    """Leave out the front of what is too long, up to a dot if one is near: the end of a name tells more."""
    words = printable(words)
    if len(words) <= most:
        return words
    rest = words[1 - most :]
    dot = rest.find(".") + 1
    return "…" + (rest[dot:] if dot < most // 2 else rest)


def _finite(tensor: Tensor) -> Iterator[Tensor]:
    """Go through the finite values in float64, real and imaginary parts alike."""
    for chunk in chunks(tensor):
        yield only_finite(torch.view_as_real(chunk).reshape(-1) if chunk.is_complex() else chunk)


def _limits(tensor: Tensor) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for values in _finite(tensor):
        if values.numel():
            least, most = torch.aminmax(values)
            low, high = min(low, least.item()), max(high, most.item())
    return low, high


def _heights(tensor: Tensor, bins: int, low: float, high: float) -> list[float]:
    """Count the values in each bin, as shares of the fullest."""
    counts = torch.zeros(bins, dtype=torch.float64)
    for values in _finite(tensor):
        counts += torch.histc(values, bins, low, high)
    heights: list[float] = (counts / counts.max()).tolist()
    return heights


@dataclass
class Curve:
    """A histogram, or the one value where all are the same."""

    heights: list[float]
    constant: float | None


@dataclass
class Panel:
    """What is drawn of a parameter: its values and, if there is a recipe, what that makes of it, on the same bins."""

    name: str
    about: str
    bad: bool
    low: float
    high: float
    values: Curve | None
    recipe: Curve | None

    @staticmethod
    def of(name: str, tensor: Tensor, after: Tensor | None, verdict: str | None, bad: bool) -> "Panel":
        """Count the values of a parameter."""
        about = "x".join(map(str, tensor.shape)) or "scalar"
        about += (", real and imaginary" if tensor.is_complex() else "") + (f", {verdict}" if verdict else "")
        limits = []
        for each in (tensor, after):
            low, high = (math.inf, -math.inf) if each is None or each.is_meta else _limits(each)
            # What float64 cannot span, no axis can.
            limits.append((low, high) if math.isfinite(high - low) else None)
        low = min((pair[0] for pair in limits if pair), default=0.0)
        high = max((pair[1] for pair in limits if pair), default=0.0)
        bins = max(8, min(40, math.isqrt(tensor.numel())))

        def curve(each: Tensor | None, pair: tuple[float, float] | None) -> Curve | None:
            if each is None or pair is None:
                return None
            if pair[0] == pair[1]:
                return Curve([], pair[0])
            return Curve(_heights(each, bins, low, high), None)

        return Panel(name, about, bad, low, high, curve(tensor, limits[0]), curve(after, limits[1]))


def _span(panel: Panel) -> tuple[float, float]:
    """Leave room beside the values, the more beside a single one."""
    margin = 0.05 * (panel.high - panel.low) or abs(panel.low) or 1.0
    return panel.low - margin, panel.high + margin


def _draw_panel(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    for curve, color, filled in ((panel.values, _VALUES, True), (panel.recipe, _RECIPE, False)):
        if curve is None:
            continue
        if curve.constant is not None:
            axes.axvline(curve.constant, color=color, linewidth=4.0 if filled else 1.3)
        else:
            step = (panel.high - panel.low) / len(curve.heights)
            edges = [panel.low + step * index for index in range(len(curve.heights) + 1)]
            axes.stairs(curve.heights, edges, fill=filled, color=color, linewidth=1.3, alpha=0.6 if filled else 1.0)
    if panel.values is None:
        axes.text(0.5, 0.5, "nothing to draw", transform=axes.transAxes, ha="center", color=_GREY, fontsize=8)
    low, high = _span(panel)
    # As many digits as tell the ticks apart.
    digits = max(4, 2 + math.ceil(math.log10(max(abs(low), abs(high)) / (high - low))))
    axes.set_xlim(low, high)
    axes.set_ylim(0.0, 1.08)
    axes.set_yticks([])
    drawn = panel.values is not None or panel.recipe is not None
    single = FixedLocator([panel.low] if drawn else [])
    axes.xaxis.set_major_locator(single if panel.low == panel.high else MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.{digits}g}"))
    axes.tick_params(axis="x", labelsize=7, length=2, colors=_GREY)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GREY)


def _size(count: int) -> tuple[int, int]:
    """Choose columns and rows: a page wider than it is high until the columns are used up."""
    columns = count if count <= 4 else min(_MOST_COLUMNS, math.ceil(math.sqrt(1.3 * count)))
    return max(1, columns), max(1, math.ceil(count / max(1, columns)))


def _legend(figure: Any, recipe: str, left: float, height: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(color=_VALUES, alpha=0.6), Line2D([], [], color=_RECIPE, linewidth=1.3)]
    labels = ["values", f"recipe {shortened(recipe, 24)}"]
    legend = figure.legend(
        handles,
        labels,
        loc="upper right",
        bbox_to_anchor=(1.0 - left, 1.0 - 0.26 / height),
        ncols=2,
        frameon=False,
        fontsize=8,
        borderaxespad=0,
    )
    for label in legend.get_texts():
        label.set_parse_math(False)


def draw(panels: Sequence[Panel], total: int, title: str, recipe: str | None, kind: str = "png") -> bytes:
    """Draw a page of panels, and say on it how many parameters are left out."""
    from matplotlib.figure import Figure

    columns, rows = _size(len(panels))
    width, height = max(_NARROWEST, columns * _WIDTH), _HEAD + rows * _HEIGHT + _FOOT
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white")
    each = width / columns

    def write(x: float, y: float, words: str, size: float, **style: Any) -> None:
        figure.text(x / width, 1.0 - y / height, words, fontsize=size, parse_math=False, va="top", **style)

    count = f"{total} parameter{'s' * (total != 1)}"
    if len(panels) < total:
        count = f"{len(panels)} of {count}; {ORDER}"
    write(_LEFT, 0.08, shortened(Path(title).name, 30), 10, weight="bold")
    write(_LEFT, 0.27, count, 8, color=_GREY)
    if recipe is not None:
        _legend(figure, recipe, _RIGHT / width, height)
    for index, panel in enumerate(panels):
        x, y = index % columns * each + _LEFT, index // columns * _HEIGHT + _HEAD
        color = _BAD if panel.bad else "black"
        write(x, y + 0.05, shortened(panel.name, _TITLE), 8, color=color)
        write(x, y + 0.22, panel.about[:_SUBTITLE], 7, color=_BAD if panel.bad else _GREY)
        inner = (each - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM)
        bottom = height - y - _TOP - inner[1]
        _draw_panel(figure.add_axes((x / width, bottom / height, inner[0] / width, inner[1] / height)), panel)
    return render(figure, kind)
