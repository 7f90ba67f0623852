"""Finds the tensors that can be computed piece by piece, so that a rank computes only what it owns, and computes pieces.

Their steps are elementwise. Each storage of the steps gets a frame, which says where its elements lie in the tensor, so
that a box of the tensor needs a box of each storage and no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

from torchinit._core.registry import INITIALIZERS
from torchinit.recipes._keyed_apply import KEYED
from torchinit.recording._keyed_program import KeyedProgram
from torchinit.recording._program import Draw, Entry, Operation, Ref, Step, storages
from torchinit.recording._regions import Box, box_of
from torchinit.recording._replay import call

# Operators whose results depend on the value alone. NB: others, such as pow and sigmoid, have another last bit where a
# kernel leaves its vector loop, at the end of a row or of a thread's part.
ELEMENTWISE = frozenset(
    ["neg", "abs", "sqrt", "reciprocal", "square", "exp", "log", "log2", "log10", "log1p", "expm1", "erf", "erfc"]
    + ["erfinv", "sin", "cos", "tan", "asin", "acos", "atan", "tanh", "floor", "ceil", "round", "trunc", "sign"]
    + ["add", "sub", "rsub", "mul", "div", "clamp", "clamp_min", "clamp_max", "minimum", "maximum", "where"]
    + ["eq", "ne", "lt", "le", "gt", "ge", "logical_not", "logical_and", "logical_or", "masked_fill"]
    + ["copy", "fill", "zero", "clone", "_to_copy", "lift_fresh_copy"]
)

# Where a dimension lies in an entry: the entry's dimension and the index at which it begins; None for one of size 1.
Axis: TypeAlias = tuple[int, int] | None


@dataclass(frozen=True)
class View:
    """A tensor as a box of another: the indices of each dimension, and which dimension each of its own is."""

    box: Box
    order: tuple[int | None, ...]


@lru_cache(maxsize=4096)
def box_in(base: Ref, ref: Ref) -> View | None:
    """Return the box of a dense tensor that another one is, if it is one."""
    if ref.dtype != base.dtype or ref.conj or base.conj or ref.numel == 0 or not base.is_dense():
        return None
    box = box_of(base, ref)
    if box is None or any(indices.step != 1 for indices in box):
        return None
    dims = {stride: d for d, stride in enumerate(base.stride) if base.size[d] != 1}
    order = [None if size == 1 else dims.get(stride) for size, stride in zip(ref.size, ref.stride)]
    # NB: a dense tensor has a box also where it has other dimensions, such as a flat view.
    own = {d: size for d, size in zip(order, ref.size) if d is not None}
    is_same = all(len(indices) == own.get(d, 1) for d, indices in enumerate(box))
    is_whole = len(own) == sum(size != 1 for size in ref.size)
    return View(box, tuple(order)) if is_same and is_whole else None


@dataclass(frozen=True)
class Frame:
    """Where the elements of a storage lie in an entry: those of a dense tensor, and where its dimensions lie."""

    base: Ref
    axes: tuple[Axis, ...]

    def locate(self, ref: Ref) -> tuple[tuple[Axis, ...], frozenset[Axis]] | None:
        """Return where a view lies: its dimensions, and those at one index; None if it is no box of the tensor."""
        view = box_in(self.base, ref)
        if view is None:
            return None
        begins = [axis and (axis[0], axis[1] + indices.start) for axis, indices in zip(self.axes, view.box)]
        dims = tuple(None if d is None else begins[d] for d in view.order)
        return dims, frozenset(x for d, x in enumerate(begins) if x is not None and d not in view.order)


@dataclass(frozen=True)
class Chain:
    """The steps of an entry, all of them elementwise.

    Args:
        entry: the entry
        steps: its steps in order
        frames: the frame of each storage in them
        starts: whether it may keep values that its memory has at the start
    """

    entry: Entry
    steps: Sequence[Step]
    frames: Mapping[int, Frame]
    starts: bool


def _is_elementwise(step: Step) -> bool:
    if isinstance(step, Draw):
        entry = INITIALIZERS[step.initializer]
        return not entry.structured and not entry.indivisible
    if step.random or step.is_state or "out" in step.kwargs:
        return False
    # NB: kernels differ in whether they round a scaled sum of 16-bit tensors once.
    exact = step.operator.removesuffix("_") in ELEMENTWISE and step.kwargs.get("alpha", 1) == 1
    return exact or step.number is not None


class _Framing:
    """Gives frames to the storages of a chain, from its end to its start."""

    def __init__(self, entry: Entry) -> None:
        axes = tuple((d, 0) if size != 1 else None for d, size in enumerate(entry.ref.size))
        self.frames = {entry.ref.storage: Frame(entry.ref, axes)}

    def accepts(self, step: Step, made: Ref) -> bool:
        """True if a step is elementwise, and all its tensors lie where the one does that it makes."""
        located = self.frames[made.storage].locate(made)
        if located is None or not _is_elementwise(step):
            return False
        if isinstance(step, Draw) or step.number is not None:
            return True
        return all(self._is_operand(ref, made, *located) for ref in step.tensors if ref != made)

    def _is_operand(self, ref: Ref, made: Ref, axes: tuple[Axis, ...], fixed: frozenset[Axis]) -> bool:
        skipped = len(made.size) - len(ref.size)
        wanted = tuple(None if n == 1 else axis for n, axis in zip(ref.size, axes[skipped:]))
        frame = self.frames.setdefault(ref.storage, Frame(ref, wanted))
        found = frame.locate(ref)
        # A value at one index is not at hand where the others are computed.
        return found is not None and found[0] == wanted and (not found[1] or found[1] == fixed)


def chain_of(program: KeyedProgram, entry: Entry) -> Chain | None:
    """Return the steps of an entry if each piece of it can be computed by itself."""
    begins = program.begins[entry.name]
    if box_in(entry.ref, entry.ref) is None or begins - {entry.ref.storage}:
        return None
    framing, steps = _Framing(entry), list[Step]()
    for step in reversed(program.steps_of([entry.name])):
        if len(step.made) != 1 or not framing.accepts(step, step.made[0]):
            return None
        steps.append(step)
    return Chain(entry, steps[::-1], framing.frames, bool(begins))


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
                touched = storages(step.made if isinstance(step, Draw) else (made, *step.tensors))
                steps.append((step, touched - needed))
                needed |= touched
        for step, unneeded in reversed(steps):
            if isinstance(step, Draw):
                self._draw(step, keys[step])
            else:
                self._run(step)
            for storage in unneeded:
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
        box = box_in(self.chain.frames[ref.storage].base, ref)
        assert box is not None, "a chain has boxes only"
        return box

    def _window(self, ref: Ref) -> list[tuple[int, int, int]]:
        """Return where a view begins in its storage's part, where in itself, and its length; by dimension."""
        found = []
        for (first, end), indices in zip(self._extent(ref.storage), self._box(ref).box):
            low, high = max(first, indices.start), min(end, indices.stop)
            found.append((low - first, low - indices.start, max(0, high - low)))
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
