"""Follows a program without running it: what each storage holds, as the steps that made it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten

from torchinit.recording._program import Call, Entry, Operation, Program, Ref, storages
from torchinit.recording._regions import Box, box_of, filled, meet, overlap

# Operators that give the values of their argument.
_SAME = frozenset(["clone", "_to_copy", "copy_", "lift_fresh_copy", "contiguous", "alias_copy", "view_copy"])


# A tensor that is written in more parts than this becomes one value, so that a loop over rows takes linear time.
_PARTS = 64


@dataclass(eq=False)
class Value:
    """What a step makes; two tensors with the same value have the same draws.

    Args:
        kind: ``"operator"``, ``"call"`` of an initializer, ``"constant"`` from outside torch, ``"join"`` of parts that
            were written one after the other, ``"part"`` of another value, ``"so far"`` (what there was before, of a
            tensor of several parts), ``"given"`` (there when the recording began) or ``"unwritten"``
        arguments: positional and keyword arguments of the operator, with a value in place of each tensor
        inputs: the values that it uses
        operation: the operator, or the first of a call
        call: the call
        draws: whether it draws from the default generator
        tensor: the constant
        ref: the tensor that it was made for
        boxes: where the parts of a join are, or which part it is; None if that is no box
        seed: seed of the model's own generator that it draws from
        output: which of the operator's outputs it is
    """

    kind: str
    arguments: tuple[tuple[Any, ...], Mapping[str, Any]] = ((), {})
    inputs: tuple["Value", ...] = ()
    operation: Operation | None = None
    call: Call | None = None
    draws: bool = False
    tensor: Tensor | None = None
    ref: Ref | None = None
    boxes: tuple[Box | None, ...] = ()
    seed: int | None = None
    output: int = 0

    def __post_init__(self) -> None:
        #: whether it, or what it was made from, draws from the default generator
        self.drawn: bool = self.draws or any(value.drawn for value in self.inputs)
        #: the number that it is everywhere; kept by :func:`torchinit.recording._words.filling`
        self.filling: tuple[float | None] | None = None

    def steps(self) -> list["Value"]:
        """Return the values that it was made from and itself, each once, in an order of their making."""
        found: dict[int, Value] = {}
        pending: list[tuple[Value, bool]] = [(self, False)]
        while pending:
            value, ready = pending.pop()
            if ready:
                found.setdefault(id(value), value)
            elif id(value) not in found:
                pending.append((value, True))
                pending += [(each, False) for each in reversed(value.inputs)]
        return list(found.values())


@dataclass(frozen=True)
class _Write:
    """A part of a storage, and the value that it was given; ``adds`` if that depends on all that was there."""

    ref: Ref
    value: Value
    adds: bool = False


@dataclass
class _Unit:
    """The operators of a call of an initializer."""

    call: Call
    operations: list[Operation]
    value: Value | None = None

    def overwrites(self) -> bool:
        """True if the call leaves nothing of what its target held."""
        if self.call.is_upstreams:
            return True
        target = self.call.target
        first = next((o for o in self.operations if any(r.storage == target.storage for r in o.made)), None)
        if first is None or target.storage in storages(first.reads):
            return False
        return any(ref.storage == target.storage and box_of(ref, target) is not None for ref in first.made)


class Values:
    """Knows what the tensors of a model hold after a program has run.

    Args:
        program: the program
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._live: dict[int, list[_Write]] = {}
        self._dead: dict[int, list[_Write]] = {}
        self._made: dict[Any, Value] = {}
        self._seeds: dict[int, int] = {}
        self._units = _units(program)
        #: all draws from the default generator, in order
        self.draws: list[Value] = []
        for operation in program.operations:
            self._apply(operation)

    def of(self, entry: Entry) -> Value:
        """Return what an entry holds in the end."""
        return self._read(entry.ref)

    def overwritten(self, entry: Entry) -> list[Value]:
        """Return the draws of which an entry holds nothing any more, in order."""
        dead = self._dead.get(entry.ref.storage, [])
        return [each.value for each in dead if meet(each.ref, entry.ref)]

    def _read(self, ref: Ref) -> Value:
        writes = [write for write in self._live.get(ref.storage, []) if overlap(write.ref, ref)]
        boxes = [box_of(ref, write.ref) for write in writes]
        if len(writes) == 1 and not writes[0].adds and boxes[0] is not None and filled(ref, [boxes[0]]):
            return writes[0].value
        key = (ref, *(id(write.value) for write in writes))
        if key not in self._made:
            self._made[key] = self._combined(ref, writes, boxes)
        return self._made[key]

    def _combined(self, ref: Ref, writes: Sequence[_Write], boxes: Sequence[Box | None]) -> Value:
        if not writes:
            return self._unwritten(ref)
        if len(writes) == 1 and boxes[0] is None and not writes[0].adds:
            return Value("part", inputs=(writes[0].value,), ref=writes[0].ref, boxes=(box_of(writes[0].ref, ref),))
        values = [write.value for write in writes]
        covered = None in boxes or filled(ref, [box for box in boxes if box is not None])
        if not covered:
            values, boxes = [self._unwritten(ref), *values], [None, *boxes]
        return Value("join", inputs=tuple(values), ref=ref, boxes=tuple(boxes))

    def _unwritten(self, ref: Ref) -> Value:
        constant = self.program.constants.get(ref.storage)
        if constant is None:
            return Value("given" if ref.storage in self.program.given else "unwritten", ref=ref)
        nothing = constant.new_empty(0, dtype=ref.dtype)
        return Value("constant", tensor=nothing.set_(constant.untyped_storage(), ref.offset, ref.size, ref.stride))

    def _write(self, ref: Ref, value: Value, adds: bool = False) -> None:
        """Note a write, and which earlier ones it ends."""
        earlier, dead = self._live.get(ref.storage, []), self._dead.setdefault(ref.storage, [])
        writes = [*earlier, _Write(ref, value, adds)]
        if not adds:
            # A write elsewhere ends nothing.
            ended = [write for write in earlier if meet(write.ref, ref) and _ends(write, writes)]
            # A value that goes into the next one has not ended.
            dead += [x for x in ended if x.value.drawn and not any(x.value is step for step in value.steps())]
            writes = [write for write in writes if write not in ended]
        if len(writes) > _PARTS:
            whole = Ref(ref.storage, ref.dtype, (self.program.nbytes[ref.storage] // ref.dtype.itemsize,), (1,))
            joined = Value(
                "join", inputs=tuple(write.value for write in writes), ref=whole, boxes=(None,) * len(writes)
            )
            writes = [_Write(whole, joined)]
        self._live[ref.storage] = writes

    def _apply(self, operation: Operation) -> None:
        number = _unit_of(operation, self._units)
        if operation.is_state:
            if operation.generator is not None:
                self._seeds[operation.generator] = operation.args[0]
        elif number is not None:
            self._apply_call(self._units[number], operation)
        else:
            self._apply_operator(operation)

    def _apply_call(self, unit: _Unit, operation: Operation) -> None:
        target, draws = unit.call.target, any(o.draws for o in unit.operations)
        if unit.value is None:
            whole = unit.overwrites()
            before = self._so_far(target)
            inputs: tuple[Value, ...] = () if whole or before.kind == "unwritten" else (before,)
            unit.value = Value("call", inputs=inputs, operation=operation, call=unit.call, draws=draws, ref=target)
            self.draws += [unit.value] if draws else []
            if any(ref.storage == target.storage for o in unit.operations for ref in o.made):
                self._write(target, unit.value, adds=any(x.kind == "so far" for x in inputs))
        for ref in operation.made:
            if ref.storage != target.storage:
                self._live[ref.storage] = [_Write(ref, unit.value)]

    def _so_far(self, ref: Ref) -> Value:
        """Return what a tensor holds, or a mark if it was written in parts, which stay."""
        value = self._read(ref)
        return Value("so far", ref=ref) if value.kind in ("join", "part") else value

    def _apply_operator(self, operation: Operation) -> None:
        written = {ref for ref in operation.writes if ref.numel}
        read = set(operation.reads)

        def given(ref: Ref) -> Value | None:
            return None if ref not in read else self._so_far(ref) if ref in written else self._read(ref)

        arguments = operation.given(given)
        inputs = tuple(x for x in tree_flatten(arguments)[0] if isinstance(x, Value))
        made = [ref for ref in operation.made if ref.numel]
        for output, ref in enumerate(made):
            if operation.operator == "copy_" and operation.args[1] == ref:
                continue  # x[0] += 1 ends with a copy of the part onto itself
            value = self._same(operation, ref) or Value(
                "operator",
                arguments,
                inputs,
                operation,
                draws=operation.draws,
                seed=None if operation.generator is None else self._seeds[operation.generator],
                ref=ref,
                output=output,
            )
            self.draws += [value] if value.draws and not output else []
            self._write(ref, value, adds=any(x.kind == "so far" for x in inputs))

    def _same(self, operation: Operation, ref: Ref) -> Value | None:
        """Return the value that an operator copies, if it keeps its precision."""
        source = operation.args[1 if operation.operator == "copy_" else 0] if operation.operator in _SAME else None
        if not isinstance(source, Ref) or not _holds(ref, source):
            return None
        if ref in operation.fresh:
            self._dead[ref.storage] = list(self._dead.get(source.storage, []))
        return self._read(source)


def _holds(ref: Ref, source: Ref) -> bool:
    """True if a tensor's dtype holds the values of another's; integers in a float count as held."""
    a, b = ref.dtype, source.dtype
    return a == b or not (b.is_floating_point or b.is_complex) or (a.is_floating_point and a.itemsize >= b.itemsize)


def _ends(write: _Write, writes: Sequence[_Write]) -> bool:
    """True if the writes after an earlier one leave nothing of it."""
    after = writes[writes.index(write) + 1 :]
    last = after[-1].ref
    if box_of(last, write.ref) is not None:
        return True
    boxes = [box_of(write.ref, other.ref) for other in after if not other.adds]
    return len(boxes) == len(after) and filled(write.ref, [box for box in boxes if box is not None])


def _units(program: Program) -> dict[int, _Unit]:
    """Collect the operators of each call; a function that only passes on to another is left out."""
    units = {}
    for label, operations in program.labeled.items():
        inner = operations[0].call
        passes_on = all(operation.call == inner for operation in operations)
        number = inner if inner is not None and passes_on else label
        units[number] = _Unit(program.calls[number], operations)
    return units


def _unit_of(operation: Operation, units: Mapping[int, _Unit]) -> int | None:
    number = operation.call if operation.call in units else operation.label
    return number if number in units else None


def draws_of(values: Sequence[Value]) -> Iterator[Value]:
    """Yield the draws that some values were made from, each once."""
    seen: set[int] = set()
    for value in values:
        for step in value.steps():
            if step.draws and id(step) not in seen:
                seen.add(id(step))
                yield step
