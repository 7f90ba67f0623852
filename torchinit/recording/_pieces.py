"""Computes one box of an entry whose steps are elementwise."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from torchinit.recipes._keyed_apply import KEYED
from torchinit.recording._boxes import Chain, View, decode
from torchinit.recording._program import Draw, Operation, Ref, Step, storages
from torchinit.recording._replay import call


class Piece:
    """A box of an entry, and the parts of all storages that it needs.

    Args:
        chain: the entry's steps
        constants: the memory of storages that hold values from outside torch
        begin: where the box begins in the entry
        start: the values of the box at the start; their memory is not written
    """

    def __init__(self, chain: Chain, constants: Mapping[int, Tensor], begin: Sequence[int], start: Tensor) -> None:
        self.chain, self.constants, self.begin, self.start = chain, constants, begin, start
        self.parts: dict[int, Tensor] = {}

    def compute(self, keys: Mapping[Draw, Tensor]) -> Tensor:
        """Run the steps that the box needs, and return its values in the recorded dtype."""
        needed, steps = {self.chain.entry.ref.storage}, []
        for step in reversed(self.chain.steps):
            (made,) = step.made
            if made.storage in needed and all(length for _, _, length in self._window(made)):
                steps.append(step)
                needed |= _touched(step)
        steps.reverse()
        last = {storage: index for index, step in enumerate(steps) for storage in _touched(step)}
        for index, step in enumerate(steps):
            if isinstance(step, Draw):
                self._draw(step, keys[step])
            else:
                self._run(step)
            for storage in _touched(step) - {self.chain.entry.ref.storage}:
                if last[storage] == index:
                    self.parts.pop(storage, None)
        return self.view(self.chain.entry.ref)

    def _extent(self, storage: int) -> list[tuple[int, int]]:
        """Return where the part of a storage begins and ends, by dimension of its frame's tensor."""
        frame, found = self.chain.frames[storage], []
        for size, axis in zip(frame.base.size, frame.axes):
            first, length = (0, size) if axis is None else (self.begin[axis[0]] - axis[1], self.start.size(axis[0]))
            found.append((min(max(first, 0), size), min(max(first + length, 0), size)))
        return found

    def _box(self, ref: Ref) -> View:
        box = decode(self.chain.frames[ref.storage].base, ref)
        assert box is not None, "a chain has boxes only"
        return box

    def _window(self, ref: Ref) -> list[tuple[int, int, int]]:
        """Return where a view begins in its storage's part, where in itself, and its length; by dimension."""
        found = []
        for (first, end), (begin, length) in zip(self._extent(ref.storage), self._box(ref).box):
            low, high = max(first, begin), min(end, begin + length)
            found.append((low - first, low - begin, max(0, high - low)))
        return found

    def _part(self, storage: int) -> Tensor:
        """Return the part of a storage, with the values that it has at the start."""
        if storage not in self.parts:
            base, extent = self.chain.frames[storage].base, self._extent(storage)
            if storage in self.constants:
                held = self.constants[storage].untyped_storage()
                whole = torch.empty(0, dtype=base.dtype).set_(held, base.offset, base.size, base.stride)
                self.parts[storage] = whole[tuple(slice(first, end) for first, end in extent)].clone()
            else:
                shape = [end - first for first, end in extent]
                self.parts[storage] = torch.empty(shape, dtype=base.dtype, device="cpu")
                if storage == self.chain.entry.ref.storage and self.chain.starts:
                    self.parts[storage].copy_(self.start)
        return self.parts[storage]

    def view(self, ref: Ref) -> Tensor:
        """Return this box's part of a view."""
        tensor, order = self._part(ref.storage), self._box(ref).order
        for d, (first, _, length) in enumerate(self._window(ref)):
            tensor = tensor.narrow(d, first, length)
        kept = [d for d in order if d is not None]
        # The view has one index only of each other dimension.
        others = [d for d in range(tensor.dim()) if d not in kept]
        tensor = tensor.permute(kept + others).flatten(len(kept)).select(-1, 0) if others else tensor.permute(kept)
        for v, axis in enumerate(order):
            tensor = tensor.unsqueeze(v) if axis is None else tensor
        return tensor

    def _draw(self, draw: Draw, key: Tensor) -> None:
        target, window = draw.target, self._window(draw.target)
        offset = [0 if d is None else window[d][1] for d in self._box(target).order]
        KEYED[draw.initializer](self.view(target), key, **draw.args, full_size=list(target.size), offset=offset)

    def _run(self, operation: Operation) -> None:
        (made,) = operation.made
        if operation.number is not None:
            self.view(made).fill_(operation.number)
            return
        out = call(operation, self.view)
        if operation.fresh:
            if made.storage not in self.parts and made == self.chain.frames[made.storage].base:
                self.parts[made.storage] = out
            else:
                self.view(made).copy_(out)


def _touched(step: Step) -> set[int]:
    """Return the storages of the tensors that a step makes and takes."""
    return storages(step.made if isinstance(step, Draw) else (*step.made, *step.tensors))
