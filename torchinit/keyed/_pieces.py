"""Says which part of the logical tensor is at hand, and cuts it into tiles that stay in a processor's cache."""

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_scripting

from torchinit._core import dtensor
from torchinit._core.writes import no_grad_view as _unguarded


def _full_size(tensor: Tensor, full_size: list[int] | None, offset: list[int] | None) -> list[int]:
    """Return the shape of the logical tensor, once the piece is seen to lie within it."""
    shape = list(tensor.shape)
    whole = shape if full_size is None else full_size
    begin = [0] * len(shape) if offset is None else offset
    if len(whole) != len(shape) or len(begin) != len(shape):
        raise ValueError(
            f"full_size and offset must have an entry for each dimension of shape {shape}, got {whole} and {begin}"
        )
    for d in range(len(shape)):
        if begin[d] < 0 or whole[d] < shape[d] or begin[d] > whole[d] - shape[d]:
            raise ValueError(f"a piece of shape {shape} at {begin} must lie within full_size, got {whole}")
    if not is_scripting():
        if (full_size is not None or offset is not None) and dtensor.is_dtensor(tensor):
            raise ValueError("a DTensor knows its own piece and takes neither full_size nor offset")
    return whole


def _views(tensor: Tensor, offset: list[int] | None) -> list[tuple[Tensor, list[int]]]:
    """Return what to write to, without gradient, each with where in the logical tensor it begins.

    That is the tensor itself, or the boxes of a DTensor's local part.
    """
    if not is_scripting():
        if dtensor.is_dtensor(tensor):
            return dtensor.local_boxes(tensor, _unguarded(tensor))
    return [(_unguarded(tensor), [0] * tensor.dim() if offset is None else offset)]


def _part(whole: Tensor, begin: list[int], shape: list[int]) -> Tensor:
    """View the part of a tensor that has this shape and begins there."""
    for d in range(len(shape)):
        whole = whole.narrow(d, begin[d], shape[d])
    return whole


def _run(shape: list[int], full_size: list[int]) -> tuple[int, int]:
    """Count the dimensions before those whose values follow one another in the stream, and these values."""
    run = 1
    for i in range(len(shape)):
        d = len(shape) - 1 - i
        run *= shape[d]
        if shape[d] != full_size[d]:
            return d, run
    return 0, run


def _tile_size(target: Tensor, full_size: list[int]) -> int:
    """Count the values to draw at once: few enough for a processor's cache, enough for its threads."""
    if not is_scripting():
        # A compiler fuses what is one piece, and a trace would keep the number of pieces.
        if is_compiling() or torch.jit.is_tracing():  # type: ignore[no-untyped-call]
            return 1 << 62
    # ATen gives a thread 32768 entries of a tensor, here blocks, or more.
    blocks = 98304 if target.device.type == "cpu" else 1048576
    per = 2 if target.dtype == torch.float64 else 4
    rows, run = _run(list(target.shape), full_size)
    return blocks * per if rows == 0 else max(1, blocks * run // _blocks(per - 1, run, per))


def _blocks(lead: int, run: int, per: int) -> int:
    """Count the blocks of ``per`` values that a run touches which begins ``lead`` values into one."""
    return (lead + run + per - 1) // per


def _tile(shape: list[int], size: int) -> list[int]:
    """Cut a shape into pieces of at most ``size`` values, whose rows are as long as they can be."""
    tile = [1] * len(shape)
    room = size
    for i in range(len(shape)):
        d = len(shape) - 1 - i
        tile[d] = min(shape[d], room)
        room = room // tile[d] if tile[d] == shape[d] else 1
        room = max(1, room)
    return tile


def _advance(at: list[int], tile: list[int], shape: list[int]) -> bool:
    """Move on to the next tile, in row-major order; true after the last one."""
    for i in range(len(shape)):
        d = len(shape) - 1 - i
        at[d] += tile[d]
        if at[d] < shape[d]:
            return False
        at[d] = 0
    return True
