"""Where a view lies in another view of the same storage."""

import math
from collections.abc import Sequence

from torchinit.recording._program import Ref

# The indices of a part along each dimension of the whole.
Box = tuple[range, ...]


def _steps(ref: Ref) -> list[tuple[int, int]]:
    """Return stride and size of each dimension that has several elements in memory, widest first."""
    return sorted(((s, n) for s, n in zip(ref.stride, ref.size) if n != 1 and s != 0), reverse=True)


def _same(a: Ref, b: Ref) -> bool:
    """True if two views have the same elements, by their strides or because both are dense."""
    if (a.dtype.itemsize, a.offset) != (b.dtype.itemsize, b.offset):
        return False
    return _steps(a) == _steps(b) or (a.is_dense() and b.is_dense() and a.numel == b.numel)


def box_of(whole: Ref, part: Ref) -> Box | None:
    """Return the indices of a part in a whole; None if it is no box in it."""
    if _same(whole, part):
        return tuple(range(n) for n in whole.size)
    offset = part.offset - whole.offset
    if whole.dtype.itemsize != part.dtype.itemsize or offset < 0 or whole.numel == 0:
        return None
    return _box(whole, offset, _steps(part)) or _rows(whole, part, offset)


def _box(whole: Ref, offset: int, steps: list[tuple[int, int]]) -> Box | None:
    box = [range(1)] * len(whole.size)
    for stride, d in sorted(
        ((s, d) for d, s in enumerate(whole.stride) if whole.size[d] != 1 and s != 0), reverse=True
    ):
        start, offset = divmod(offset, stride)
        step, count = 1, 1
        if steps and steps[0][0] % stride == 0:
            step, count = steps[0][0] // stride, steps[0][1]
            steps = steps[1:]
        box[d] = range(start, start + (count - 1) * step + 1, step)
        if box[d][-1] >= whole.size[d]:
            return None
    return None if offset or steps else tuple(box)


def _rows(whole: Ref, part: Ref, offset: int) -> Box | None:
    """Return the rows that a part has of a whole, if both are dense in the same order."""
    row = math.prod(whole.size[1:])
    if not (whole.size and part.is_dense() and whole.is_dense() and whole.stride[0] == row):
        return None
    if offset % row or part.numel % row or offset + part.numel > whole.numel:
        return None
    return (range(offset // row, (offset + part.numel) // row), *(range(n) for n in whole.size[1:]))


def size_of(box: Box) -> int:
    """Return the number of elements of a box."""
    return math.prod(map(len, box))


def disjoint(a: Box, b: Box) -> bool:
    """True if two boxes of the same whole have no element in common."""
    return any(x[-1] < y[0] or y[-1] < x[0] or (max(x.step, y.step) > 1 and not set(x) & set(y)) for x, y in zip(a, b))


def overlap(a: Ref, b: Ref) -> bool:
    """True if two views may share memory."""
    return a.storage == b.storage and meet(a, b)


def meet(a: Ref, b: Ref) -> bool:
    """True if two views, of a storage and maybe of its copy, have places in common."""
    (first, end), (other_first, other_end) = extent(a), extent(b)
    return first < other_end and other_first < end


def extent(ref: Ref) -> tuple[int, int]:
    """Return where a tensor begins in its storage and where it ends, in bytes."""
    if ref.numel == 0:
        return 0, 0
    last = ref.offset + sum(s * (n - 1) for s, n in zip(ref.stride, ref.size))
    return ref.offset * ref.dtype.itemsize, (last + 1) * ref.dtype.itemsize


def filled(whole: Ref, boxes: Sequence[Box]) -> bool:
    """True if boxes without common elements fill a whole."""
    apart: list[Box] = []
    for box in boxes:
        if all(disjoint(box, other) for other in apart):
            apart.append(box)
    return sum(map(size_of, apart)) == whole.numel


def index_text(whole: Ref, box: Box) -> str:
    """Write a box as an index, such as ``[0:3, ::2]``; empty for the whole."""
    words = []
    for indices, n in zip(box, whole.size):
        step = f":{indices.step}" if indices.step != 1 else ""
        # NB: a range of one step too few ends before the last element, though no further step fits.
        stop = "" if indices[-1] + indices.step >= n else str(indices[-1] + 1)
        start = str(indices[0]) if indices[0] or stop else ""
        words.append(str(indices[0]) if len(indices) == 1 and n != 1 else f"{start}:{stop}{step}")
    while words and words[-1] == ":":
        words.pop()
    return f"[{', '.join(words)}]" if words else ""
