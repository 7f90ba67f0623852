"""Shared by all plots: matplotlib, a palette, short names, and figures as bytes."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

from torchinit._core.table import printable, shortened

# Okabe and Ito's blue, orange and vermilion and Tol's indigo, told apart by the color-blind too. No color alone says
# something: what is marked also has another shape or a sign.
BLUE, INDIGO, ORANGE, RED, GREY = "#0072b2", "#44338f", "#e69f00", "#c44500", "#555555"
# Orange for small letters on white, at a contrast of 4.5.
ORANGE_INK = "#946600"


def require_matplotlib(who: str = "a plot") -> None:
    """Raise if matplotlib is missing, and say how to install it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise RuntimeError(f"{who} needs the package matplotlib: pip install 'torchinit[plot]'") from None


def distinct(names: Sequence[str], most: int) -> list[str]:
    """Shorten names so that those that differ still do: cut all at the place that tells the most apart, then number."""
    names = [printable(name) for name in names]
    # Names that fit are as they are; they decide nothing.
    different = len(set(names))
    third = (most - 1) // 3
    heads = sorted(range(most), key=lambda head: abs(head - third)) if any(len(name) > most for name in names) else [0]
    best: list[str] = []
    for head in heads:
        cut = [shortened(name, most, head) for name in names]
        if len(set(cut)) > len(set(best)):
            best = cut
        if len(set(best)) == different:
            return best
    return _numbered(names, best, most)


def _numbered(names: Sequence[str], cut: Sequence[str], most: int) -> list[str]:
    """End names that look alike with numbers."""
    numbers: dict[str, dict[str, int]] = {}
    for name, short in zip(names, cut, strict=True):
        alike = numbers.setdefault(short, {})
        alike.setdefault(name, len(alike) + 1)
    return [
        short if len(numbers[short]) == 1 else f"{shortened(short, most - 5)} ({numbers[short][name]})"
        for name, short in zip(names, cut, strict=True)
    ]


def render(figure: Any, kind: str = "png") -> bytes:
    """Render a figure as png, svg or pdf, with the same bytes each time.

    NB: pyplot would keep the figure, and may need a display.
    """
    from matplotlib import rc_context

    contents = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    # Text stays text, which can be searched and copied.
    style = {"svg.hashsalt": "torchinit", "svg.fonttype": "none", "pdf.fonttype": 42, "savefig.bbox": None}
    with warnings.catch_warnings(), rc_context(style):
        # The picture shows a box for a missing glyph.
        warnings.filterwarnings("ignore", message="Glyph ")
        figure.savefig(contents, format=kind, metadata=undated)
    return contents.getvalue()
