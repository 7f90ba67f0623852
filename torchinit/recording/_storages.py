"""The storages of a recording by number, and what is known of their values."""

import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchinit._core.compat import FakeTensor, FakeTensorMode, StorageWeakRef, no_dispatch_modes, storage_id
from torchinit.recording._program import RecordError, Ref


@dataclass
class _Exposed:
    """A tensor whose memory a numpy array shares, with its values and the line of the user's code."""

    array: weakref.ref[Any]
    tensor: Tensor
    values: Tensor
    place: str


class Storages:
    """Numbers the storages that operators use.

    Attributes:
        nbytes: size of each storage
        unknown: storages that hold a draw, or memory as it came; nothing may read their values
        constants: what storages hold that no operator filled
        given: storages of the model that the recorded code initializes; they keep their values
    """

    def __init__(self) -> None:
        self.nbytes: dict[int, int] = {}
        self.unknown: set[int] = set()
        self.constants: dict[int, Tensor] = {}
        self.given: set[int] = set()
        self._numbers: dict[int, int] = {}
        # A weak reference keeps the address of a storage from being used again.
        self._held: list[Any] = []
        # Constants that the recorded code made, such as torch.tensor(...), and may change.
        self._own: set[int] = set()
        self._exposed: list[_Exposed] = []

    def number(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor's storage, or None if no operator has used it."""
        return self._numbers.get(storage_id(tensor))

    def is_unknown(self, tensor: Tensor) -> bool:
        """True if nothing may read a tensor's values."""
        return isinstance(tensor, FakeTensor) or self.number(tensor) in self.unknown

    def is_given(self, tensor: Tensor) -> bool:
        """True for the memory of a model that the recorded code initializes."""
        return self.number(tensor) in self.given

    def is_outside(self, tensor: Tensor) -> bool:
        """True if a tensor was there before the recording."""
        number = self.ref(tensor).storage
        return number in self.constants and number not in self._own

    def own(self, tensor: Tensor) -> None:
        """Note that the recorded code has made a constant."""
        self._own.add(self.ref(tensor).storage)

    def mark(self, ref: Ref, known: bool) -> None:
        """Note whether a tensor that was written to has known values."""
        if not known:
            self.unknown.add(ref.storage)
        elif ref.is_dense() and ref.numel * ref.dtype.itemsize == self.nbytes[ref.storage]:
            self.unknown.discard(ref.storage)

    def give(self, tensor: Tensor) -> None:
        """Take a tensor of the model that the recorded code initializes."""
        self.given.add(self.ref(tensor, made=True).storage)
        self.unknown |= self.given

    def find(self, tensor: Tensor) -> Ref | None:
        """Return the view that a tensor is, or None if no operator has used its storage."""
        return None if self.number(tensor) is None else self.ref(tensor)

    def ref(self, tensor: Tensor, made: bool = False) -> Ref:
        """Return the view that a tensor is; a tensor that no operator made is a constant."""
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_neg():
            raise RecordError(f"a recording holds plain strided tensors, got one of layout {tensor.layout}")
        number = self._numbers.get(storage_id(tensor))
        if number is None:
            number = self._add(tensor, len(self.nbytes))
            if not made and not isinstance(tensor, FakeTensor) and tensor.device.type != "meta":
                self.constants[number] = _bytes(tensor)
        self.nbytes[number] = max(self.nbytes.get(number, 0), tensor.untyped_storage().nbytes())
        # NB: a parameter that waits for its shape has no attribute shape.
        size, stride = tuple(tensor.size()), tuple(tensor.stride())
        return Ref(number, tensor.dtype, size, stride, int(tensor.storage_offset()), tensor.is_conj())

    def _add(self, tensor: Tensor, number: int) -> int:
        self._numbers[storage_id(tensor)] = number
        self._held.append(StorageWeakRef(tensor.untyped_storage()))  # type: ignore[no-untyped-call]
        return number

    def alias(self, tensor: Tensor, mode: FakeTensorMode | None) -> Tensor:
        """Return another tensor for the same view of the same storage: a mode's fake one, or one with untouched memory."""
        ref = self.ref(tensor)
        elements = -(-self.nbytes[ref.storage] // ref.dtype.itemsize)
        with no_dispatch_modes(), mode or nullcontext():
            memory = torch.empty(elements, dtype=ref.dtype, device="cpu")
            made = memory.as_strided(ref.size, ref.stride, ref.offset)
        self._add(made, ref.storage)
        self.unknown.add(ref.storage)
        return made

    def expose(self, tensor: Tensor, array: Any, place: str) -> None:
        """Note that a numpy array shares a tensor's memory, and may change it unseen."""
        with no_dispatch_modes():
            self._exposed.append(_Exposed(weakref.ref(array), tensor.detach(), tensor.detach().clone(), place))

    def check_exposed(self) -> None:
        """Raise if numpy has changed a tensor's memory."""
        with no_dispatch_modes():
            for exposed in self._exposed:
                if not torch.equal(exposed.tensor.nan_to_num(), exposed.values.nan_to_num()):
                    raise RecordError(
                        "a recording sees only what torch's operators write, so numpy must not write to a tensor's"
                        f" memory, got an array of it at {exposed.place}; fill the array, then make a tensor of it"
                    )
        self._exposed = [exposed for exposed in self._exposed if exposed.array() is not None]

    def refresh_exposed(self) -> None:
        """Take the values that operators have written to a tensor that numpy sees."""
        with no_dispatch_modes():
            for exposed in self._exposed:
                exposed.values.copy_(exposed.tensor)


def _bytes(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor's whole storage."""
    with no_dispatch_modes():
        return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage()).cpu().clone()
