"""Tiles: parts of a piece that are small enough to be drawn in a processor's cache."""

import torch
from torch import Tensor
from torch.jit import is_scripting


def stream_run(shape: list[int], full_size: list[int]) -> tuple[int, int]:
    """Return the number of dimensions before a run of consecutive values of the stream, and the length of the run."""
    run = 1
    for i in range(len(shape)):
        d = len(shape) - 1 - i
        run *= shape[d]
        if shape[d] != full_size[d]:
            return d, run
    return 0, run


def run_start(full_size: list[int], begin: list[int]) -> int:
    """Return the index in the stream of a piece's first value."""
    first, stride = 0, 1
    for size, index in zip(reversed(full_size), reversed(begin)):
        first, stride = first + index * stride, stride * size
    return first


def block_count(lead: int, run: int, per_block: int) -> int:
    """Count the blocks that a run of values touches if it begins ``lead`` values into a block."""
    return (lead + run + per_block - 1) // per_block


def tile_size(target: Tensor, full_size: list[int]) -> int:
    """Return how many values to draw at once: few enough for a processor's cache, enough for its threads."""
    if not is_scripting():
        # A trace would fix the number of tiles.
        if torch.jit.is_tracing():  # type: ignore[no-untyped-call]
            return 1 << 62
    # ATen gives a thread at least 32768 elements, here blocks.
    blocks = 98304 if target.device.type == "cpu" else 1048576
    per_block = 2 if target.dtype == torch.float64 else 4
    rows, run = stream_run(list(target.shape), full_size)
    return blocks * per_block if rows == 0 else max(1, blocks * run // block_count(per_block - 1, run, per_block))


def tiles(target: Tensor, begin: list[int], size: int) -> list[tuple[Tensor, list[int]]]:
    """Return views of the tiles of a piece, in row-major order, and where each begins in the whole."""
    shape = list(target.shape)
    found: list[tuple[Tensor, list[int]]] = []
    done = 0 in shape
    tile = shape if done else tile_shape(shape, size)
    at = [0] * len(shape)
    while not done:
        part = target
        for d in range(len(shape)):
            if tile[d] != shape[d]:
                part = part.narrow(d, at[d], min(tile[d], shape[d] - at[d]))
        found.append((part, [begin[d] + at[d] for d in range(len(shape))]))
        done = advance(at, tile, shape)
    return found


def tile_shape(shape: list[int], size: int) -> list[int]:
    """Split a shape into tiles of at most ``size`` values, with rows as long as possible."""
    tile = [1] * len(shape)
    room = size
    for i in range(len(shape)):
        d = len(shape) - 1 - i
        tile[d] = min(shape[d], room)
        room = room // tile[d] if tile[d] == shape[d] else 1
        room = max(1, room)
    return tile


def advance(at: list[int], tile: list[int], shape: list[int]) -> bool:
    """Move ``at`` to the next tile in row-major order; return True after the last one."""
    for i in range(len(shape)):
        d = len(shape) - 1 - i
        at[d] += tile[d]
        if at[d] < shape[d]:
            return False
        at[d] = 0
    return True
