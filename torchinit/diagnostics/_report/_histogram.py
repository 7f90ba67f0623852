"""The picture of a kind of parameter: a histogram of its values, and the density that they are compared with."""

import math

import torch
from torch import Tensor

from torchinit._core.table import counted, text
from torchinit.diagnostics._report._html import Html, tag
from torchinit.diagnostics._report._kinds import Kind

# Units of the picture, which is stretched to its place.
_WIDTH, _HEIGHT = 240, 100
_MAX_BINS = 48
# Points of the density in each bin.
_FINE = 4
# The share of the values on each side beyond which outliers may begin, and the room for others, relative to the rest.
_TAIL, _ROOM = 0.001, 0.5


def _limits(values: Tensor) -> tuple[float, float]:
    """Return the range to draw: all values, but for outliers."""
    cut = int(_TAIL * len(values))
    low, high = values[cut].item(), values[len(values) - 1 - cut].item()
    room = _ROOM * (high - low)
    return max(values[0].item(), low - room), min(values[-1].item(), high + room)


def _heights(values: Tensor, edges: Tensor) -> Tensor:
    """Return the density in each bin; a value on an edge belongs to the bin above, the greatest to the last."""
    counts = torch.searchsorted(values, edges).double()
    counts[-1] = torch.searchsorted(values, edges[-1:], right=True).double()
    return counts.diff() / len(values) / edges.diff()


def _steps(heights: Tensor, top: float) -> str:
    """Draw heights as one line of steps from the bottom to the bottom."""
    width = _WIDTH / len(heights)
    path = f"M0 {_HEIGHT}"
    for index, height in enumerate((heights / top).clamp(max=1.0).tolist(), 1):
        path += f"V{_HEIGHT * (1 - height):.4g}H{width * index:.4g}"
    return f"{path}V{_HEIGHT}"


def _curve(heights: Tensor, top: float) -> str:
    """Draw heights as a line through the middle of each."""
    width = _WIDTH / len(heights)
    points = (
        f"{width * (index + 0.5):.4g} {_HEIGHT * (1 - height):.4g}"
        for index, height in enumerate((heights / top).clamp(max=1.0).tolist())
    )
    return "M" + "L".join(points)


def _described(kind: Kind, low: float, high: float) -> str:
    name = kind.group.name + (f", {len(kind.rows)} tensors" if len(kind.rows) > 1 else "")
    words = f"Histogram of {name}: {len(kind.values):,} values from {text(low)} to {text(high)}, std {kind.span('std')}"
    if kind.cdf is None:
        return words
    return f"{words}. The line is the density of {kind.meant.words if kind.meant else f'the {kind.first.distribution} distribution'}"


def histogram(kind: Kind) -> Html:
    """Draw a kind, with the ends of its axis and a sentence that says what the picture shows."""
    values = kind.values
    low, high = _limits(values)
    if not 0.0 < high - low < math.inf:
        return Html("")
    count = max(8, min(_MAX_BINS, math.isqrt(len(values))))
    edges = torch.linspace(low, high, count + 1, dtype=torch.float64, device="cpu")
    heights = _heights(values, edges)
    top = heights.max().item()
    density = None
    if kind.cdf is not None:
        fine = torch.linspace(low, high, _FINE * count + 1, dtype=torch.float64, device="cpu")
        density = kind.cdf(fine).diff() / fine.diff()
        # A spike goes through the top.
        top = max(top, min(density.max().item(), 1.6 * top))
    top *= 1.06
    steps = tag("path", d=_steps(heights, top), class_="values")
    line = tag("path", d=_curve(density, top), class_="meant") if density is not None else ""
    beyond = int((values < low).sum() + (values > high).sum())
    outside = f"{counted(beyond, 'value')} farther out" if beyond else ""
    picture = tag(
        "svg",
        tag("title", _described(kind, low, high)),
        steps,
        line,
        role="img",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
    )
    axis = tag("div", tag("span", text(low)), tag("span", outside), tag("span", text(high)), class_="axis")
    return tag("div", picture, axis, class_="histogram")
