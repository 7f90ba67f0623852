"""Shared by all plots: matplotlib, a palette, short names, and figures as bytes."""

import io
import warnings
from typing import Any

from torchinit._core.table import printable

BLUE, GREEN, ORANGE, RED, GREY = "#4477aa", "#2a9d5c", "#ee7733", "#bb2222", "#555555"


def require_matplotlib(who: str = "a plot") -> None:
    """Raise if matplotlib is missing, and say how to install it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise RuntimeError(f"{who} needs the package matplotlib: pip install 'torchinit[plot]'") from None


def shortened(words: str, most: int) -> str:
    """Cut the front of a long name, at a dot if one is near; the end says more."""
    words = printable(words)
    if len(words) <= most:
        return words
    rest = words[1 - most :]
    dot = rest.find(".") + 1
    return "…" + (rest[dot:] if dot < most // 2 else rest)


def render(figure: Any, kind: str = "png") -> bytes:
    """Render a figure as png, svg or pdf, with the same bytes each time.

    NB: pyplot would keep the figure, and may need a display.
    """
    from matplotlib import rc_context

    contents = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": "torchinit", "savefig.bbox": None}):
        # The picture shows a box for a missing glyph.
        warnings.filterwarnings("ignore", message="Glyph ")
        figure.savefig(contents, format=kind, metadata=undated)
    return contents.getvalue()
