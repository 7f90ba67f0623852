"""Fills a tensor, or any piece of one, with the values that a key's stream has at each logical index.

A value's logical index is its row-major position in the whole tensor, whatever piece of it is at hand and however that
lies in memory. Nothing else under ``keyed`` writes to a caller's tensor.
"""

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_scripting

from torchinit._core.trunc_normal import invert_ as _invert_, uniform_bounds as _range
from torchinit.keyed import _shortcuts
from torchinit.keyed._keys import _key_bits
from torchinit.keyed._pieces import _advance, _blocks, _full_size, _run, _tile, _tile_size, _views
from torchinit.keyed._values import _normal_values, _uniform_values


def _fill(
    tensor: Tensor,
    key: Tensor,
    distribution: str,
    parameters: list[float],
    full_size: list[int] | None,
    offset: list[int] | None,
) -> Tensor:
    """Fill a tensor, or a piece of one.

    Args:
        tensor: the piece, of floating-point or complex dtype and any strides
        key: two words of 64 bits
        distribution: ``"uniform"``, ``"normal"`` or ``"trunc_normal"``
        parameters: low and high; mean and std; or mean, std and both bounds
        full_size: the shape of the whole tensor (default: that of ``tensor``)
        offset: where in the whole tensor the piece begins (default: at its beginning)

    Returns:
        ``tensor``
    """
    bits, whole = _one_key(key), _full_size(tensor, full_size, offset)
    if tensor.is_meta:
        return tensor
    for view, begin in _views(tensor, offset):
        if view.is_complex():
            # A complex value is two real ones that lie side by side.
            _fill_view(torch.view_as_real(view), bits, distribution, parameters, whole + [2], begin + [0])
        else:
            _fill_view(view, bits, distribution, parameters, whole, begin)
    return tensor


def _one_key(key: Tensor) -> Tensor:
    bits = _key_bits(key)
    if bits.dim() != 1:
        raise ValueError(f"one tensor needs one key, of shape [2], got {list(bits.shape)}; vmap takes a batch of keys")
    return bits


def _fill_view(
    target: Tensor, bits: Tensor, distribution: str, parameters: list[float], full_size: list[int], begin: list[int]
) -> None:
    """Write to a plain tensor, tile by tile."""
    shape = list(target.shape)
    if 0 in shape:
        return
    if not is_scripting():
        if distribution == "uniform" and _shortcuts._fill_uniform(target, bits, parameters, full_size, begin):
            return
    bits = bits.to(target.device)
    tile = _tile(shape, _tile_size(target, full_size))
    at = [0] * len(shape)
    done = False
    while not done:
        piece = target
        for d in range(len(shape)):
            if tile[d] != shape[d]:
                piece = piece.narrow(d, at[d], min(tile[d], shape[d] - at[d]))
        values = _values(
            bits, distribution == "normal", piece, full_size, [begin[d] + at[d] for d in range(len(shape))]
        )
        _transform_(values, distribution, parameters)
        piece.copy_(values)
        done = _advance(at, tile, shape)


def _transform_(values: Tensor, distribution: str, parameters: list[float]) -> None:
    """Make standard values those of a distribution."""
    first, second = parameters[0], parameters[1]
    if distribution == "trunc_normal":
        a, b = parameters[2], parameters[3]
        low, high = _range(first, second, a, b, values.dtype)
        _affine_(values, low, high)
        _invert_(values, first, second, a, b)
    elif distribution == "uniform":
        _affine_(values, first, second)
    elif not (first == 0.0 and second == 1.0):
        values.mul_(second).add_(first)


def _affine_(values: Tensor, low: float, high: float) -> None:
    """Make values in [0, 1) such in [low, high); in the dtype of the values from here on, as upstream computes."""
    if not (low == 0.0 and high == 1.0):
        shift = torch.full([], low, dtype=values.dtype, device=values.device)
        values.mul_(torch.full_like(shift, high) - shift).add_(shift)


def _value_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _values(bits: Tensor, normal: bool, piece: Tensor, full_size: list[int], begin: list[int]) -> Tensor:
    """Compute the standard values of a piece, in a new tensor of its shape."""
    shape, device, dtype = list(piece.shape), piece.device, _value_dtype(piece)
    per = 2 if dtype == torch.float64 else 4
    rows, run = _run(shape, full_size)
    first, count, even, stride = 0, 1, True, 1
    for i in range(len(shape)):
        d = len(shape) - 1 - i
        first += begin[d] * stride
        if d < rows:
            count *= shape[d]
            even = even and (shape[d] == 1 or stride % per == 0)
        stride *= full_size[d]
    lead = first % per
    blocks = _blocks(lead if even else per - 1, run, per)
    columns = torch.arange(first // per, first // per + blocks, device=device)
    if count == 1:
        return _draw(bits, normal, columns, dtype)[lead : lead + run].view(shape)
    # Where each run begins; all begin at the same place of a block, or each at its own.
    starts = _starts(shape[:rows], full_size, device) + lead
    values = _draw(bits, normal, (starts // per).unsqueeze(1) + columns, dtype)
    if even:
        return values[:, lead : lead + run].reshape(shape)
    return values.gather(1, (starts % per).unsqueeze(1) + torch.arange(run, device=device)).view(shape)


def _starts(shape: list[int], full_size: list[int], device: torch.device) -> Tensor:
    """Count from the first run of a piece to each of its runs, whose first dimensions are ``shape``."""
    starts, stride = torch.zeros([1], dtype=torch.int64, device=device), 1
    for size in full_size[len(shape) :]:
        stride *= size
    for i in range(len(shape)):
        d = len(shape) - 1 - i
        starts = (torch.arange(shape[d], device=device).unsqueeze(1) * stride + starts).flatten()
        stride *= full_size[d]
    return starts


def _draw(bits: Tensor, normal: bool, blocks: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute the standard values of the given blocks, counted from where the key's stream begins."""
    number = blocks + bits[1]
    values = _normal_values(bits, number, dtype) if normal else _uniform_values(bits, number, dtype)
    return values.flatten(blocks.dim() - 1)


def _drop_rows_(target: Tensor, key: Tensor, count: int, full_size: list[int], begin: list[int]) -> None:
    """Zero the rows that have the ``count`` least uniform values of each column of the logical matrix."""
    if count == 0 or target.numel() == 0:
        return
    rows, columns = full_size[0], target.size(1)
    # As many columns at once as make 1 MiB of indices, or one.
    block = max(1, 131072 // max(1, rows))
    if not is_scripting():
        # A trace would keep the number of blocks.
        block = columns if is_compiling() else block
    for start in range(0, columns, block):
        part = target.narrow(1, start, min(block, columns - start))
        scores = part.new_empty([part.size(1), rows], dtype=torch.float32)
        _fill_view(scores, key, "uniform", [0.0, 1.0], [full_size[1], rows], [begin[1] + start, 0])
        # Stable, so that equal values fall alike everywhere.
        order = torch.sort(scores, stable=True, dim=1)[1]
        dropped = torch.zeros_like(order, dtype=torch.bool).scatter(1, order.narrow(1, 0, count), 1).t()
        dropped = dropped.narrow(0, begin[0], part.size(0))
        if part.element_size() == 1:
            # There is no such kernel of 8 bits.
            part.copy_(part.to(torch.float32).masked_fill_(dropped, 0.0))
        else:
            part.masked_fill_(dropped, 0.0)
