"""Draws the rows that say most as one bar chart."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_BLUE, _ORANGE = "#4477aa", "#ee7733"


def _is_large(row: Row) -> bool:
    """True for a function of torch.nn.init at the largest shape."""
    shapes = ("4096x4096", "2048x2048", "2048x2048x3x3", "1024x8192")
    return row["against"] == "torch.nn.init" and row["shape"] in shapes and row["dtype"] == "float32"


def _is_small(row: Row) -> bool:
    return (
        row["against"] == "torch.nn.init" and row["shape"] in ("4x4", "4x4x3x3") and "scripted" not in row["function"]
    )


def _is_keyed(row: Row) -> bool:
    return "by key" in row["function"] or ("compiled" in row["function"] and "busy" not in row["function"])


# Each group with its rows; what ratio is meant, if not torch.nn.init's time over torchinit's.
_GROUPS: tuple[tuple[str, Callable[[Row], bool]], ...] = (
    ("a large tensor, against torch.nn.init", _is_large),
    ("a whole model as its authors initialize it, against torch.nn.init", lambda row: row["shape"] == "all parameters"),
    ("by key, in compiled kernels, against a generator", _is_keyed),
    ("all threads against one, while another process keeps a core busy", lambda row: "busy" in row["function"]),
)


def groups(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Choose the rows of the chart: each in the last group that takes it, the largest ratios first."""
    found: list[tuple[str, list[Row]]] = [(title, []) for title, _ in _GROUPS]
    for row in rows:
        taken = [index for index, (_, takes) in enumerate(_GROUPS) if takes(row)]
        if taken:
            found[taken[-1]][1].append(row)
    small = [row["ratio"] for row in rows if _is_small(row)]
    if small:
        least, most = f"{min(small):.2f}", f"{max(small):.2f}"
        found.append((f"{len(small)} functions of torch.nn.init on a 4x4 tensor: {least} to {most} times as fast", []))
    return [(title, sorted(group, key=lambda row: -row["ratio"])) for title, group in found]


def draw(rows: Sequence[Row], title: str, path: Path) -> None:
    """Write a PNG of 880 pixels: one bar a row, from 1 to the ratio theirs / ours on a logarithmic axis."""
    from matplotlib.figure import Figure

    chosen = groups(rows)
    lines = sum(1 + len(group) for _, group in chosen)
    most = max(row["ratio"] for _, group in chosen for row in group)
    figure = Figure(figsize=(8, 0.23 * lines + 1.1), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_xlim(0.4, 2 * most)
    position, ticks = 0.0, list[tuple[float, str]]()
    for heading, group in chosen:
        if not group and heading in dict(_GROUPS):
            continue
        axes.text(
            0.0, position + 0.1, heading, transform=axes.get_yaxis_transform(), fontsize=9, weight="bold", va="center"
        )
        for row in group:
            position += 1
            ratio = row["ratio"]
            axes.barh(position, ratio - 1, 0.7, left=1, color=_BLUE if ratio >= 1 else _ORANGE)
            axes.annotate(
                f"{ratio:.3g}", (max(ratio, 1), position), (3, 0), textcoords="offset points", va="center", size=8
            )
            ticks.append((position, _label(row)))
        position += 1.3
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=8)
    axes.set_ylim(position - 0.7, -0.7)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("times as fast (right of 1: torchinit takes less time)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=9)
    figure.savefig(path, dpi=110)


def _label(row: Row) -> str:
    shape = "" if row["shape"] == "all parameters" else f" {row['shape']}"
    dtype = "" if row["dtype"] == "float32" else f" {row['dtype']}"
    return f"{row['function'].removesuffix(', busy')}{shape}{dtype}"
