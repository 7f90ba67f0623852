"""Records every operator that runs, over fake tensors, so that building a model takes no memory.

Small tensors that carry no draw are real, because a model's code may ask for their values. A small tensor that carries
one keeps its memory, but its storage is marked as unknown: nothing may read it.
"""

from collections.abc import Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_flatten, tree_map

from torchinit._core.compat import (
    FakeTensor,
    FakeTensorMode,
    fake_errors,
    forget_fakes,
    no_dispatch_modes,
    unset_fake_temporarily,
    unsupported_errors,
)
from torchinit.recording._frames import arguments, initializer_frames, module_of, outer_frames, place_of
from torchinit.recording._invocation import Invocation
from torchinit.recording._outside import note
from torchinit.recording._program import Call, Operation, RecordError, Ref
from torchinit.recording._random import Generators
from torchinit.recording._storages import Storages

# The methods by which people call operators.
_METHODS = {"_local_scalar_dense": "item", "_unique2": "unique"}


class Tape(TorchDispatchMode):
    """Collects the operators that run in its block.

    Args:
        stop: the frame outside which none is looked at
        mode: makes the fake tensors
    """

    def __init__(self, stop: FrameType | None, mode: FakeTensorMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.mode = mode
        self.values = Storages()
        self.generators = Generators(self._note_state, self.place, note)
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        # The lines that made memory without writing to it.
        self.allocated: dict[int, str] = {}
        self._stop = stop
        # The frames of the current calls of initializers, and their numbers.
        self._current: dict[FrameType, int] = {}

    def place(self) -> str:
        """Return the line of the user's code that runs."""
        return place_of(list(outer_frames(self._stop)))

    def _note_state(self, name: str, number: int, generator: int | None = None) -> None:
        self.operations.append(Operation(name, (number,), generator=generator, place=self.place()))

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call = Invocation(function, args, dict(kwargs or {}))
        if any(is_traceable_wrapper_subclass(x) for x in call.tensors):
            # Its own code calls operators on the tensors in it.
            return NotImplemented
        if function.namespace == "prim" or not (call.tensors or call.makes_tensors):
            return call.run()
        self.values.check_exposed()
        try:
            return self._reshape(call) if call.reshapes else self._record(call)
        finally:
            forget_fakes(self.mode)

    def _reshape(self, call: Invocation) -> Any:
        """Let a tensor view other memory; nothing is to be replayed."""
        (target, *rest) = call.args
        self.refuse_reshape(target, call.name)
        rest = [self._alike(target, x) for x in rest]
        if isinstance(target, FakeTensor):
            out = call.function(target, *rest, **call.kwargs)
        else:
            with unset_fake_temporarily():
                out = call.function(target, *rest, **call.kwargs)
        if call.name.startswith("resize"):
            self.values.mark(self.values.ref(target), False)
        return out

    def _size_out(self, call: Invocation) -> None:
        """Give an empty ``out`` the size of its result, as an operator does that runs."""
        if any(x.is_out for x in call.function._schema.arguments) and any(x.numel() == 0 for x in call.written):
            results = tree_flatten(call.run_fake(self.mode))[0]
            with unset_fake_temporarily():
                for out, result in zip(call.written, results):
                    if out.numel() == 0:
                        out.resize_(result.shape)

    def _record(self, call: Invocation) -> Any:
        if any(self.values.is_outside(x) for x in call.written):
            raise self.refused_write(call.name)
        self._size_out(call)
        given = tree_map(lambda x: self.values.ref(x) if isinstance(x, Tensor) else x, (call.args, call.kwargs))
        out, known = self._run(call)
        made = [x if isinstance(x, Tensor) else None for x in tree_flatten(out)[0]]
        fresh = tuple(
            None if x is None or self.values.number(x) is not None else self.values.ref(x, made=True) for x in made
        )
        if call.allocates:
            made_here = {ref.storage for ref in fresh if ref is not None}
            self.values.unknown |= made_here
            self.allocated |= dict.fromkeys(made_here, self.place())
            return out
        writes = tuple(self.values.ref(x) for x in call.written)
        for ref in writes:
            self.values.mark(ref, known)
        if call.name == "lift_fresh":
            self.values.own(call.tensors[0])
        on_meta = all(self._is_on_meta(x) for x in (*made, *call.written) if x is not None)
        if not on_meta and (writes or any(ref is not None for ref in fresh)):
            self.values.refresh_exposed()
            self._append(call, given, fresh, writes)
        return out

    def _is_on_meta(self, tensor: Tensor) -> bool:
        """True for a tensor without values, on which a draw draws nothing."""
        return tensor.device.type == "meta" and not self.values.is_given(tensor)

    def _run(self, call: Invocation) -> tuple[Any, bool]:
        """Run an operator on real or on fake tensors; say whether the values that it gives are known."""
        real = not any(isinstance(x, FakeTensor) for x in call.tensors)
        # NB: a real tensor cannot become a fake one. It keeps its values, which nothing may read from here on.
        kept = bool(call.written) and not any(isinstance(x, FakeTensor) for x in call.written)
        known = real and not call.random and not any(self.values.is_unknown(x) for x in call.read())
        if kept and any(self.values.is_given(x) for x in call.written):
            known = False
        if known and call.is_small(self.mode):
            return self._run_real(call)
        if real and call.is_view:
            with unset_fake_temporarily():
                return call.run(), False
        if kept and call.is_in_place:
            return call.skip(), False
        try:
            return call.run_fake(self.mode), False
        except RuntimeError as error:
            if isinstance(error, fake_errors):
                raise self._refused(_METHODS.get(call.name, call.name)) from error
            if call.is_custom or isinstance(error, unsupported_errors):
                raise RecordError(
                    "a recording runs operators on fake tensors, so an operator must have a fake implementation, got"
                    f" {call.function} at {self.place()}; give it one with torch.library.register_fake"
                ) from error
            raise

    def _run_real(self, call: Invocation) -> tuple[Any, bool]:
        """Run an operator on small tensors of known values."""
        with unset_fake_temporarily():
            if not call.is_custom:
                return call.run(), True
            # Whether it draws is not declared.
            state = torch.default_generator.get_state()
            out = call.run()
            call.random = not torch.equal(torch.default_generator.get_state(), state)
            torch.default_generator.set_state(state)
            return out, not call.random

    def _refused(self, what: str) -> RecordError:
        return RecordError(
            "a recording has no value of a drawn or large tensor, so the model's code must not ask for one, got"
            f" {what} at {self.place()}; compute the number from sizes, or initialize after the model is built"
        )

    def refused_write(self, what: str) -> RecordError:
        return RecordError(
            "the recorded code may write only to tensors of its model and to those that it makes, got"
            f" {what} on another at {self.place()}; write to a copy"
        )

    def _append(
        self,
        call: Invocation,
        given: tuple[tuple[Any, ...], dict[str, Any]],
        fresh: tuple[Ref | None, ...],
        writes: tuple[Ref, ...],
    ) -> None:
        frames = list(outer_frames(self._stop))
        own, label = initializer_frames(frames)
        # Both may be the same frame, which has one number.
        self._current = {frame: self._call(frame) for frame in dict.fromkeys((own, label)) if frame is not None}
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

    def _alike(self, target: Tensor, value: Any) -> Any:
        """Return the same view, or the same storage, as ``value``, fake or real as ``target`` is."""
        if isinstance(value, torch.UntypedStorage):
            with no_dispatch_modes():
                view = torch.empty(0, dtype=torch.uint8, device=value.device).set_(value)
            is_fake = isinstance(target, FakeTensor)
            return value if is_fake == view.is_meta else self._alias(view, is_fake).untyped_storage()
        return self.alike(target, value) if isinstance(value, Tensor) else value

    def alike(self, target: Tensor, value: Tensor) -> Tensor:
        """Return the same view of the same storage as ``value``, fake or real as ``target`` is."""
        is_fake = isinstance(target, FakeTensor)
        return value if is_fake == isinstance(value, FakeTensor) else self._alias(value, is_fake)

    def _alias(self, value: Tensor, is_fake: bool) -> Tensor:
        return self.values.alias(value, self.mode if is_fake else None)

    def refuse_reshape(self, tensor: Tensor, what: str) -> None:
        """Raise if a tensor is not the recorded code's to change, but one of the model that it initializes."""
        if not isinstance(tensor, FakeTensor) and self.values.is_given(tensor):
            raise self.refused_write(what)

    def refuse_read(self, tensor: Tensor, what: str) -> None:
        """Raise if the values of a tensor are unknown."""
        if self.values.is_unknown(tensor):
            raise self._refused(what)
