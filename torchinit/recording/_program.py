"""The program of a recording: the operators that fill a model's tensors, in order, without Python objects of the model.

A tensor stands for a strided view of a storage, so views need no operators of their own: ``weight[0].zero_()`` is a
``zero_`` of a part of the storage of ``weight``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map


class RecordError(RuntimeError):
    """A model's code does what cannot be recorded; the message says what, where, and what to do."""


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
    kwargs: dict[str, Any] = field(default_factory=dict)
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

    @property
    def draws(self) -> bool:
        """True if it draws from the default generator."""
        return self.random and self.generator is None

    @property
    def number(self) -> float | None:
        """The number that it fills a tensor with; None for another operator."""
        index = _FULL.get(self.operator, len(self.args))
        found = self.args[index] if index < len(self.args) else _CONSTANTS.get(self.operator)
        return found if isinstance(found, (int, float)) else None

    @cached_property
    def tensors(self) -> tuple[Ref, ...]:
        """The tensors among its arguments."""
        return tuple(value for value in tree_flatten((self.args, self.kwargs))[0] if isinstance(value, Ref))

    def given(self, tensor: Callable[[Ref], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return its arguments with what ``tensor`` returns in place of each tensor."""
        found: tuple[tuple[Any, ...], dict[str, Any]]
        found = tree_map(lambda x: tensor(x) if isinstance(x, Ref) else x, (self.args, self.kwargs))
        return found

    @cached_property
    def made(self) -> tuple[Ref, ...]:
        """The tensors that it makes or writes to."""
        return (*(ref for ref in self.fresh if ref is not None), *self.writes)

    @cached_property
    def reads(self) -> tuple[Ref, ...]:
        """The tensors whose values it uses."""
        if self.operator.endswith("_like") or self.operator.startswith("new_"):
            # It uses a tensor's shape alone.
            return ()
        ignored = self.writes if self._ignores_target else ()
        return tuple(ref for ref in self.tensors if ref not in ignored)

    @cached_property
    def ends(self) -> tuple[Ref, ...]:
        """The tensors whose earlier values it ends."""
        read = {ref.storage for ref in self.reads}
        written = (ref for ref in self.writes if self._ignores_target and ref.storage not in read)
        return (*(ref for ref in self.fresh if ref is not None), *written)

    @property
    def _ignores_target(self) -> bool:
        return self.operator in OVERWRITING or "out" in self.kwargs


# Operators that fill a tensor with one number: the number, or its position among the arguments.
_CONSTANTS = dict.fromkeys(["zeros", "zeros_like", "new_zeros", "zero_"], 0)
_CONSTANTS |= dict.fromkeys(["ones", "ones_like", "new_ones"], 1)
_FULL = {"full": 1, "full_like": 1, "new_full": 2, "fill_": 1, "scalar_tensor": 0}

# Operators that ignore the values of the tensor that they write to.
OVERWRITING = frozenset(
    ["fill_", "zero_", "copy_", "uniform_", "normal_", "random_"]
    + ["exponential_", "log_normal_", "cauchy_", "geometric_", "bernoulli_"]
)


@dataclass(frozen=True, eq=False)
class Draw:
    """A draw from a key, ``keyed.<initializer>(target, key, **args)``, in place of the operators of a call.

    Args:
        initializer: name of a function of :mod:`torchinit.keyed`
        target: the tensor that it fills
        args: its arguments besides the tensor and the key
        name: qualified name of the first entry, in the model's order, that the draw feeds
        index: its number among the draws of this name. Draw 0 has the key ``fold_in(root, name)``, each other one
            ``fold_in(fold_in(root, name), index)``
        place: the line of the user's code, ``"file.py:12"``
    """

    initializer: str
    target: Ref
    args: Mapping[str, Any]
    name: str = ""
    index: int = 0
    place: str = ""

    # The attributes of an Operation that code reads from any step.
    fresh, reads, generator, random, is_state = (), (), None, False, False

    @property
    def made(self) -> tuple[Ref, ...]:
        """The tensor that it fills."""
        return (self.target,)

    @property
    def ends(self) -> tuple[Ref, ...]:
        """The tensor that it fills."""
        return (self.target,)


Step: TypeAlias = Operation | Draw
_S = TypeVar("_S", bound=Step)


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
class Outside:
    """A use of something outside torch while a model was recorded.

    Args:
        kind: ``"random"`` for a draw that no seed of torch decides, ``"file"`` for a file that was read
        what: the function, such as ``"numpy.random.randn"``, or the file
        place: the line of the user's code, ``"file.py:12"``, or ``""`` if it is not known
        right: what to do
    """

    kind: str
    what: str
    place: str
    right: str


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

    @property
    def filled(self) -> set[int]:
        """The storages of its entries."""
        return storages(entry.ref for entry in self.entries)

    @cached_property
    def drawn(self) -> set[int]:
        """The storages whose values depend on a draw, at the end."""
        found: set[int] = set()
        for operation in self.operations:
            found -= self.overwritten(operation)
            if operation.random or storages(operation.reads) & found:
                found |= storages(operation.made)
        return found

    def covers(self, ref: Ref) -> bool:
        """True if a tensor is the whole of its storage."""
        return ref.is_dense() and ref.numel * ref.dtype.itemsize == self.nbytes[ref.storage]

    @cached_property
    def labeled(self) -> dict[int, list[Operation]]:
        """The operations of each outermost call of an initializer, by its number."""
        found: dict[int, list[Operation]] = {}
        for operation in self.operations:
            if operation.label is not None:
                found.setdefault(operation.label, []).append(operation)
        return found

    def overwritten(self, step: Step) -> set[int]:
        """Return the storages whose earlier values a step ends."""
        return {ref.storage for ref in step.ends if ref in step.fresh or self.covers(ref)}


@dataclass(frozen=True)
class Scheduled(Generic[_S]):
    """A step to run, the storages that are complete after it, and those that nobody needs any more."""

    step: _S
    complete: tuple[int, ...]
    drop: tuple[int, ...]


def schedule(program: Program, steps: Sequence[_S], wanted: Iterable[int], draws: bool) -> list[Scheduled[_S]]:
    """Return the steps that give some storages their values, in order.

    Args:
        program: knows the storages
        steps: the steps to choose from, such as the program's operations
        wanted: the storages
        draws: whether to keep every draw from the default generator, so that it advances as in the model's code
    """
    pending = set(wanted)
    # Going backwards: the storages needed after a step, and those of them that later steps use.
    needed, used, found = set(pending), set[int](), list[Scheduled[_S]]()
    for step in reversed(steps):
        made, read = storages(step.made), storages(step.reads)
        useful = bool(made & needed)
        if not useful and not _advances(step, draws):
            continue
        complete = made & pending
        found.append(Scheduled(step, tuple(complete), tuple((made | read) - used)))
        pending -= complete
        if useful:
            ended = program.overwritten(step)
            needed -= ended
            used = (used | made) - ended
        needed |= read
        used |= read
    return found[::-1]


def _advances(step: Step, draws: bool) -> bool:
    """True if later draws depend on the step, which advances or sets a generator."""
    return (step.random or step.is_state) and (draws or step.generator is not None)


def storages(refs: Iterable[Ref]) -> set[int]:
    """Return the storages of some tensors."""
    return {ref.storage for ref in refs}
