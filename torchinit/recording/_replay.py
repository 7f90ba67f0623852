"""Runs a program on real tensors."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from torchinit.recording._program import Operation, Program, Ref, slice_of


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


class Memory:
    """The storages of a replay; one is allocated when an operator first needs it."""

    def __init__(self, program: Program, bound: Mapping[int, torch.UntypedStorage] | None = None) -> None:
        self.program = program
        self.bound = bound or {}
        self.storages: dict[int, torch.UntypedStorage] = {}

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
        if number in self.program.constants:
            torch.empty(0, dtype=torch.uint8, device="cpu").set_(storage).copy_(self.program.constants[number])
        return storage

    def keep(self, ref: Ref, made: Tensor) -> None:
        """Take what an operator made; copy it if the operator laid it out in another way."""
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


class States:
    """The generators of a replay: the default one, and those of the model's own."""

    def __init__(self) -> None:
        self.own: dict[int, torch.Generator] = {}
        self.saved: dict[int, Tensor] = {}

    def apply(self, operation: Operation) -> None:
        (number,) = operation.args
        if operation.generator is not None:
            self.own[operation.generator] = torch.Generator().manual_seed(number)
        elif operation.operator == "seed":
            torch.default_generator.manual_seed(number)
        elif operation.operator == "save":
            self.saved[number] = torch.default_generator.get_state()
        else:
            torch.default_generator.set_state(self.saved[number])


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


def run(operation: Operation, memory: Memory, generator: torch.Generator | None = None) -> None:
    """Run one operator of a program."""

    def given(value: Any) -> Any:
        return memory.tensor(value) if isinstance(value, Ref) else value

    args, kwargs = tree_map(given, (operation.args, dict(operation.kwargs)))
    own = {} if generator is None else {"generator": generator}
    with _default_dtype(operation):
        out = find_operator(operation.name)(*args, **kwargs, **own)
    made = [x for x in tree_flatten(out)[0] if isinstance(x, Tensor)]
    for ref, tensor in zip(operation.fresh, made):
        if ref is not None:
            memory.keep(ref, tensor)


def replay(
    program: Program,
    wanted: Iterable[int],
    deliver: Callable[[int, Memory], None],
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
    memory, states = Memory(program, bound), States()
    wanted = set(wanted)
    steps = slice_of(program, wanted, draws=True)
    with _drawn_from(generator):
        for step in steps:
            if step.operation.is_state:
                states.apply(step.operation)
                continue
            own = step.operation.generator
            run(step.operation, memory, None if own is None else states.own[own])
            for number in step.complete:
                deliver(number, memory)
                wanted.discard(number)
            memory.drop(step.drop)
        for number in sorted(wanted & set(program.constants)):
            memory.storage(number)
            deliver(number, memory)
            memory.drop([number])
