"""The tensors of a model that a recording fills, by name."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchinit._core import dtensor
from torchinit._core.checks import check_overlap
from torchinit._core.wrappers import plain_names
from torchinit._core.writes import Done, no_grad_view
from torchinit.keyed._piece import place_
from torchinit.recording._program import Entry, Program
from torchinit.recording._replay import Memory, replay


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers of a model by their names without wrappers, with those of ties."""
    plain = plain_names(model)
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    # A lazy layer's tensors have no shape yet.
    return {plain[name]: tensor for name, tensor in named if not is_lazy(tensor)}


def present(entries: Sequence[Entry], names: Container[str]) -> tuple[Entry, ...]:
    """Leave out the buffers that a TorchScript file lacks, because tracing may make them constants."""
    return tuple(entry for entry in entries if entry.kind == "parameter" or entry.name in names)


def match(entries: Sequence[Entry], model: nn.Module, strict: bool) -> list[tuple[Entry, Tensor]]:
    """Pair the entries of a recording with a model's tensors.

    Raises:
        ValueError: if names are missing on either side and ``strict`` is set, or shapes differ
    """
    tensors = named_tensors(model)
    known = {entry.name: entry for entry in entries}
    missing = [name for name in known if name not in tensors]
    extra = [name for name in tensors if name not in known]
    if strict and (missing or extra):
        listed = "; ".join(
            f"{what} {', '.join(names)}"
            for what, names in (("the model lacks", missing), ("the recording lacks", extra))
            if names
        )
        raise ValueError(f"a model must have the recording's tensors, got other names: {listed}")
    pairs = [(entry, tensors[name]) for name, entry in known.items() if name in tensors]
    for entry, tensor in pairs:
        if tuple(tensor.shape) != entry.ref.size:
            raise ValueError(
                f"a tensor must have the recorded shape {list(entry.ref.size)}, got {list(tensor.shape)} for {entry.name}"
            )
    return pairs


@dataclass(frozen=True, eq=False)
class Target:
    """A model's tensor that an entry fills.

    Args:
        entry: the entry
        tensor: the tensor
        boxes: the no-grad views of its local parts, each with the index at which it begins in the whole
    """

    entry: Entry
    tensor: Tensor
    boxes: list[tuple[Tensor, list[int]]]

    @property
    def is_whole(self) -> bool:
        """True if this process holds all of it."""
        return not dtensor.is_dtensor(self.tensor)


def writable(pairs: Sequence[tuple[Entry, Tensor]]) -> list[Target]:
    """Check that all tensors can be written, and find their local parts; one tensor of a tie is enough.

    Raises:
        ValueError: if a tensor has no room for the recorded kind of number
        RuntimeError: if a tensor cannot be written
    """
    found, seen = [], set[tuple[int, Any]]()
    for entry, tensor in pairs:
        if not torch.can_cast(entry.ref.dtype, tensor.dtype):
            raise ValueError(f"a tensor must hold {entry.ref.dtype}, as recorded, got {tensor.dtype} for {entry.name}")
        check_overlap(no_grad_view(tensor))
        if (id(tensor), entry.ref) not in seen:
            seen.add((id(tensor), entry.ref))
            found.append(Target(entry, tensor, list(boxes(tensor))))
    return found


def boxes(tensor: Tensor) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield the local parts of a tensor, and where each begins in the whole."""
    view = no_grad_view(tensor)
    if dtensor.is_dtensor(tensor):
        yield from dtensor.local_boxes(tensor, view)
    else:
        yield view, [0] * tensor.dim()


def by_storage(targets: Iterable[Target]) -> dict[int, list[Target]]:
    """Group targets by the number of the recorded storage that has their values."""
    found: dict[int, list[Target]] = {}
    for target in targets:
        found.setdefault(target.entry.ref.storage, []).append(target)
    return found


def place(targets: Iterable[Target], memory: Memory) -> None:
    """Write to each target, or to this rank's parts of it, the values that its entry has in a replay's memory."""
    for target in targets:
        place_(target.boxes, memory.tensor(target.entry.ref))


def fill_in_order(program: Program, targets: Sequence[Target], generator: torch.Generator | None, done: Done) -> None:
    """Replay a program from a generator's state, write what each target holds of it, and call ``done`` after each.

    A storage whose memory is a target's own is filled there.
    """
    found = by_storage(targets)
    bound = {number: own[0].tensor.untyped_storage() for number, own in found.items() if _is_memory_of(program, own[0])}

    def deliver(number: int, memory: Memory) -> None:
        for target in found[number]:
            if number not in bound or target.tensor.untyped_storage().data_ptr() != bound[number].data_ptr():
                place([target], memory)
            done(target.entry.name, target.tensor)

    replay(program, found, deliver, generator, bound)


def _is_memory_of(program: Program, target: Target) -> bool:
    """True if a tensor's own memory can serve as the recorded storage."""
    ref, tensor = target.entry.ref, target.tensor
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.dtype == ref.dtype
        and tensor.stride() == ref.stride
        and tensor.storage_offset() == ref.offset
        and tensor.untyped_storage().nbytes() == program.nbytes[ref.storage]
        and program.covers(ref)
    )
