"""The program of a recording: the operators that fill a model's tensors, in order, without Python objects of the model.

A tensor stands for a strided view of a storage, so views need no operators of their own: ``weight[0].zero_()`` is a
``zero_`` of a part of the storage of ``weight``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from torchinit.recording._outside import Outside


@dataclass(frozen=True)
class Ref:
    """A strided view of a storage; ``offset`` counts elements of ``dtype``."""

    storage: int
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0
    conj: bool = False

    @property
    def numel(self) -> int:
        """The number of elements."""
        count = 1
        for size in self.size:
            count *= size
        return count

    def is_dense(self) -> bool:
        """True if the view has each element of one run of memory once, in any order of the dimensions."""
        expected = 1
        for stride, size in sorted((s, n) for s, n in zip(self.stride, self.size) if n != 1):
            if stride != expected:
                return False
            expected *= size
        return True


@dataclass(frozen=True)
class Call:
    """A call of an initializer: its name, the module that defines it, its arguments and the tensor it fills."""

    function: str
    module: str
    args: Mapping[str, Any]
    defaults: Mapping[str, Any]
    target: Ref

    @property
    def is_upstreams(self) -> bool:
        """True for a function of ``torch.nn.init`` or of this package, whose law is known."""
        return self.module == "torch.nn.init" or self.module.partition(".")[0] == "torchinit"


@dataclass(frozen=True, eq=False)
class Operation:
    """An operator with its arguments, in which a :class:`Ref` stands for each tensor.

    Args:
        name: qualified name of the overload, such as ``"aten.normal_.default"``; or ``"seed"``, ``"save"`` and
            ``"restore"``, which set the state of a generator
        args: its arguments
        kwargs: its keyword arguments
        fresh: the tensors that it makes; None stands for an output that is no new tensor
        writes: the tensors that it writes to
        random: whether it draws from a generator
        generator: number of a generator of the model's own, or None for the default one
        place: the line of the user's code, ``"file.py:12"``; for an initializer's operator, the line that calls it
        call: number of the call of an initializer of ``torch.nn.init`` or torchinit that it is part of
        label: number of the outermost call of any initializer that it is part of
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    fresh: tuple[Ref | None, ...] = ()
    writes: tuple[Ref, ...] = ()
    random: bool = False
    generator: int | None = None
    place: str = ""
    call: int | None = None
    label: int | None = None

    @property
    def operator(self) -> str:
        """The operator's name without namespace and overload."""
        return self.name.split(".")[1] if "." in self.name else self.name

    @property
    def is_state(self) -> bool:
        """True if it sets the state of a generator."""
        return "." not in self.name

    def made(self) -> Iterator[Ref]:
        """Yield the tensors that it makes or writes to."""
        yield from (ref for ref in self.fresh if ref is not None)
        yield from self.writes

    def reads(self) -> tuple[Ref, ...]:
        """Return the tensors whose values it uses."""
        return self._read

    @cached_property
    def _read(self) -> tuple[Ref, ...]:
        if self.operator.endswith("_like") or self.operator.startswith("new_"):
            # It uses a tensor's shape alone.
            return ()
        ignored = set(self.writes) if self.operator in OVERWRITING or "out" in self.kwargs else set()
        values = tree_flatten((self.args, dict(self.kwargs)))[0]
        return tuple(value for value in values if isinstance(value, Ref) and value not in ignored)


# Operators that ignore the values of the tensor that they write to.
OVERWRITING = frozenset(
    ["fill_", "zero_", "copy_", "uniform_", "normal_", "random_"]
    + ["exponential_", "log_normal_", "cauchy_", "geometric_", "bernoulli_"]
)


@dataclass(frozen=True)
class Entry:
    """A parameter or buffer of the model.

    Args:
        name: qualified name
        ref: where its values are
        kind: ``"parameter"`` or ``"buffer"``
        module: type name of the module that owns it, with the module that defines it
        requires_grad: whether it requires a gradient
        persistent: whether a ``state_dict`` has it
        tied: the first name of the same tensor, if this is another one
    """

    name: str
    ref: Ref
    kind: str
    module: str
    requires_grad: bool = False
    persistent: bool = True
    tied: str | None = None


@dataclass(frozen=True)
class Program:
    """What fills a model's tensors.

    Args:
        operations: the operators in order
        entries: the parameters and buffers, in the model's order
        calls: the calls of initializers, by number
        nbytes: size of each storage
        constants: what some storages hold at the start: values from outside torch
        given: storages of tensors that were there at the start, with any values
        outside: what the model's code takes from outside torch
        allocated: the lines of the user's code that made the memory of tensors without writing to it, by storage
    """

    operations: tuple[Operation, ...]
    entries: tuple[Entry, ...]
    calls: tuple[Call, ...]
    nbytes: Mapping[int, int]
    constants: Mapping[int, Tensor]
    given: frozenset[int] = frozenset()
    outside: tuple[Outside, ...] = ()
    allocated: Mapping[int, str] = field(default_factory=dict)

    def covers(self, ref: Ref) -> bool:
        """True if a tensor is the whole of its storage."""
        return ref.is_dense() and ref.numel * ref.dtype.itemsize == self.nbytes[ref.storage]


@dataclass(frozen=True)
class Step:
    """An operation to run, the storages that are complete after it, and those that nobody needs any more."""

    operation: Operation
    complete: tuple[int, ...]
    drop: tuple[int, ...]


def overwritten(program: Program, operation: Operation) -> set[int]:
    """Return the storages whose earlier values an operation ends."""
    read = {ref.storage for ref in operation.reads()}
    ends = {ref.storage for ref in operation.fresh if ref is not None}
    if operation.operator in OVERWRITING or "out" in operation.kwargs:
        ends |= {ref.storage for ref in operation.writes if program.covers(ref) and ref.storage not in read}
    return ends


def slice_of(program: Program, wanted: Iterable[int], draws: bool) -> list[Step]:
    """Return the operations that give some storages their values, in order.

    Args:
        program: the program
        wanted: the storages
        draws: whether to keep every draw from the default generator, so that it advances as in the model's code
    """
    pending = set(wanted)
    # Going backwards: the storages needed after an operation, and those of them that later operations use.
    needed, used, steps = set(pending), set[int](), list[Step]()
    for operation in reversed(program.operations):
        made = {ref.storage for ref in operation.made()}
        read = {ref.storage for ref in operation.reads()}
        useful = bool(made & needed)
        if not useful and not _advances(operation, draws):
            continue
        complete = made & pending
        steps.append(Step(operation, tuple(complete), tuple((made | read) - used)))
        pending -= complete
        if useful:
            ended = overwritten(program, operation)
            needed -= ended
            used = (used | made) - ended
        needed |= read
        used |= read
    return steps[::-1]


def _advances(operation: Operation, draws: bool) -> bool:
    """True if later draws depend on the operation, which advances or sets a generator."""
    return (operation.random or operation.is_state) and (draws or operation.generator is not None)


def storages(entries: Sequence[Entry]) -> set[int]:
    """Return the storages of some entries."""
    return {entry.ref.storage for entry in entries}
