"""The tensors of a model that a recording fills, by name."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchinit._core import dtensor
from torchinit._core.writes import no_grad_copy_, no_grad_view
from torchinit.keyed._piece import part
from torchinit.recipes._keyed_apply import plain_name
from torchinit.recording._program import Entry, Program


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers of a model by their qualified names, with those of ties."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {plain_name(name): tensor for name, tensor in named if not is_lazy(tensor)}


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


def boxes(tensor: Tensor) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield the local parts of a tensor, and where each begins in the whole."""
    view = no_grad_view(tensor)
    if dtensor.is_dtensor(tensor):
        yield from dtensor.local_boxes(tensor, view)
    else:
        yield view, [0] * tensor.dim()


def place(tensor: Tensor, whole: Tensor) -> None:
    """Write a tensor, or this rank's part of it."""
    for view, begin in boxes(tensor):
        no_grad_copy_(view, part(whole, begin, list(view.shape)))


def bindable(program: Program, entry: Entry, tensor: Tensor) -> bool:
    """True if a tensor's own memory can serve as the recorded storage."""
    ref = entry.ref
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.dtype == ref.dtype
        and tensor.stride() == ref.stride
        and tensor.storage_offset() == ref.offset
        and tensor.untyped_storage().nbytes() == program.nbytes[ref.storage]
        and program.covers(ref)
    )
