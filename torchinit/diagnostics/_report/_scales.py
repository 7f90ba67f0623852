"""Pictures of the scale of a signal, layer by layer, on a logarithmic axis."""

import math
from collections.abc import Sequence

from torchinit._core.table import text
from torchinit.diagnostics._report._html import Html, tag
from torchinit.diagnostics._signal import LayerSignal
from torchinit.diagnostics._trend import Trend

# Units of the picture, which is stretched to its place.
_WIDTH, _HEIGHT = 600, 200
# More lines of powers of ten would run together.
_MAX_LINES = 6


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Return the powers of ten at the ends of the axis, at least two decades apart, so that small changes look small."""
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.05 * (high - low), (2.0 - (high - low)) / 2, 0.1)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[int]:
    step = max(1, math.ceil((high - low) / _MAX_LINES))
    return [n for n in range(math.ceil(low), math.floor(high) + 1) if n % step == 0]


def _dots(points: Sequence[tuple[float, float]], style: str) -> Html | str:
    """Draw points as lines without length; unlike circles, they stay round in a stretched picture."""
    return tag("path", d="".join(f"M{x:.5g} {y:.5g}h0" for x, y in points), class_=style) if points else ""


def _said(
    what: str, rows: Sequence[LayerSignal], values: Sequence[float | None], bad: int, fitted: Trend | None
) -> str:
    known = [value for value in values if value is not None]
    ends = (
        f"from {text(min(known))} to {text(max(known))}" if known and all(map(math.isfinite, known)) else "not finite"
    )
    marked = f"; {bad} marked" if bad else ""
    return (
        f"Scale of the {what} at {len(rows)} layers in the order of execution, {ends}{marked}."
        f" Trend: {fitted or 'too few for a trend'}"
    )


def scales(
    what: str, rows: Sequence[LayerSignal], values: Sequence[float | None], marked: Sequence[bool], fitted: Trend | None
) -> Html:
    """Draw one scale against the layers; zeros and infinities go to the ends of the axis.

    Args:
        what: ``"activations"`` or ``"gradients"``
        rows: the rows of a probe
        values: the scale in each row
        marked: whether each is marked
        fitted: the trend, of gradients from the last row to the first
    """
    known = [value for value in values if value is not None and 0.0 < value < math.inf]
    low, high = _decades(known or [1.0])

    def point(index: float, value: float) -> tuple[float, float]:
        height = math.inf if math.isnan(value) else math.log10(value) if value > 0.0 else -math.inf
        level = min(1.0, max(0.0, (height - low) / (high - low)))
        return _WIDTH * (index + 0.5) / len(rows), _HEIGHT * (1.0 - level)

    points = [point(i, value) if value is not None else None for i, value in enumerate(values)]
    inner = [p for p, value in zip(points, values) if p and value and 0.0 < value < math.inf]
    fine = [p for p, is_bad in zip(points, marked) if p and not is_bad]
    bad = [p for p, is_bad in zip(points, marked) if p and is_bad]
    ticks = _ticks(low, high)
    places = [_HEIGHT * (1.0 - (n - low) / (high - low)) for n in ticks]
    lines = "".join(f"M0 {y:.5g}H{_WIDTH}" for y in places)
    parts = [tag("path", d=lines, class_="grid")]
    if inner:
        parts.append(tag("path", d="M" + "L".join(f"{x:.5g} {y:.5g}" for x, y in inner), class_="line"))
    if fitted is not None and 0.0 < fitted.total < math.inf and fitted.start > 0.0:
        ends = [0, len(rows) - 1] if what == "activations" else [len(rows) - 1, 0]
        (x, y), (x2, y2) = point(ends[0], fitted.start), point(ends[1], fitted.start * fitted.total)
        parts.append(tag("path", d=f"M{x:.5g} {y:.5g}L{x2:.5g} {y2:.5g}", class_="trend"))
    parts += [part for part in (_dots(fine, "dots"), _dots(bad, "dots bad")) if isinstance(part, Html)]
    picture = tag(
        "svg",
        tag("title", _said(what, rows, values, len(bad), fitted)),
        *parts,
        role="img",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
    )
    labels = [
        tag("span", f"{10.0**n:.3g}" if abs(n) < 4 else f"1e{n}", style=f"top:{100 * y / _HEIGHT:.4g}%")
        for n, y in zip(ticks, places)
    ]
    axis = tag("div", tag("span", rows[0].label), tag("span", rows[-1].label) if len(rows) > 1 else "", class_="axis")
    return tag("div", tag("div", *labels, class_="levels", aria_hidden="true"), picture, axis, class_="scales")
