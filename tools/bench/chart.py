"""Draws the table as one bar chart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw(rows: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Write a PNG: a bar a row and thread count, its length the ratio theirs / ours on a logarithmic axis."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    labels = list(dict.fromkeys(_label(row) for row in rows))
    counts = sorted({row["threads"] for row in rows})
    figure, axes = plt.subplots(figsize=(9, 0.2 * len(labels) * len(counts) + 1.2))
    for i, threads in enumerate(counts):
        own = {_label(row): row["ratio"] for row in rows if row["threads"] == threads}
        height = 0.8 / len(counts)
        positions = [labels.index(label) + height * (i - (len(counts) - 1) / 2) for label in own]
        bars = axes.barh(positions, [ratio - 1 for ratio in own.values()], height, left=1, label=_threads(threads))
        for bar, ratio in zip(bars, own.values(), strict=True):
            axes.annotate(
                f"{ratio:.3g}",
                (max(ratio, 1), bar.get_y() + bar.get_height() / 2),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=6,
            )
    axes.set_xscale("log")
    axes.set_xlim(0.5, 2 * max(row["ratio"] for row in rows))
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlabel("time of the other / time of torchinit (right of 1: torchinit is faster)")
    axes.set_title(title, fontsize=10)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _label(row: dict[str, Any]) -> str:
    against = "" if row["against"] == "torch.nn.init" else f" against {row['against']}"
    return f"{row['function']} {row['shape']} {row['dtype']}{against}"


def _threads(count: int) -> str:
    return f"{count} thread" + ("" if count == 1 else "s")
