"""What an audit finds, and the names of the tensors that it is about."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from torchinit._core.groups import together
from torchinit._core.rows import Rows
from torchinit._core.table import counted, few, painted, paragraphs
from torchinit.recording._program import Call, Entry, Operation, Program, schedule

FAULT, FACT = "fault", "fact"
# More names than this are counted.
_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found; ``print`` shows it as a line.

    Args:
        kind: what was looked for: ``"unwritten"``, ``"lost"``, ``"overwritten"``, ``"copied"``, ``"outside"``,
            ``"law"`` or ``"fans"``
        severity: ``"fault"`` for what nobody wants, ``"fact"`` for what may be meant
        tensor: the names of the parameters and buffers, repeated layers as one; ``""`` if it is about none
        what: what is the matter
        place: the line of the user's code, ``"file.py:12"``, or the first of several, ``"file.py:12 and 3 more"``, or
            ``""`` if it is not known
        right: what would be right
    """

    kind: str
    severity: str
    tensor: str
    what: str
    place: str
    right: str

    def __str__(self) -> str:
        where = f" ({short(self.place)})" if self.place else ""
        return ": ".join(x for x in (self.severity, self.tensor, self.what) if x) + f"{where}; {self.right}"


class Findings(Rows[Finding]):
    """What an audit found, faults first; ``print`` shows each as a line, or as a paragraph as wide as the terminal."""

    columns = ("severity", "kind", "tensor", "what", "place", "right")

    def is_marked(self, row: Finding) -> bool:
        """True for a fault."""
        return row.severity == FAULT

    @property
    def summary(self) -> str:
        """How many faults and facts there are."""
        faults = sum(map(self.is_marked, self))
        told = [counted(n, what) for n, what in ((faults, FAULT), (len(self) - faults, FACT)) if n]
        return ", ".join(told) or "the audit found nothing"

    def _whole(self, rows: Sequence[Finding], color: bool) -> list[str]:
        return self._paragraphs(rows, None, color)

    def _fitted(self, rows: Sequence[Finding], width: int, all: bool, color: bool) -> list[str]:
        return self._paragraphs(rows, width, color)

    def _paragraphs(self, rows: Sequence[Finding], width: int | None, color: bool) -> list[str]:
        texts = paragraphs(map(str, rows), width)
        return [*(painted(x) if color and self.is_marked(row) else x for row, x in zip(rows, texts)), ""]


def short(place: str) -> str:
    """Name a file from where the user is, or from the folder that Python finds its package in."""
    for start in ("/site-packages/", "/dist-packages/"):
        if start in place:
            return place.rpartition(start)[2]
    folders = [os.path.join(folder, "") for folder in (os.getcwd(), *sys.path) if folder]
    longest = max((folder for folder in folders if place.startswith(folder)), key=len, default="")
    return place.removeprefix(longest)


class Group:
    """Gathers what is the matter with many tensors, so that one mistake is one finding."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._found: dict[tuple[str, str, str], tuple[list[str], dict[str, None]]] = {}

    def add(self, names: Iterable[str], what: str, place: str, right: str, severity: str = FAULT) -> None:
        """Add what is the matter with some tensors."""
        tensors, places = self._found.setdefault((severity, what, right), ([], {}))
        tensors.extend(names)
        places[place] = None

    def findings(self) -> Iterator[Finding]:
        """Yield what was added; of several places the first, and how many there are more."""
        for (severity, what, right), (tensors, (first, *more)) in self._found.items():
            place = f"{first} and {len(more)} more" if first and more else first
            yield Finding(self.kind, severity, listed(tensors), what, place, right)


class Subject:
    """The program that an audit is about, with what several checks need."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.entries: dict[int, list[Entry]] = {}
        for entry in program.entries:
            self.entries.setdefault(entry.ref.storage, []).append(entry)

    @cached_property
    def live(self) -> frozenset[Operation]:
        """The operations that the model's values follow from."""
        scheduled = schedule(self.program, self.program.operations, self.program.filled, draws=False)
        return frozenset(each.step for each in scheduled)

    @cached_property
    def places(self) -> dict[int, str]:
        """The line of the last write to each storage."""
        return {ref.storage: operation.place for operation in self.program.operations for ref in operation.made}

    def place(self, name: str) -> str:
        """Return the line of the last write to a tensor."""
        return next((self.places.get(x.ref.storage, "") for x in self.program.entries if x.name == name), "")

    def names(self, storage: int) -> list[str]:
        """Return the names of the tensors in a storage, without those of ties."""
        return [entry.name for entry in self.entries.get(storage, ()) if entry.tied is None]

    def calls(self) -> list[tuple[int, Call]]:
        """Return the outermost calls of initializers whose values stay, with their numbers."""
        numbers = {operation.label for operation in self.live if operation.label is not None}
        return [(number, self.program.calls[number]) for number in sorted(numbers)]


def listed(names: Iterable[str]) -> str:
    """Name some tensors in a few words; repeated layers are one name.

    >>> listed([f"layers.{i}.{name}" for i in range(4) for name in ("weight", "bias")])
    'layers.{0..3}.weight, layers.{0..3}.bias'
    """
    return few(together(names), _NAMED)
