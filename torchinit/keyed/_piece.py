"""Pieces: where a tensor lies in the whole that it is a part of."""

from typing import TypeAlias

from torch import Tensor
from torch.jit import is_scripting

from torchinit._core import dtensor
from torchinit._core.checks import check_partitioned
from torchinit._core.writes import no_grad_copy_, no_grad_view

# The shape of the whole tensor, and the index at which the piece begins.
# NB: not a NamedTuple: a mobile file loses it if methods that use it are defined on a loaded module.
Piece: TypeAlias = tuple[list[int], list[int]]


def piece_of(tensor: Tensor, full_size: list[int] | None, offset: list[int] | None) -> Piece:
    """Check that a tensor lies within its whole; without a size and an offset it is the whole."""
    if not is_scripting():
        check_partitioned(tensor)
        if (full_size is not None or offset is not None) and dtensor.is_dtensor(tensor):
            raise ValueError("a DTensor knows its own piece and takes neither full_size nor offset")
    shape = list(tensor.shape)
    if full_size is None and offset is None:
        return shape, [0] * len(shape)
    # A torch.Size is a tuple.
    begin = [0] * len(shape) if offset is None else list(offset)
    whole = shape if full_size is None else list(full_size)
    if len(whole) != len(shape) or len(begin) != len(shape):
        raise ValueError(
            f"full_size and offset must have an entry for each dimension of shape {shape}, got {whole} and {begin}"
        )
    for d in range(len(shape)):
        if begin[d] < 0 or whole[d] < shape[d] or begin[d] > whole[d] - shape[d]:
            raise ValueError(f"a piece of shape {shape} at {begin} must lie within full_size, got {whole}")
    _check_count(whole, 2 if tensor.is_complex() else 1)
    return whole, begin


def _check_count(whole: list[int], values: int) -> None:
    """Refuse a whole that has more values than 64-bit integers count."""
    # NB: the quotient, because TorchScript's product overflows.
    if 0 in whole:
        return
    for size in whole:
        if size > 9223372036854775807 // values:
            raise ValueError(f"full_size must have fewer than 2**63 values, got {whole}")
        values *= size


def views(tensor: Tensor, piece: Piece) -> list[tuple[Tensor, list[int]]]:
    """Return the no-grad views to write to, each with its offset in the whole; a DTensor has one per box of a shard."""
    if not is_scripting():
        if dtensor.is_dtensor(tensor):
            return dtensor.local_boxes(tensor, no_grad_view(tensor))
    return [(no_grad_view(tensor), piece[1])]


def part(whole: Tensor, begin: list[int], shape: list[int]) -> Tensor:
    """View the part of a tensor with this shape that begins at an index."""
    for d in range(len(shape)):
        whole = whole.narrow(d, begin[d], shape[d])
    return whole


def place_(targets: list[tuple[Tensor, list[int]]], whole: Tensor) -> None:
    """Copy to each view its part of the whole."""
    for view, begin in targets:
        no_grad_copy_(view, part(whole, begin, list(view.shape)))
