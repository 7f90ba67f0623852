"""Kinds of parameters: those of repeated layers that are meant to be alike, with their statistics as one."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from torchinit._core.groups import Group, grouped
from torchinit._core.table import text
from torchinit.diagnostics._distribution import Distribution, sample, truncation
from torchinit.diagnostics._laws import Cdf
from torchinit.diagnostics._report._html import Html, repeated
from torchinit.diagnostics._report._meant import Meant
from torchinit.diagnostics._statistics import ParameterStatistics


@dataclass(frozen=True)
class Kind:
    """Parameters of repeated layers with equal shapes, and the same judgement.

    Attributes:
        group: their names
        rows: their statistics
        tensors: their values
        meant: what they are meant to be; None if that is not known, or they are kept as they are
        id: the name of the kind in the page
    """

    group: Group
    rows: tuple[ParameterStatistics, ...]
    tensors: tuple[Tensor, ...]
    meant: Meant | None
    id: str

    @property
    def first(self) -> ParameterStatistics:
        return self.rows[0]

    @property
    def heading(self) -> Html:
        return repeated(self.group.name, len(self.rows))

    @property
    def agrees(self) -> bool | None:
        """Whether they are what they are meant to be; None if it cannot be told."""
        return None if self.meant is None else self.meant.agrees

    @property
    def is_bad(self) -> bool:
        return self.first.bad

    @property
    def is_constant(self) -> bool:
        """True if each tensor has one value."""
        return all(row.constant for row in self.rows)

    @property
    def has_numbers(self) -> bool:
        return any(row.std is not None for row in self.rows)

    @property
    def verdict(self) -> str:
        """The verdict of most of the rows; empty if there is none."""
        found = [row.verdict or "" for row in self.rows]
        return max(dict.fromkeys(found), key=found.count)

    def span(self, column: str) -> str:
        """Write the values of a column: one, or the least and the greatest."""
        values = (getattr(row, column) for row in self.rows)
        found = [f"{x:.3g}" if isinstance(x, complex) else text(x) for x in values if x is not None]
        numbers = sorted(set(found), key=_number)
        return " to ".join(dict.fromkeys((numbers[0], numbers[-1]))) if numbers else "-"

    @cached_property
    def values(self) -> Tensor:
        """Finite values of all tensors, sorted; at most 8192 of each, spread evenly."""
        parts = [sample(tensor).cpu() for tensor, row in zip(self.tensors, self.rows) if row.std is not None]
        return torch.cat(parts).sort().values if parts else torch.empty(0, dtype=torch.float64, device="cpu")

    @cached_property
    def cdf(self) -> Cdf | None:
        """The distribution function that is meant; if nothing says that, the one that is recognized."""
        first = self.first
        if self.meant is not None:
            return self.meant.cdf
        if first.distribution not in _RECOGNIZED or first.dtype.is_complex or first.bad:
            return None
        low, high = self.values[0].item(), self.values[-1].item()
        mean, std = self.values.mean().item(), self.values.std(correction=0).item()
        found = Distribution(first.distribution, 0, mean, std, low, high)
        if found.name == "truncated normal":
            found = replace(found, cut=truncation(found.half / std))
        return found.cdf


_RECOGNIZED = ("uniform", "normal", "truncated normal")


def _number(written: str) -> float:
    number = complex(written)
    return abs(number) if number.imag else number.real


def kinds(
    rows: Sequence[ParameterStatistics], tensors: Mapping[str, Tensor], meant: Mapping[str, Meant] | None
) -> list[Kind]:
    """Group parameters, in the order of the model.

    Args:
        rows: their statistics
        tensors: their values by name
        meant: what each is meant to be, by name
    """
    told = [None if meant is None else meant.get(row.name) for row in rows]
    keys = [
        (row.name, (row.shape, row.dtype, _fault(row), own and (own.words, own.agrees), *_like(row, own)))
        for row, own in zip(rows, told, strict=True)
    ]
    found = []
    for number, group in enumerate(grouped(keys), 1):
        members = tuple(rows[index] for index in group.members)
        values = tuple(tensors[row.name] for row in members)
        found.append(Kind(group, members, values, told[group.members[0]], f"kind-{number}"))
    return found


def _fault(row: ParameterStatistics) -> str | None:
    """Return what is wrong with a parameter, without its numbers."""
    return re.sub(r"\d[\d.e+-]*", "", str(row.verdict).partition(";")[0]) if row.bad else None


def _like(row: ParameterStatistics, meant: Meant | None) -> tuple[object, ...]:
    """What rows of one kind have in common, as far as nobody says what they are meant to be."""
    if meant is not None:
        return (meant.mean, meant.std)
    if row.constant or row.std is None or row.scheme is not None:
        return (row.distribution, row.scheme, row.constant and row.mean)
    return (row.distribution, round(2.0 * math.log2(row.std)) if row.std > 0.0 else None)
