"""Which boxes of the logical tensor a DTensor's local part holds; eager code alone comes here."""

import itertools
from typing import Any

import torch
from torch import Tensor

from torchinit._core.writes import _unguarded


def _local_indices(tensor: Any, dim: int) -> Tensor:
    """The logical indices along one dimension that lie on this rank, in the order in which they lie there."""
    mesh, indices = tensor.device_mesh, torch.arange(tensor.size(dim))
    # Newer releases may shard a dimension over several dimensions of the mesh in another order than the mesh's.
    orders = {entry.tensor_dim: entry.mesh_dims for entry in getattr(tensor._spec, "shard_order", None) or ()}
    for mesh_dim in orders.get(dim, range(mesh.ndim)):
        placement = tensor.placements[mesh_dim]
        if getattr(placement, "dim", None) in (dim, dim - tensor.dim()):
            strided = {"split_factor": placement.split_factor} if hasattr(placement, "split_factor") else {}
            parts, _ = type(placement)(0, **strided)._split_tensor(indices, mesh.size(mesh_dim), with_padding=False)
            indices = parts[mesh.get_local_rank(mesh_dim)]
    return indices


def _stretches(indices: Tensor) -> list[tuple[int, int, int]]:
    """Cut where an index does not follow the one before; where a stretch lies, its first index, its length."""
    if indices.numel() == 0:
        return []
    starts = [0, *((indices.diff() != 1).nonzero().flatten() + 1).tolist()]
    ends = [*starts[1:], indices.numel()]
    return [(start, int(indices[start]), end - start) for start, end in zip(starts, ends, strict=True)]


def _boxes(tensor: Any) -> list[tuple[Tensor, list[int]]]:
    """Cut the local part into boxes, each with where in the logical tensor it begins.

    A strided shard, as FSDP2 makes of what tensor parallelism has sharded, is several; a rank outside the mesh has none.
    """
    local = _unguarded(tensor).to_local()  # type: ignore[attr-defined]
    if tensor.device_mesh.get_coordinate() is None:
        return []
    indices = [_local_indices(tensor, dim) for dim in range(tensor.dim())]
    shape = [index.numel() for index in indices]
    if shape != list(local.shape):
        raise RuntimeError(
            f"a DTensor's local part must have the shape that its placements say, {shape}, got {list(local.shape)}"
        )
    if not tensor.is_inference():
        # What is written to the local part does not count as a change of the DTensor itself.
        torch.autograd.graph.increment_version(tensor)
    boxes = []
    for stretches in itertools.product(*map(_stretches, indices)):
        box = local
        for dim, (start, _, length) in enumerate(stretches):
            box = box.narrow(dim, start, length)
        boxes.append((box, [first for _, first, _ in stretches]))
    return boxes
