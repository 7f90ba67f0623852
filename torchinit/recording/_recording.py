"""A recording: what fills a model's tensors, to be read, replayed and turned into other forms."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from torchinit.recording._program import Entry, Program, Ref
from torchinit.recording._replay import Memory, replay
from torchinit.recording._skeleton import real_copy
from torchinit.recording._targets import bindable, match, place

_Module = TypeVar("_Module", bound=nn.Module)


class Recording:
    """How a model's own code fills its parameters and buffers; made by :func:`torchinit.record`.

    Args:
        program: the operators that fill them
        skeleton: the model with fake tensors, or None
        find: returns which part of the program's memory a tensor of the skeleton is, or None
    """

    def __init__(
        self,
        program: Program,
        skeleton: nn.Module | None = None,
        find: Callable[[Tensor], Ref | None] = lambda tensor: None,
    ) -> None:
        self.program, self._skeleton, self._find = program, skeleton, find

    def materialize_(
        self,
        model: _Module,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        key: Tensor | None = None,
        strict: bool = True,
    ) -> _Module:
        """Fill a model's parameters and buffers as the recorded code fills them."""
        return self._filled(model, [], seed=seed, generator=generator, key=key, strict=strict)

    def _filled(
        self,
        model: _Module,
        others: list[tuple[Entry, Tensor]],
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        key: Tensor | None = None,
        strict: bool = True,
    ) -> _Module:
        """Fill a model, and tensors of it that are neither parameters nor buffers."""
        if sum(x is not None for x in (seed, generator, key)) > 1:
            raise ValueError("the draws come from a seed, a generator or a key, got more than one")
        pairs = [(entry, tensor) for entry, tensor in match(self.program.entries, model, strict) if not tensor.is_meta]
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
        _fill(self.program, pairs + others, generator)
        return model

    def build(self, device: torch.device | str | None = None, **kwargs: Any) -> nn.Module:
        """Build the recorded model, and fill it as :meth:`materialize_` does."""
        if self._skeleton is None:
            raise RuntimeError(
                "build() needs the module, which only the recording has that record() returned, got one without;"
                " build the model, and fill it with materialize_()"
            )
        model, others = real_copy(self.program, self._skeleton, self._find, device)
        return self._filled(model, others, **kwargs)


def _fill(program: Program, pairs: list[tuple[Entry, Tensor]], generator: torch.Generator | None) -> None:
    """Replay a program from a generator's state into the tensors of a model."""
    targets: dict[int, list[tuple[Entry, Tensor]]] = {}
    for entry, tensor in pairs:
        targets.setdefault(entry.ref.storage, []).append((entry, tensor))
    bound = {}
    for number, found in targets.items():
        if bindable(program, *found[0]):
            bound[number] = found[0][1].untyped_storage()

    def deliver(number: int, memory: Memory) -> None:
        for entry, tensor in targets[number]:
            if number not in bound or tensor.untyped_storage().data_ptr() != bound[number].data_ptr():
                place(tensor, memory.tensor(entry.ref))

    replay(program, targets, deliver, generator, bound)
