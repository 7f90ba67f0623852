"""Rows: what an attached method does, as numbers that a loop in TorchScript reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Store:
    """The values that the rows of all methods name by number."""

    views: dict[tuple[int, ...], int] = field(default_factory=dict)
    tables: list[Tensor] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)

    def view(self, view: tuple[int, ...]) -> int:
        """Return the number of a view: slot, whether conjugated, offset, size and stride."""
        return self.views.setdefault(view, len(self.views))

    def name(self, name: str) -> int:
        """Return the number of a name."""
        return self.names.setdefault(name, len(self.names))

    def table(self, values: Tensor) -> int:
        """Return the number of a table; equal ones are stored once."""
        for number, table in enumerate(self.tables):
            if table.dtype == values.dtype and same_bits(table, values):
                return number
        self.tables.append(values.clone())
        return len(self.tables) - 1


@dataclass
class Rows:
    """The rows of one method.

    Args:
        numbers: for each row its kind, the number of its views, these, and other integers
        floats: for each row its floats
        kinds: the TorchScript of each kind
        slots: the slot of each storage
        generators: how many generators there are
    """

    numbers: list[list[int]] = field(default_factory=list)
    floats: list[list[float]] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)
    generators: int = 1

    def add(
        self, text: str, numbers: Sequence[int] = (), views: Sequence[int] = (), floats: Sequence[float] = ()
    ) -> None:
        kind = self.kinds.setdefault(text, len(self.kinds))
        self.numbers.append([kind, len(views), *views, *numbers])
        self.floats.append(list(floats))


def same_bits(one: Tensor, other: Tensor) -> bool:
    """True if two tensors of one dtype have equal bits."""
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))
