"""Runs a program on real tensors."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from torchinit.recording._program import (
    Entry,
    Operation,
    Program,
    RecordError,
    Ref,
    Scheduled,
    Step,
    schedule,
    storages,
)

_S = TypeVar("_S", bound=Step)


@contextmanager
def _drawn_from(generator: torch.Generator | None) -> Iterator[None]:
    """Let the default CPU generator stand for another one in a block."""
    if generator is None:
        yield
        return
    default = torch.default_generator
    before = default.get_state()
    default.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(default.get_state())
        default.set_state(before)


# The default dtype with which complex numbers are made.
_REAL = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}


def find_operator(name: str) -> Any:
    """Return the overload of a qualified name, such as ``"aten.normal_.default"``."""
    namespace, operator, overload = name.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), operator), overload)


def call(operation: Operation, tensor: Callable[[Ref], Tensor], **kwargs: Any) -> Any:
    """Call the operator of an operation with real tensors."""
    args, own = operation.given(tensor)
    return find_operator(operation.name)(*args, **own, **kwargs)


def check_made(ref: Ref, made: Any) -> None:
    """Raise if an operator makes another tensor than it did when recorded."""
    if not isinstance(made, Tensor) or tuple(made.shape) != ref.size or made.dtype != ref.dtype:
        what = f"{made.dtype} {list(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise RecordError(f"an operator must make what it made when recorded, {ref.dtype} {list(ref.size)}, got {what}")


class Memory:
    """The storages of a replay, each allocated when an operator first needs it, and the states of its generators.

    Args:
        program: knows the storages
        bound: memory of the caller for some storages, which are filled in place
        zeroed: whether new memory holds zeros; otherwise it comes as it is
    """

    def __init__(
        self, program: Program, bound: Mapping[int, torch.UntypedStorage] | None = None, zeroed: bool = False
    ) -> None:
        self.program = program
        self.bound, self.zeroed = bound or {}, zeroed
        self.storages: dict[int, torch.UntypedStorage] = {}
        # The generators of the model's own, and the saved states of the default one.
        self._own: dict[int, torch.Generator] = {}
        self._saved: dict[int, Tensor] = {}

    def run(self, operation: Operation) -> None:
        """Run one operation of a program."""
        if operation.is_state:
            self._set_state(operation)
            return
        own = {} if operation.generator is None else {"generator": self._own[operation.generator]}
        with _default_dtype(operation):
            out = call(operation, self.tensor, **own)
        # A result may be None, which has its place in fresh too.
        for ref, tensor in zip(operation.fresh, tree_flatten(out)[0]):
            if ref is not None:
                self.keep(ref, tensor)

    def _set_state(self, operation: Operation) -> None:
        (number,) = operation.args
        if operation.generator is not None:
            self._own[operation.generator] = torch.Generator().manual_seed(number)
        elif operation.operator == "seed":
            torch.default_generator.manual_seed(number)
        elif operation.operator == "save":
            self._saved[number] = torch.default_generator.get_state()
        else:
            torch.default_generator.set_state(self._saved[number])

    def tensor(self, ref: Ref) -> Tensor:
        """View a storage; its memory is new if nothing has filled it yet."""
        storage = self.storage(ref.storage)
        view = torch.empty(0, dtype=ref.dtype, device="cpu").set_(storage, ref.offset, ref.size, ref.stride)
        return view.conj() if ref.conj else view

    def storage(self, number: int) -> torch.UntypedStorage:
        """Return a storage; its memory is new, or holds a constant, if nothing has filled it yet."""
        found = self.storages.get(number)
        if found is None:
            found = self.storages[number] = self._new(number)
        return found

    def _new(self, number: int) -> torch.UntypedStorage:
        nbytes = self.program.nbytes[number]
        storage = self.bound.get(number) or torch.UntypedStorage(nbytes)  # type: ignore[no-untyped-call]
        contents = torch.empty(0, dtype=torch.uint8, device="cpu").set_(storage)
        if number in self.program.constants:
            contents.copy_(self.program.constants[number])
        elif self.zeroed:
            contents.zero_()
        return storage

    def keep(self, ref: Ref, made: Tensor) -> None:
        """Take what an operator made; copy it if the operator laid it out in another way."""
        check_made(ref, made)
        if (tuple(made.shape), made.stride(), made.storage_offset()) == (ref.size, ref.stride, ref.offset):
            bound = self.bound.get(ref.storage)
            if bound is None:
                self.storages[ref.storage] = made.untyped_storage()
                return
        self.tensor(ref).copy_(made)

    def drop(self, numbers: Iterable[int]) -> None:
        """Free storages that nobody needs any more."""
        for number in numbers:
            self.storages.pop(number, None)


@contextmanager
def _default_dtype(operation: Operation) -> Iterator[None]:
    """Let an operator that makes floating-point numbers of none give the dtype that it gave when recorded."""
    default = torch.get_default_dtype()
    made = next((ref.dtype for ref in operation.fresh if ref is not None), default)
    dtype = _REAL.get(made, made)
    if not dtype.is_floating_point or dtype == default:
        yield
        return
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


def run(program: Program, operations: Iterable[Operation]) -> Memory:
    """Run some operations of a program, and return what they leave."""
    memory = Memory(program)
    for operation in operations:
        memory.run(operation)
    return memory


# Takes the number of a storage once it is filled, and the memory that has it.
Deliver: TypeAlias = Callable[[int, Memory], None]


def replay(
    program: Program,
    wanted: Iterable[int],
    deliver: Deliver,
    generator: torch.Generator | None = None,
    bound: Mapping[int, torch.UntypedStorage] | None = None,
) -> None:
    """Run a program from the state of a generator, in order, one tensor at a time.

    Args:
        program: the program
        wanted: the storages to fill
        deliver: called with the number of each storage once it is filled
        generator: the CPU generator (default: the default one)
        bound: memory of the caller for some storages, which are filled in place
    """
    memory, wanted = Memory(program, bound), set(wanted)
    with _drawn_from(generator):
        run_scheduled(schedule(program, program.operations, wanted, draws=True), memory, memory.run, wanted, deliver)


def run_scheduled(
    steps: Iterable[Scheduled[_S]], memory: Memory, run: Callable[[_S], None], wanted: Iterable[int], deliver: Deliver
) -> None:
    """Run the steps of a schedule, deliver each wanted storage once it is filled, and free what nobody needs."""
    left = set(wanted)
    for scheduled in steps:
        run(scheduled.step)
        for number in scheduled.complete:
            deliver(number, memory)
        left -= set(scheduled.complete)
        memory.drop(scheduled.drop)
    for number in sorted(left & memory.program.constants.keys()):
        # No operator may have asked for it: this fills memory of the caller with the constant.
        memory.storage(number)
        deliver(number, memory)
        memory.drop([number])


def values_of(program: Program, entries: Iterable[Entry]) -> dict[str, Tensor]:
    """Compute the values of entries that follow from no draw, by name; memory that nothing has filled holds zeros."""
    found: dict[str, Tensor] = {}
    entries = list(entries)
    wanted, memory = storages(x.ref for x in entries), Memory(program, zeroed=True)

    def keep(number: int, memory: Memory) -> None:
        found.update({x.name: memory.tensor(x.ref).clone() for x in entries if x.ref.storage == number})

    # Draws that something overwrites may be left; their values do not matter.
    with _drawn_from(torch.Generator()):
        run_scheduled(schedule(program, program.operations, wanted, draws=False), memory, memory.run, wanted, keep)
    return found
