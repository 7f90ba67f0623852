"""Turns a program into rows of numbers that a loop in TorchScript runs; its length does not depend on the model's.

Values that depend on no draw are computed here, and stored as tables. The rest becomes rows: which operator, the numbers of
its views, floats. A row opens a storage before the first operator that needs it, and drops it after the last.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from torchinit._core.torchscript import dtype_code
from torchinit.recording._program import Draw, Operation, Program, Ref, Scheduled, Step, schedule, storages
from torchinit.recording._replay import Memory
from torchinit.recording._script_lines import DROP, FILL, MAKE, NEW, OPEN, PLACE, SEED, TABLE, ScriptLine


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
class LoopRows:
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


class LoopGenerators:
    """Follows which generator draws; TorchScript cannot save a state, but it can leave a generator alone.

    Number 0 is the caller's. A seed between a save and a restore, as in ``torch.random.fork_rng``, makes another one.
    """

    def __init__(self, steps: Sequence[Step], rows: LoopRows) -> None:
        self.rows, self.current = rows, 0
        self._own: dict[int, int] = {}
        # How often each saved state is still to be restored.
        self._restored = Counter(x.args[0] for x in steps if isinstance(x, Operation) and x.name == "restore")
        self._saved: dict[int, int] = {}
        self._advanced: set[int] = set()

    def number(self, operation: Operation) -> int:
        """Return the number of the generator that an operator draws from."""
        if operation.generator is not None:
            return self._own[operation.generator]
        self._advanced |= {save for save, number in self._saved.items() if number == self.current}
        return self.current

    def apply(self, operation: Operation) -> None:
        """Seed, save or restore."""
        (value,) = operation.args
        if operation.generator is not None:
            self._own[operation.generator] = self._made(value)
        elif operation.name == "save":
            if self._restored[value]:
                self._saved[value] = self.current
        elif operation.name == "restore":
            self._restore(value, operation.place)
        elif self.current in self._saved.values():
            self.current = self._made(value)
        else:
            self.rows.add(SEED, [_signed(value), self.current])

    def _restore(self, save: int, place: str) -> None:
        self.current = self._saved[save]
        self._restored[save] -= 1
        if not self._restored[save]:
            del self._saved[save]
        if save in self._advanced:
            self._refuse(f"set_rng_state at {place}")

    def finish(self) -> None:
        """Raise if the caller's generator has not the state that the model's code leaves."""
        if self.current:
            self._refuse("a seed that a later get_rng_state keeps")

    def _refuse(self, what: str) -> None:
        raise RuntimeError(
            "an attached method can set a generator back only to a state that it has not drawn from since, got"
            f" {what}; seed after get_rng_state, as within torch.random.fork_rng"
        )

    def _made(self, seed: int) -> int:
        self.rows.generators += 1
        self.rows.add(MAKE, [_signed(seed), self.rows.generators - 1])
        return self.rows.generators - 1


def _signed(seed: int) -> int:
    """Return the signed 64-bit number of the same bits."""
    return (seed + (1 << 63)) % (1 << 64) - (1 << 63)


# For each storage to fill, the numbers of the model's tensors that have its values, and their views.
Targets: TypeAlias = Mapping[int, Sequence[tuple[int, Ref]]]


class Lowering:
    """Writes the rows of one method.

    Args:
        program: knows the storages
        steps: the steps to choose from, in order
        targets: the storages to fill
        store: takes views, tables and names
    """

    def __init__(self, program: Program, steps: Sequence[Step], targets: Targets, store: Store) -> None:
        self.program, self.targets, self.store, self.rows = program, targets, store, LoopRows()
        self._memory = Memory(program)
        # The storages whose values are known here, whose values depend on a draw, and that have a slot.
        self._known, self._drawn, self._open = set(program.constants), set[int](), set[int]()
        # A flat view of each storage.
        self._flat: dict[int, Ref] = {}
        for ref in (ref for found in targets.values() for _, ref in found):
            self._flatten(ref)
        scheduled = schedule(program, steps, targets, draws=True)
        self._generators = LoopGenerators([x.step for x in scheduled], self.rows)
        for each in scheduled:
            self._run(each)
        completed = {storage for each in scheduled for storage in each.complete}
        for storage in sorted(set(targets) & set(program.constants) - completed):
            self._complete(storage)
            self._drop(storage)
        self._generators.finish()

    def _flatten(self, ref: Ref, place: str = "") -> Ref:
        """Return a flat view of a storage."""
        size = self.program.nbytes[ref.storage] // ref.dtype.itemsize
        flat = self._flat.setdefault(ref.storage, Ref(ref.storage, ref.dtype, (size,), (1,)))
        if flat.dtype != ref.dtype:
            # NB: TorchScript takes the dtype in view(dtype) for a size.
            raise RuntimeError(
                f"an attached method can see a storage with one dtype only, got {flat.dtype} and {ref.dtype} at {place}"
            )
        return flat

    def _run(self, scheduled: Scheduled[Step]) -> None:
        step = scheduled.step
        if isinstance(step, Operation) and step.is_state:
            self._generators.apply(step)
        elif isinstance(step, Operation) and self._is_known(step):
            self._compute(step)
        else:
            self._write(step)
        for storage in sorted(scheduled.complete):
            self._complete(storage)
        for storage in sorted(scheduled.drop):
            self._drop(storage)

    def _is_known(self, operation: Operation) -> bool:
        """True if an operator depends on no draw, and on no value that the model's tensors had before."""
        if operation.random:
            return False
        used = storages(operation.reads) | (storages(operation.made) - self.program.overwritten(operation))
        unknown = self._drawn | (self.program.given | set(self.targets)) - self._known
        return not used & unknown

    def _compute(self, operation: Operation) -> None:
        self._memory.run(operation)
        for storage in storages(operation.made):
            self._close(storage)
            self._drawn.discard(storage)
            self._known.add(storage)

    def _write(self, step: Step) -> None:
        """Add the row of an operator or draw."""
        ended, line = self.program.overwritten(step), ScriptLine(step)
        for ref in line.refs:
            self._flatten(ref, "a draw" if isinstance(step, Draw) else step.place)
            if ref.storage in ended:
                self._forget(ref.storage)
            self._ensure(ref.storage)
        numbers = []
        if isinstance(step, Draw):
            numbers = [self.store.name(step.name), step.index]
        elif step.random:
            numbers = [self._generators.number(step)]
        self.rows.add(line.text, numbers, [self._view(ref) for ref in line.refs], line.floats)
        for storage in storages(step.made):
            self._forget(storage)
            self._drawn.add(storage)

    def _view(self, ref: Ref) -> int:
        slot = self.rows.slots.setdefault(ref.storage, len(self.rows.slots))
        return self.store.view((slot, int(ref.conj), ref.offset, *ref.size, *ref.stride))

    def _ensure(self, storage: int) -> None:
        """Give a storage a slot, with its values if they are known."""
        if storage in self._open:
            return
        self._open.add(storage)
        slot, flat = self.rows.slots.setdefault(storage, len(self.rows.slots)), self._flat[storage]
        found = [(n, ref) for n, ref in self.targets.get(storage, ()) if self.program.covers(ref) and not ref.offset]
        if found:
            number, ref = found[0]
            self.rows.add(OPEN, [slot, number, ref.numel, dtype_code(ref.dtype), *ref.stride])
        else:
            self.rows.add(NEW, [flat.numel, dtype_code(flat.dtype), slot])
        if storage in self._known and flat.numel:
            self._load(flat)

    def _load(self, flat: Ref) -> None:
        """Add the row that gives a storage its known values: one value, or a table."""
        values = self._memory.tensor(flat)
        number = _one_value(values)
        if number is not None:
            self.rows.add(FILL, views=[self._view(flat)], floats=[number])
            return
        self.rows.add(TABLE, [self.store.table(values)], [self._view(flat)])

    def _complete(self, storage: int) -> None:
        """Write a storage to the model's tensors."""
        self._ensure(storage)
        for number, ref in self.targets[storage]:
            self.rows.add(PLACE, [number], [self._view(ref)])

    def _drop(self, storage: int) -> None:
        self._forget(storage)
        self._drawn.discard(storage)
        self._close(storage)

    def _close(self, storage: int) -> None:
        if storage in self._open:
            self._open.discard(storage)
            self.rows.add(DROP, [self.rows.slots[storage]])

    def _forget(self, storage: int) -> None:
        """Forget the values of a storage that are known here."""
        self._known.discard(storage)
        self._memory.drop([storage])


def _one_value(values: Tensor) -> float | None:
    """Return the float of which all elements of a tensor are made, bit by bit, or None."""
    first = values[0].item()
    if isinstance(first, complex):
        return None
    filled = torch.full_like(values, float(first))
    return float(first) if same_bits(filled, values) else None
