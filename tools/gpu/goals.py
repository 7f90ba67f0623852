"""What a GPU should reach, and whether it does."""

from collections.abc import Callable, Iterator
from typing import Any

Row = dict[str, Any]

# Relative noise of a ratio of two medians.
NOISE = 0.03


def _rows(sections: list[Row], name: str) -> Iterator[Row]:
    for section in sections:
        if section["name"] == name:
            yield from (row for row in section["rows"] if "error" not in row)


def _slowest(sections: list[Row], function: str = "") -> tuple[float, str] | None:
    rows = [row for row in _rows(sections, "functions") if function in row["function"]]
    if not rows:
        return None
    worst = min(rows, key=lambda row: float(row["ratio"]))
    return worst["ratio"], f"{worst['ratio']:.2f}, `{worst['function']}` {worst['shape']}"


def _share_of_copy(sections: list[Row]) -> tuple[float, str] | None:
    rows = [row for row in _rows(sections, "bandwidth") if row["call"] == "keyed.uniform_, compiled"]
    rows = [row for row in rows if row["dtype"] == "float32"]
    if not rows:
        return None
    return rows[-1]["of_copy"], f"{rows[-1]['of_copy']:.2f}, {rows[-1]['bytes_per_second'] / 1e12:.2f} TB/s"


def _large_model(sections: list[Row]) -> tuple[float, str] | None:
    for row in _rows(sections, "models"):
        if row["model"] == "Llama-8B":
            milliseconds = row["by key, compiled"]["median"]
            return milliseconds, f"{milliseconds / 1e3:.3f} s"
    return None


# What is wanted, where the number is from, and whether it is enough.
_GOALS: list[tuple[str, Callable[[list[Row]], tuple[float, str] | None], Callable[[float], bool]]] = [
    ("no function slower than `torch.nn.init`", _slowest, lambda ratio: ratio >= 1 - NOISE),
    (
        "`trunc_normal_` at least 20 times as fast as upstream's sampler, which torch 2.12 brought",
        lambda sections: _slowest(sections, "trunc_normal_"),
        lambda ratio: ratio >= 20,
    ),
    (
        "`keyed.uniform_`, compiled, writes at least 0.7 of the bytes a second that a copy reads and writes",
        _share_of_copy,
        lambda share: share >= 0.7,
    ),
    ("Llama-8B in bfloat16 by key, compiled, in less than 0.1 s", _large_model, lambda ms: ms < 100),
]


def goals(sections: list[Row]) -> list[Row]:
    """Return each goal with what was measured, and whether it is met; None if nothing was measured."""
    found = []
    for goal, measured, enough in _GOALS:
        number = measured(sections)
        found.append(
            {
                "goal": goal,
                "measured": "" if number is None else number[1],
                "met": None if number is None else enough(number[0]),
            }
        )
    return found
