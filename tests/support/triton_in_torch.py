"""A stand-in for Triton: its operators on tensors of torch, as far as the kernel of keyed draws uses them."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from torchinit.keyed._philox import philox_words

_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Pointer:
    """A vector, and the indices that are pointed at."""

    memory: Tensor
    at: Any = 0

    def __add__(self, offset: Any) -> "Pointer":
        return Pointer(self.memory, self.at + offset)

    def __sub__(self, offset: Any) -> "Pointer":
        return Pointer(self.memory, self.at - offset)

    @property
    def dtype(self) -> SimpleNamespace:
        return SimpleNamespace(element_ty=self.memory.dtype)


def _load(pointer: Pointer, mask: Any = None, other: int = 0) -> Any:
    if mask is None:
        return int(pointer.memory[pointer.at])
    at = torch.where(mask, pointer.at, 0)
    return torch.where(mask, pointer.memory[at], other)


def _store(pointer: Pointer, values: Tensor, mask: Tensor) -> None:
    at = pointer.at[mask]
    assert at.numel() == 0 or (int(at.min()) >= 0 and int(at.max()) < pointer.memory.numel())
    assert values.dtype == pointer.memory.dtype
    pointer.memory[at] = values[mask]


def _philox(seed: int, *counters: Tensor) -> list[Tensor]:
    low, high, zero, none = (counter & _MASK for counter in counters)
    assert not zero.any()
    assert not none.any()
    # NB: by one tensor of words for each; few blocks come packed.
    words = philox_words(torch.tensor([seed, 0]), low | high << 32)
    return [word & _MASK for word in (words if len(words) == 4 else words[0].unbind(-1))]


class Language:
    """The operators of ``triton.language``, for one program of a grid."""

    # Its integers are 64 bits wide here, and masked where they are used.
    int64 = uint32 = torch.int64
    float32 = torch.float32
    load, store, philox = staticmethod(_load), staticmethod(_store), staticmethod(_philox)
    sqrt_rn = staticmethod(torch.sqrt)

    def __init__(self) -> None:
        self.program = 0

    def program_id(self, axis: int) -> Tensor:
        return torch.tensor(self.program)

    def arange(self, start: int, end: int) -> Tensor:
        return torch.arange(start, end)

    def interleave(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.stack([first, second], -1).flatten()


def _passed(arg: Any) -> Any:
    """Pass an argument as a launch does: memory without its version or a pending negation, and 64-bit integers."""
    if isinstance(arg, Tensor):
        assert not arg.is_neg()
        return Pointer(arg.view(-1).data)
    assert isinstance(arg, float) or -(2**63) <= arg < 2**63
    return arg


class Kernel:
    """Launches a kernel: ``kernel[grid](*arguments)``."""

    def __init__(self, language: Language, write: Callable[..., None]) -> None:
        self.language, self.write = language, write

    def __getitem__(self, grid: tuple[int]) -> Callable[..., None]:
        def launch(*args: Any, enable_fp_fusion: bool, **constants: Any) -> None:
            # Eager's two roundings.
            assert not enable_fp_fusion
            for program in range(grid[0]):
                self.language.program = program
                self.write(*map(_passed, args), **constants)

        return launch
