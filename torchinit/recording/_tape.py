"""Records every operator that runs, over fake tensors, so that building a model takes no memory.

Small tensors that carry no draw are real, because a model's code may ask for their values. A small tensor that carries
one keeps its memory, but is marked in ``_Values.unknown``: nothing may read it.
"""

import copy
import math
from collections.abc import Mapping
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from torchinit._core.compat import FakeTensor, StorageWeakRef, fake_errors, storage_id, unset_fake_temporarily
from torchinit.recording._frames import arguments, initializer_frames, module_of, outer_frames, place_of
from torchinit.recording._program import OVERWRITING, Call, Operation, Ref
from torchinit.recording._random import Generators

# Tensors made with at most this many elements are real, and operators on at most that many run.
SMALL_RESULT, SMALL_ARGUMENTS = 65536, 1 << 20

# Operators that only say where memory is; it is allocated when something writes to it.
_ALLOCATING = frozenset(
    ["empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "empty_permuted", "resize_", "set_"]
)


class RecordError(RuntimeError):
    """A model's code does what cannot be recorded; the message says what, where, and what to do."""


class _Values:
    """Knows the storages of a recording, and which of them have unknown values."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.nbytes: dict[int, int] = {}
        # A weak reference keeps the address of a storage from being used again.
        self.held: list[Any] = []
        self.unknown: set[int] = set()
        self.constants: dict[int, Tensor] = {}

    def knows(self, tensor: Tensor) -> bool:
        return storage_id(tensor) in self.numbers

    def is_unknown(self, tensor: Tensor) -> bool:
        return self.numbers.get(storage_id(tensor), -1) in self.unknown

    def mark(self, ref: Ref, known: bool) -> None:
        """Note whether a tensor that was written to has known values."""
        if not known:
            self.unknown.add(ref.storage)
        elif ref.is_dense() and ref.numel * ref.dtype.itemsize == self.nbytes[ref.storage]:
            self.unknown.discard(ref.storage)

    def ref(self, tensor: Tensor, made: bool = False) -> Ref:
        """Return the view that a tensor is; a tensor that no operator made is a constant."""
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise RecordError(f"a recording holds strided tensors only, got one of layout {tensor.layout}")
        address = storage_id(tensor)
        number = self.numbers.get(address)
        if number is None:
            number = self.numbers[address] = len(self.numbers)
            storage = tensor.untyped_storage()
            self.held.append(StorageWeakRef(storage))  # type: ignore[no-untyped-call]
            if not made and not isinstance(tensor, FakeTensor) and not tensor.is_meta:
                with unset_fake_temporarily():
                    self.constants[number] = torch.empty(0, dtype=torch.uint8).set_(storage).clone()
        self.nbytes[number] = max(self.nbytes.get(number, 0), tensor.untyped_storage().nbytes())
        return Ref(
            number,
            tensor.dtype,
            tuple(tensor.shape),
            tuple(tensor.stride()),
            int(tensor.storage_offset()),
            tensor.is_conj(),
        )


class _Invocation:
    """An operator with the arguments that it is called with."""

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        schema = function._schema
        self.name: str = schema.name.partition("::")[2]
        self.random = torch.Tag.nondeterministic_seeded in function.tags
        self.tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        self.written: list[Tensor] = []
        for index, argument in enumerate(schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[index] if index < len(args) else kwargs.get(argument.name)
                self.written += [x for x in tree_flatten(value)[0] if isinstance(x, Tensor)]
        self.is_view = any(x.alias_info is not None and not x.alias_info.is_write for x in schema.returns)
        self.makes_tensors = any("Tensor" in str(x.type) for x in schema.returns)

    def run(self) -> Any:
        return self.function(*self.args, **self.kwargs)

    def run_fake(self) -> Any:
        """Run on fake tensors; a real one among the arguments becomes a fake one, without its autograd history."""

        def plain(x: Any) -> Any:
            return x.detach() if isinstance(x, Tensor) and not isinstance(x, FakeTensor) else x

        with unset_fake_temporarily():
            args, kwargs = tree_map(plain, (self.args, self.kwargs))
        return self.function(*args, **kwargs)

    def read(self) -> list[Tensor]:
        """Return the tensors whose values it uses."""
        written = self.written if self.name in OVERWRITING else []
        return [x for x in self.tensors if not any(x is y for y in written)]

    def is_small(self) -> bool:
        """True if it may run: its arguments, or what it makes of numbers, take little memory."""
        if self.tensors:
            return sum(x.numel() for x in self.tensors) <= SMALL_ARGUMENTS
        sizes = [x for x in self.args if isinstance(x, (list, tuple)) and all(isinstance(i, int) for i in x)]
        numbers = [x for x in self.args if isinstance(x, (int, float)) and not isinstance(x, bool)]
        return math.prod(sizes[0] if sizes else ()) <= SMALL_RESULT and all(abs(x) <= SMALL_RESULT for x in numbers)


class Tape(TorchDispatchMode):
    """Collects the operators that run in its block.

    Args:
        stop: the frame outside which none is looked at
    """

    def __init__(self, stop: FrameType | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values = _Values()
        self.generators = Generators(self._note_state)
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        # The lines that made memory without writing to it.
        self.allocated: dict[int, str] = {}
        self._stop = stop
        # The frames of the current calls of initializers, and their numbers.
        self._current: dict[FrameType, int] = {}

    def _note_state(self, name: str, number: int, generator: int | None = None) -> None:
        frames = list(outer_frames(self._stop))
        self.operations.append(Operation(name, (number,), generator=generator, place=place_of(frames)))

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call = _Invocation(function, args, dict(kwargs or {}))
        if function.namespace == "prim" or not (call.tensors or call.makes_tensors):
            return call.run()
        given = tree_map(lambda x: self.values.ref(x) if isinstance(x, Tensor) else x, (call.args, call.kwargs))
        out, known = self._run(call)
        made = [x if isinstance(x, Tensor) else None for x in tree_flatten(out)[0]]
        fresh = tuple(None if x is None or self.values.knows(x) else self.values.ref(x, made=True) for x in made)
        if call.name in _ALLOCATING:
            made_here = {ref.storage for ref in fresh if ref is not None}
            self.values.unknown |= made_here
            self.allocated |= dict.fromkeys(made_here, place_of(list(outer_frames(self._stop))))
            return out
        writes = tuple(self.values.ref(x) for x in call.written)
        for ref in writes:
            self.values.mark(ref, known)
        # Nothing is written or drawn on the meta device.
        is_meta = any(x is not None and x.device.type == "meta" for x in (*call.written, *made))
        if not is_meta and (writes or any(ref is not None for ref in fresh)):
            self._append(call, given, fresh, writes)
        return out

    def _run(self, call: _Invocation) -> tuple[Any, bool]:
        """Run an operator on real or on fake tensors; say whether the values that it gives are known."""
        read = call.read()
        real = not any(isinstance(x, FakeTensor) for x in read)
        known = real and not call.random and not any(self.values.is_unknown(x) for x in read) and call.is_small()
        if known or (real and call.is_view):
            with unset_fake_temporarily():
                return call.run(), known
        if call.written and not any(isinstance(x, FakeTensor) for x in call.written):
            # NB: a real tensor cannot become a fake one. It keeps its values, which nothing may read from here on.
            return call.written[0] if len(call.written) == 1 else tuple(call.written), False
        try:
            return call.run_fake(), False
        except fake_errors as error:
            raise self._refused(call.name) from error

    def _refused(self, what: str) -> RecordError:
        place = place_of(list(outer_frames(self._stop)))
        return RecordError(
            "a recording has no value of a drawn or large tensor, so the model's code must not ask for one, got"
            f" {what} at {place}; compute the number from sizes, or initialize after the model is built"
        )

    def refuse_read(self, tensor: Tensor, what: str) -> None:
        """Raise if the values of a tensor are unknown."""
        if isinstance(tensor, FakeTensor) or self.values.is_unknown(tensor):
            raise self._refused(what)

    def _append(
        self,
        call: _Invocation,
        given: tuple[tuple[Any, ...], dict[str, Any]],
        fresh: tuple[Ref | None, ...],
        writes: tuple[Ref, ...],
    ) -> None:
        frames = list(outer_frames(self._stop))
        own, label = initializer_frames(frames)
        frames_of_calls = dict.fromkeys(frame for frame in (own, label) if frame is not None)
        self._current = {frame: self._call(frame) for frame in frames_of_calls}
        operation = Operation(
            name=str(call.function),
            args=given[0],
            # Every recording is replayed on a CPU.
            kwargs={name: x for name, x in given[1].items() if name not in ("device", "pin_memory", "generator")},
            fresh=fresh,
            writes=writes,
            random=call.random,
            generator=self.generators.number(call.kwargs.get("generator")),
            place=place_of(frames, label),
            call=None if own is None else self._current[own],
            label=None if label is None else self._current[label],
        )
        self.operations.append(operation)

    def _call(self, frame: FrameType) -> int:
        """Return the number of an initializer's call; a call that runs several operators has one."""
        number = self._current.get(frame)
        if number is None:
            number = len(self.calls)
            tensor, given, defaults = arguments(frame)
            self.calls.append(Call(frame.f_code.co_name, module_of(frame), given, defaults, self.values.ref(tensor)))
        return number


def _copied(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    """Copy a fake tensor deeply, as torch copies a real one.

    NB: torch's own way copies the fake tensor's mode with it, after which views of the copy are no views.
    """
    if id(tensor) not in memo:
        made = tensor.detach().clone().requires_grad_(tensor.requires_grad)
        made = torch.nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else made
        made.__dict__ |= {name: copy.deepcopy(x, memo) for name, x in vars(tensor).items() if name not in vars(made)}
        memo[id(tensor)] = made
    return cast(Tensor, memo[id(tensor)])


class RefusedReads(TorchFunctionMode):
    """Refuses the reads of an unknown tensor's values that run no operator; copies fake tensors."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function in (Tensor.tolist, Tensor.numpy):
            self.tape.refuse_read(args[0], function.__name__)
        if function is Tensor.__deepcopy__ and isinstance(args[0], FakeTensor):
            return _copied(*args)
        return function(*args, **(kwargs or {}))
