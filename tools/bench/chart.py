"""Draws the table as one bar chart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw(rows: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Write a PNG: one bar per row, from 1 to the ratio theirs / ours on a logarithmic axis."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    labels, ratios = [_label(row) for row in rows], [row["ratio"] for row in rows]
    figure, axes = plt.subplots(figsize=(9, 0.22 * len(labels) + 1.2))
    axes.barh(range(len(labels)), [ratio - 1 for ratio in ratios], 0.7, left=1)
    for position, ratio in enumerate(ratios):
        place = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
        axes.annotate(f"{ratio:.3g}", (max(ratio, 1), position), **place)
    axes.set_xscale("log")
    axes.set_xlim(0.5, 2 * max(ratios))
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlabel("time of the other / time of torchinit (right of 1: torchinit is faster)")
    axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def _label(row: dict[str, Any]) -> str:
    against = "" if row["against"] == "torch.nn.init" else f" against {row['against']}"
    return f"{row['function']} {row['shape']} {row['dtype']}{against}"
