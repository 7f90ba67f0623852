"""The keyed program of a recording: what fills each tensor if the draws come from a key.

A keyed draw depends on its key alone, so only the operators count whose values reach a tensor, and each tensor can be
filled by itself. Eager code and the methods of a TorchScript file run the same steps, which gives equal bits.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch

from torchinit.recipes._keyed_apply import KEYED
from torchinit.recording._keyed_draws import decompose
from torchinit.recording._program import Call, Draw, Operation, Program, Ref, Step
from torchinit.recording._regions import extent, overlap

# The arguments of each initializer that draws, besides the tensor, the key and the piece.
_PARAMETERS = {
    name: frozenset(inspect.signature(function).parameters) - {"tensor", "key", "full_size", "offset"}
    for name, function in KEYED.items()
}


@dataclass(frozen=True, eq=False)
class KeyedProgram:
    """What fills a model's tensors from a key.

    Args:
        program: the recorded program, whose ``nbytes`` knows the temporaries of the steps, too
        steps: the steps that any entry needs, in order
        feeds: for each entry's name, the numbers of its steps, in order
        begins: for each entry's name, the storages whose values at the start it may depend on, because its steps do not
            write all of them; never a constant's
    """

    program: Program
    steps: tuple[Step, ...]
    feeds: Mapping[str, tuple[int, ...]]
    begins: Mapping[str, frozenset[int]]

    def check(self) -> None:
        """Raise if an entry needs a draw that no key gives, such as ``multinomial``."""
        for step in self.steps:
            if isinstance(step, Operation) and step.draws:
                raise RuntimeError(
                    "a key draws uniform and normal values, and what follows from them, got"
                    f" {step.operator} at {step.place}; materialize from a seed"
                )

    def steps_of(self, names: Iterable[str]) -> list[Step]:
        """Return the steps that some entries need, in order."""
        return [self.steps[number] for number in sorted({n for name in names for n in self.feeds[name]})]


def _within(inner: Ref, outer: Ref) -> bool:
    (first, end), (outer_first, outer_end) = extent(inner), extent(outer)
    return inner.storage == outer.storage and outer_first <= first and end <= outer_end


@dataclass(eq=False)
class _Node:
    """A step, and what it depends on: other steps, by number, and storages at the start."""

    step: Step
    needs: set[int] = field(default_factory=set)
    begins: set[int] = field(default_factory=set)


class _Writers:
    """Knows which steps the values of each storage come from."""

    def __init__(self, starting: frozenset[int]) -> None:
        self.starting = starting
        self.found: dict[int, list[tuple[int, Ref, bool]]] = {}

    def of(self, ref: Ref) -> set[int]:
        return {number for number, made, _ in self.found.get(ref.storage, ()) if overlap(made, ref)}

    def begins(self, ref: Ref) -> bool:
        """True if a tensor may still have values from the start."""
        if ref.storage not in self.starting:
            return False
        at, last = extent(ref)
        for first, end in sorted(extent(made) for _, made, all_of_it in self.found.get(ref.storage, ()) if all_of_it):
            if first <= at:
                at = max(at, end)
        return at < last

    def add(self, number: int, step: Step) -> None:
        for ref in step.ends:
            if ref.is_dense():
                kept = [item for item in self.found.get(ref.storage, ()) if not _within(item[1], ref)]
                self.found[ref.storage] = kept
        for ref in step.made:
            self.found.setdefault(ref.storage, []).append((number, ref, ref.is_dense() and ref in step.ends))


def _users(program: Program) -> dict[int, set[int | None]]:
    """Return the calls that use each storage; None stands for the code around them."""
    found: dict[int, set[int | None]] = {}
    for operation in program.operations:
        for ref in (*operation.made, *operation.reads):
            found.setdefault(ref.storage, set()).add(operation.call)
    for storage in (*program.filled, *program.constants, *program.given):
        found.setdefault(storage, set()).add(None)
    return found


def _is_one_draw(call: Call, operations: Sequence[Operation], users: Mapping[int, set[int | None]]) -> bool:
    """True if a call is a draw of a function whose law is known, and changes nothing but its target."""
    if not call.is_upstreams or _PARAMETERS.get(call.function) != frozenset(call.args):
        return False
    touched = {ref for operation in operations for ref in (*operation.made, *operation.reads)}
    return (
        any(operation.random for operation in operations)
        and all(operation.generator is None for operation in operations)
        and all(_within(ref, call.target) or users[ref.storage] == {operations[0].call} for ref in touched)
    )


def _steps(program: Program, new: dict[int, int]) -> Iterator[Step]:
    """Turn calls of initializers and random operators into draws; ``new`` takes the sizes of temporaries."""
    first, users = max(program.nbytes, default=0) + 1, _users(program)

    def temporary(size: tuple[int, ...], dtype: torch.dtype) -> Ref:
        number = first + len(new)
        stride = torch.empty(size, device="meta").stride()
        ref = Ref(number, dtype, size, stride)
        new[number] = ref.numel * dtype.itemsize
        return ref

    for number, group in groupby(program.operations, lambda operation: operation.call):
        operations = list(group)
        if number is not None and _is_one_draw(program.calls[number], operations, users):
            call = program.calls[number]
            yield Draw(call.function, call.target, call.args, place=operations[0].place)
            continue
        for operation in operations:
            yield from decompose(operation, temporary) if operation.draws else [operation]


def _linked(steps: Iterable[Step], starting: frozenset[int]) -> tuple[list[_Node], _Writers]:
    """Find which steps each step depends on."""
    nodes: list[_Node] = []
    writers, generators = _Writers(starting), dict[int, int]()
    for number, step in enumerate(steps):
        found = _Node(step)
        for ref in step.reads:
            found.needs |= writers.of(ref)
            if writers.begins(ref):
                found.begins.add(ref.storage)
        if step.generator is not None:
            if not step.is_state:
                found.needs.add(generators[step.generator])
            generators[step.generator] = number
        writers.add(number, step)
        nodes.append(found)
    return nodes, writers


def _closure(nodes: Sequence[_Node], roots: Iterable[int]) -> list[int]:
    """Return the numbers of some steps and of all that they depend on, in order."""
    found, waiting = set[int](), list(roots)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += nodes[number].needs
    return sorted(found)


def keyed_program(program: Program) -> KeyedProgram:
    """Find the steps that fill each entry from a key."""
    new: dict[int, int] = {}
    starting = (program.given | program.filled) - set(program.constants)
    nodes, writers = _linked(_steps(program, new), frozenset(starting))
    feeds, begins, named, live = {}, {}, dict[int, tuple[str, int]](), set[int]()
    for entry in program.entries:
        numbers = _closure(nodes, writers.of(entry.ref))
        unnamed = [n for n in numbers if isinstance(nodes[n].step, Draw) and n not in named]
        named |= {n: (entry.name, index) for index, n in enumerate(unnamed)}
        own = {entry.ref.storage} if numbers and writers.begins(entry.ref) else set[int]()
        begins[entry.name] = frozenset(own.union(*(nodes[n].begins for n in numbers)))
        feeds[entry.name] = numbers
        live.update(numbers)
    order = {number: index for index, number in enumerate(sorted(live))}
    steps = []
    for number in order:
        step = nodes[number].step
        if isinstance(step, Draw):
            step = replace(step, name=named[number][0], index=named[number][1])
        steps.append(step)
    return KeyedProgram(
        program=replace(program, nbytes={**program.nbytes, **new}),
        steps=tuple(steps),
        feeds={name: tuple(order[n] for n in numbers) for name, numbers in feeds.items()},
        begins=begins,
    )
