"""Picks few of many combinations so that every possible pair of values still occurs."""

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

# Set by `make exhaustive`.
EXHAUSTIVE = bool(os.environ.get("TORCHINIT_EXHAUSTIVE"))


def pairwise(*axes: Sequence[Any], possible: Callable[..., bool] = lambda *values: True) -> list[tuple[Any, ...]]:
    """List combinations, one value of each axis, that contain every possible pair of values.

    The choice is greedy and deterministic. Under `make exhaustive`, list every possible combination.
    """
    rows = [
        row
        for row in itertools.product(*(range(len(axis)) for axis in axes))
        if possible(*(axis[index] for axis, index in zip(axes, row, strict=True)))
    ]
    if not EXHAUSTIVE:
        rows = _covering(tuple(rows))
    return [tuple(axis[index] for axis, index in zip(axes, row, strict=True)) for row in rows]


def _pairs(row: tuple[int, ...]) -> set[tuple[tuple[int, int], ...]]:
    return set(itertools.combinations(enumerate(row), 2))


@functools.cache
def _covering(rows: tuple[tuple[int, ...], ...]) -> list[tuple[int, ...]]:
    """Pick the rows that cover the most new pairs, with a lower threshold in each pass."""
    missing = set[tuple[tuple[int, int], ...]]().union(*map(_pairs, rows))
    found = []
    for wanted in range(len(_pairs(rows[0])) if rows else 0, 0, -1):
        left: list[tuple[int, ...]] = []
        for row in rows:
            new = _pairs(row) & missing
            if len(new) >= wanted:
                found.append(row)
                missing -= new
            elif new:
                left.append(row)
        rows = tuple(left)
    return found
