"""Pictures of the scale of a signal, layer by layer, on a logarithmic axis."""

import math
from collections.abc import Sequence

from torchinit._core.table import text
from torchinit.diagnostics._layer_signal import LayerSignal
from torchinit.diagnostics._report._html import Html, tag
from torchinit.diagnostics._trend import Way, decades, is_drawn

# Units of the picture, which is stretched to its place.
_WIDTH, _HEIGHT = 600, 200
# More lines of powers of ten would run together.
_MAX_LINES = 6


def _ticks(low: float, high: float) -> list[int]:
    step = max(1, math.ceil((high - low) / _MAX_LINES))
    return [n for n in range(math.ceil(low), math.floor(high) + 1) if n % step == 0]


def _said(way: Way) -> str:
    known = [value for value in way.values if value is not None and math.isfinite(value)]
    ends = f", from {text(min(known))} to {text(max(known))}" if known else ""
    bad = sum(map(bool, way.faults))
    marked = f"; {bad} marked" if bad else ""
    layers = f"{len(way.values)} layers in the order of execution"
    return f"Scale of the {way.what}s at {layers}{ends}{marked}. Trend: {way.words}"


class _Axes:
    """Places of scales in a picture; zeros and infinities go to the ends of its axis."""

    def __init__(self, values: Sequence[float | None]) -> None:
        self.values = values
        self.low, self.high = decades(values)

    def level(self, value: float) -> float:
        height = math.inf if math.isnan(value) else math.log10(value) if value > 0.0 else -math.inf
        return _HEIGHT * (1.0 - min(1.0, max(0.0, (height - self.low) / (self.high - self.low))))

    def place(self, index: int, value: float) -> str:
        return f"{_WIDTH * (index + 0.5) / len(self.values):.5g} {self.level(value):.5g}"

    def line(self, points: Sequence[tuple[int, float]], style: str) -> str:
        return tag("path", d="M" + "L".join(self.place(*each) for each in points), class_=style) if points else ""

    def dots(self, indices: Sequence[int], style: str) -> str:
        """Draw points as lines without length; unlike circles, they stay round in a stretched picture."""
        points = "".join(f"M{self.place(i, value)}h0" for i in indices if (value := self.values[i]) is not None)
        return tag("path", d=points, class_=style) if points else ""


def _dots(axes: _Axes, way: Way) -> list[str]:
    """Draw the rows by what they are: marked, zero on purpose, in a branch, or on the way of the signal."""
    kinds: dict[str, list[int]] = {"dots beside": [], "dots": [], "dots meant-zero": [], "dots bad": []}
    for index, (fault, zeroed) in enumerate(zip(way.faults, way.zeroed)):
        aside = "dots" if index in way.along else "dots beside"
        kinds["dots bad" if fault else "dots meant-zero" if zeroed else aside].append(index)
    return [axes.dots(indices, style) for style, indices in kinds.items()]


def scales(rows: Sequence[LayerSignal], way: Way) -> Html:
    """Draw one scale against the layers."""
    axes, fitted = _Axes(way.values), way.trend
    ticks = _ticks(axes.low, axes.high)
    levels = [axes.level(10.0**n) for n in ticks]
    parts: list[str] = [tag("path", d="".join(f"M0 {y:.5g}H{_WIDTH}" for y in levels), class_="grid")]
    known = ((i, value) for i in sorted(way.along) if is_drawn(value := way.values[i]))
    parts.append(axes.line(list(known), "line"))
    if fitted is not None and is_drawn(fitted.total) and fitted.start > 0.0:
        ends = [(way.along[0], fitted.start), (way.along[-1], fitted.start * fitted.total)]
        parts.append(axes.line(ends, "trend"))
    parts += _dots(axes, way)
    box = {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "preserveAspectRatio": "none"}
    labels = [
        tag("span", f"{10.0**n:.3g}" if abs(n) < 4 else f"1e{n}", style=f"top:{100 * y / _HEIGHT:.4g}%")
        for n, y in zip(ticks, levels)
    ]
    axis = tag("div", tag("span", rows[0].label), tag("span", rows[-1].label) if len(rows) > 1 else "", class_="axis")
    picture = tag("svg", tag("title", _said(way)), *filter(None, parts), role="img", **box)
    return tag("div", tag("div", *labels, class_="levels", aria_hidden="true"), picture, axis, class_="scales")
