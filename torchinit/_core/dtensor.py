"""DTensors, filled with the values that a single process draws."""

import itertools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from torchinit._core.compat import mesh_order, split_indices


def is_dtensor(tensor: Tensor) -> bool:
    """True for a DTensor; avoids importing torch.distributed."""
    if type(tensor) in (Tensor, Parameter):
        return False
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def draws_replicated(tensor: Tensor) -> bool:
    """True if a DTensor's own draw gives every rank the same values; a CPU generator has no offset to set."""
    return is_dtensor(tensor) and tensor.device.type == "cpu"


def check_placements(tensor: Any) -> None:
    """Refuse a Partial placement, which adds up the values of all ranks."""
    if any(placement.is_partial() for placement in tensor.placements):
        raise RuntimeError(f"a DTensor with a Partial placement cannot be initialized, got {tensor.placements}")


def fill_replicated_(tensor: Any, view: Any, fill: Callable[[Tensor], Tensor], broadcast: bool = False) -> Tensor:
    """Fill a plain tensor of the whole shape on each rank, and keep the local shard.

    Ranks with the same seed draw the values of a single process, and their generators stay equal. Nothing is
    communicated without ``broadcast``, which is needed if values depend on each other, since seeds may differ.

    Args:
        tensor: the DTensor
        view: its no-grad view, which is written to
        fill: fills the plain tensor
        broadcast: whether all ranks take the first rank's values
    """
    from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

    whole = fill(torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device))
    mesh = tensor.device_mesh
    if broadcast:
        copies = distribute_tensor(whole, mesh)
    else:
        copies = DTensor.from_local(whole, mesh, [Replicate()] * mesh.ndim, run_check=False)
    # NB: redistributed by hand; copy_ refuses to split a dimension that is shorter than the mesh.
    view.copy_(copies.redistribute(placements=tensor.placements))
    filled: Tensor = tensor
    return filled


def _local_indices(tensor: Any, dim: int) -> Tensor:
    """List the global indices that this rank holds along one dimension, in local order."""
    mesh, indices = tensor.device_mesh, torch.arange(tensor.size(dim), device="cpu")
    for mesh_dim in mesh_order(tensor, dim):
        placement = tensor.placements[mesh_dim]
        if getattr(placement, "dim", None) in (dim, dim - tensor.dim()):
            indices = split_indices(placement, indices, mesh.size(mesh_dim))[mesh.get_local_rank(mesh_dim)]
    return indices


def _consecutive_runs(indices: Tensor) -> list[tuple[int, int, int]]:
    """Split indices into consecutive runs; return the position, first index and length of each."""
    if indices.numel() == 0:
        return []
    starts = [0, *((indices.diff() != 1).nonzero().flatten() + 1).tolist()]
    ends = [*starts[1:], indices.numel()]
    return [(start, int(indices[start]), end - start) for start, end in zip(starts, ends, strict=True)]


def local_boxes(tensor: Any, view: Any) -> list[tuple[Tensor, list[int]]]:
    """Split the local shard into boxes that are contiguous in the whole; return each with its offset there.

    A strided shard (FSDP2 on a dimension that tensor parallelism has sharded) has several boxes, a rank outside the
    mesh none. ``view`` is the no-grad view of ``tensor``.
    """
    if tensor.device_mesh.get_coordinate() is None:
        return []
    local = view.to_local()
    indices = [_local_indices(tensor, dim) for dim in range(tensor.dim())]
    shape = [index.numel() for index in indices]
    if shape != list(local.shape):
        raise RuntimeError(
            f"a DTensor's local part must have the shape that its placements say, {shape}, got {list(local.shape)}"
        )
    if not tensor.is_inference():
        # A write to the local shard does not raise the version of the DTensor.
        torch.autograd.graph.increment_version(tensor)
    boxes = []
    for runs in itertools.product(*map(_consecutive_runs, indices)):
        box = local
        for dim, (start, _, length) in enumerate(runs):
            box = box.narrow(dim, start, length)
        boxes.append((box, [first for _, first, _ in runs]))
    return boxes
