"""Fills a tensor, or a piece of one, from a key's stream.

A value's index in the stream is its row-major position in the whole tensor, for any piece and any strides.
"""

import math
from functools import partial

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.jit import is_scripting

from torchinit._core.compat import are_transforms_active, is_symbolic, vmap_levels
from torchinit._core.distributions import inverse_softplus_log_uniform
from torchinit._core.messages import called_function
from torchinit._core.trunc_normal import invert_, uniform_bounds
from torchinit.keyed import _compiled, _fast_paths
from torchinit.keyed._fast_paths import runs_eagerly
from torchinit.keyed._keys import key_bits
from torchinit.keyed._pace import Pace
from torchinit.keyed._philox import philox_words
from torchinit.keyed._piece import Piece, views
from torchinit.keyed._sampling import few_values, normal_values, uniform_values
from torchinit.keyed._tiles import block_count, run_start, stream_run, tile_size, tiles


def one_key(key: Tensor) -> Tensor:
    """Return the words of a key; raise if it is a batch of keys."""
    bits = key_bits(key)
    if bits.dim() != 1:
        raise ValueError(f"one tensor needs one key, of shape [2], got {list(bits.shape)}; vmap takes a batch of keys")
    return bits


def key_for(tensor: Tensor, key: Tensor) -> Tensor:
    """Return the words of a key; raise if vmap maps over the key, but not over the tensor to fill."""
    bits = one_key(key)
    if not is_scripting():
        if not is_compiling() and are_transforms_active() and not vmap_levels(key) <= vmap_levels(tensor):
            raise RuntimeError(
                f"{called_function()} under vmap needs a tensor for each key, got one that vmap does not map over; make it"
                " by key.new_empty(shape, dtype=dtype), or pass the tensors to vmap beside the keys"
            )
    return bits


def fill_(tensor: Tensor, key: Tensor, distribution: str, parameters: list[float], piece: Piece) -> Tensor:
    """Fill a tensor, or a piece of one.

    Args:
        tensor: the piece, of floating-point or complex dtype and any strides
        key: two words of 64 bits
        distribution: ``"uniform"``, ``"normal"``, ``"trunc_normal"`` or ``"inverse_softplus_log_uniform"``
        parameters: low and high; mean and std; mean, std and both bounds; or low, high and floor
        piece: where it lies in the whole

    Returns:
        ``tensor``
    """
    if not is_scripting():
        few = _fast_paths.takes_few_blocks(tensor, key, piece[0])
        if few and not _compiled.is_active(tensor, key, distribution == "normal", tensor.numel()):
            _fill_few_(tensor.detach(), key, distribution, parameters)
            return tensor
    bits = key_for(tensor, key)
    if tensor.is_meta:
        return tensor
    if key.is_meta:
        raise ValueError("a key must have values, got one on the meta device")
    for view, begin in views(tensor, piece):
        if view.is_complex():
            # A complex value is two adjacent real ones. NB: a conjugate view has no real view, so draw beside it.
            conjugate = _is_conjugate(view)
            values = view.new_empty(view.shape) if conjugate else view
            fill_view_(torch.view_as_real(values), bits, distribution, parameters, piece[0] + [2], begin + [0])
            if conjugate:
                view.copy_(values)
        else:
            fill_view_(view, bits, distribution, parameters, piece[0], begin)
    return tensor


def _is_conjugate(view: Tensor) -> bool:
    if not is_scripting():
        # NB: Dynamo cannot trace is_conj().
        if is_dynamo_compiling():
            return False
    return view.is_conj()


def fill_view_(
    target: Tensor, bits: Tensor, distribution: str, parameters: list[float], full_size: list[int], begin: list[int]
) -> None:
    """Fill a plain tensor, tile by tile."""
    if not is_scripting():
        if _fill_at_once_(target, bits, distribution, parameters, full_size, begin):
            return
    bits = bits.to(target.device)
    parts = tiles(target, begin, tile_size(target, full_size))
    if not is_scripting():
        if len(parts) > 1 and target.is_cpu and runs_eagerly(target) and torch.get_num_threads() > 1:
            pace = Pace(len(parts))
            for part, start in parts:
                pace.draw(partial(_fill_tile_, part, bits, distribution, parameters, full_size, start))
            return
    for part, start in parts:
        _fill_tile_(part, bits, distribution, parameters, full_size, start)


def _fill_at_once_(
    target: Tensor, bits: Tensor, distribution: str, parameters: list[float], full_size: list[int], begin: list[int]
) -> bool:
    """Fill by a compiled kernel, by torch's own or as a single tile, where one of them will do; say whether.

    TorchScript goes without: it inlines each call, and a second one of a tile doubles what its first calls take.
    """
    if _compiled.is_active(target, bits, distribution == "normal", target.numel()):
        if _fill_compiled_(target, bits, distribution, parameters, full_size, begin):
            return True
    if distribution == "uniform" and _fast_paths.fill_uniform_(target, bits, parameters, full_size, begin):
        return True
    # NB: a compiler makes a guard of a size that is compared; it fuses one tile of any size.
    if not is_compiling() and (0 in target.shape or target.numel() > tile_size(target, full_size)):
        return False
    _fill_tile_(target, bits.to(target.device), distribution, parameters, full_size, begin)
    return True


def _fill_compiled_(
    target: Tensor, bits: Tensor, distribution: str, parameters: list[float], full_size: list[int], begin: list[int]
) -> bool:
    """Fill a contiguous run of the stream by a compiled kernel; say whether."""
    affine = _affine(distribution, parameters, torch.float32)
    # Eager numbers beyond float32 become infinite, those of a tensor raise.
    largest = torch.finfo(torch.float32).max
    rows, _ = stream_run(list(target.shape), full_size)
    is_run = target.is_contiguous() and math.prod(target.shape[:rows]) == 1
    if target.numel() == 0 or not is_run or not all(-largest <= number <= largest for number in affine):
        return False
    first, normal = run_start(full_size, begin), distribution == "normal"
    finish = partial(_finish_, distribution=distribution, parameters=parameters)
    # Uniform and normal values are those of their distribution.
    finishes = distribution not in ("uniform", "normal")
    return _compiled.fill_run_(target, bits, normal, first, affine, finish if finishes else None)


def _fill_tile_(
    target: Tensor, bits: Tensor, distribution: str, parameters: list[float], full_size: list[int], begin: list[int]
) -> None:
    values = _standard_values(bits, distribution == "normal", target, full_size, begin)
    _transform_(values, distribution, parameters)
    target.copy_(values)


def _fill_few_(whole: Tensor, key: Tensor, distribution: str, parameters: list[float]) -> None:
    """Fill a whole of few blocks, in eager code."""
    count, dtype = whole.numel(), torch.float64 if whole.dtype == torch.float64 else torch.float32
    blocks = block_count(0, count, 2 if dtype == torch.float64 else 4)
    values = few_values(_fast_paths.philox_python_words(key, blocks), distribution == "normal", dtype)
    _transform_(values, distribution, parameters)
    whole.copy_((values if values.numel() == count else values[:count]).view(whole.shape))


def _transform_(values: Tensor, distribution: str, parameters: list[float]) -> None:
    """Turn standard values into those of a distribution."""
    first, second = _affine(distribution, parameters, values.dtype)
    if distribution != "normal":
        _affine_(values, first, second)
    elif not (first == 0.0 and second == 1.0):
        values.mul_(second).add_(first)
    _finish_(values, distribution, parameters)


def _affine(distribution: str, parameters: list[float], dtype: torch.dtype) -> tuple[float, float]:
    """Return the bounds of the uniform values that a distribution starts from, or the mean and std of normal ones."""
    if distribution == "trunc_normal":
        return uniform_bounds(parameters[0], parameters[1], parameters[2], parameters[3], dtype)
    if distribution == "inverse_softplus_log_uniform":
        return 0.0, 1.0
    return parameters[0], parameters[1]


def _finish_(values: Tensor, distribution: str, parameters: list[float]) -> None:
    """Turn these values into those of the distribution."""
    if distribution == "trunc_normal":
        invert_(values, parameters[0], parameters[1], parameters[2], parameters[3])
    elif distribution == "inverse_softplus_log_uniform":
        values.copy_(inverse_softplus_log_uniform(values, parameters[0], parameters[1], parameters[2]))


def _affine_(values: Tensor, low: float, high: float) -> None:
    """Map values in [0, 1) to [low, high), in the dtype of the values, as upstream computes."""
    if not (low == 0.0 and high == 1.0):
        shift = torch.full([], low, dtype=values.dtype, device=values.device)
        values.mul_(torch.full_like(shift, high) - shift).add_(shift)


def _standard_values(bits: Tensor, normal: bool, piece: Tensor, full_size: list[int], begin: list[int]) -> Tensor:
    """Compute the standard values of a piece, in a new tensor of its shape."""
    if not is_scripting():
        if is_compiling() and any(is_symbolic(n) for n in [*piece.shape, *full_size, *begin]):
            return _values_of_any_size(bits, normal, piece, full_size, begin)
        if list(piece.shape) == full_size:
            return _whole_values(bits, normal, piece)
    shape, device = list(piece.shape), piece.device
    dtype = torch.float64 if piece.dtype == torch.float64 else torch.float32
    per_block = 2 if dtype == torch.float64 else 4
    rows, run = stream_run(shape, full_size)
    first, count, aligned, stride = 0, 1, True, 1
    for i in range(len(shape)):
        d = len(shape) - 1 - i
        first += begin[d] * stride
        if d < rows:
            count *= shape[d]
            aligned = aligned and (shape[d] == 1 or stride % per_block == 0)
        stride *= full_size[d]
    lead = first % per_block
    blocks = block_count(lead if aligned else per_block - 1, run, per_block)
    numbers = torch.arange(first // per_block, first // per_block + blocks, device=device)
    # The start of each run; aligned runs all start at the same position in a block.
    starts = numbers
    if count > 1:
        starts = _run_starts(shape[:rows], full_size, device) + lead
        numbers = (starts // per_block).unsqueeze(1) + numbers
    values = _draw(bits, normal, numbers, dtype)
    if count == 1:
        return values[lead : lead + run].view(shape)
    if aligned:
        return values[:, lead : lead + run].reshape(shape)
    return values.gather(1, (starts % per_block).unsqueeze(1) + torch.arange(run, device=device)).view(shape)


def _values_of_any_size(bits: Tensor, normal: bool, piece: Tensor, full_size: list[int], begin: list[int]) -> Tensor:
    """Compute the standard values of a piece with symbolic sizes or a symbolic offset."""
    shape, device = list(piece.shape), piece.device
    dtype = torch.float64 if piece.dtype == torch.float64 else torch.float32
    per_block = 2 if dtype == torch.float64 else 4
    rows, run = stream_run(shape, full_size)
    first = run_start(full_size, begin)
    starts = _run_starts(shape[:rows], full_size, device) + first % per_block
    # NB: an exporter can prove neither that block_count() is not 1, nor that its blocks hold a slice of ``run`` values.
    # So draw at least two blocks, and gather.
    blocks = torch.arange(run // per_block + 2, device=device) + first // per_block
    values = _draw(bits, normal, (starts // per_block).unsqueeze(1) + blocks, dtype)
    return values.gather(1, (starts % per_block).unsqueeze(1) + torch.arange(run, device=device)).view(shape)


def _run_starts(shape: list[int], full_size: list[int], device: torch.device) -> Tensor:
    """Return the distance of each run of a piece from the first one; ``shape`` holds the dimensions before a run."""
    starts, stride = torch.zeros([1], dtype=torch.int64, device=device), 1
    for size in full_size[len(shape) :]:
        stride *= size
    for i in range(len(shape)):
        d = len(shape) - 1 - i
        starts = (torch.arange(shape[d], device=device).unsqueeze(1) * stride + starts).flatten()
        stride *= full_size[d]
    return starts


def _values(words: list[Tensor], normal: bool, dtype: torch.dtype) -> Tensor:
    return normal_values(words, dtype) if normal else uniform_values(words, dtype)


def _draw(bits: Tensor, normal: bool, blocks: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute the standard values of the given blocks, numbered from the start of the key's stream."""
    if not is_scripting():
        if dtype == torch.float32 and _compiled.is_active(blocks, bits, normal, 4 * blocks.numel()):
            values = _compiled.draw(bits, normal, blocks)
            if values is not None:
                return values
    return _values(philox_words(bits, blocks + bits[1]), normal, dtype).flatten(blocks.dim() - 1)


def _whole_values(bits: Tensor, normal: bool, whole: Tensor) -> Tensor:
    """Compute the standard values of a whole tensor in eager code; a few blocks in Python's integers."""
    dtype = torch.float64 if whole.dtype == torch.float64 else torch.float32
    blocks = block_count(0, whole.numel(), 2 if dtype == torch.float64 else 4)
    if (
        not is_compiling()
        and not _compiled.is_active(whole, bits, normal, whole.numel())
        and _fast_paths.can_use_python_ints(bits, blocks)
    ):
        values = _values([_fast_paths.philox_python_run(bits, blocks)], normal, dtype).flatten()
    else:
        values = _draw(bits, normal, torch.arange(blocks, device=bits.device), dtype)
    return values[: whole.numel()].view(whole.shape)


def drop_rows_(target: Tensor, key: Tensor, count: int, full_size: list[int], begin: list[int]) -> None:
    """Zero the rows with the ``count`` smallest uniform values of each column of the whole matrix."""
    if count == 0 or target.numel() == 0:
        return
    rows, columns = full_size[0], target.size(1)
    block = _column_block(rows, columns)
    for start in range(0, columns, block):
        part = target.narrow(1, start, min(block, columns - start))
        scores = part.new_empty([part.size(1), rows], dtype=torch.float32)
        fill_view_(scores, key, "uniform", [0.0, 1.0], [full_size[1], rows], [begin[1] + start, 0])
        # Stable, so that ties break the same way everywhere.
        order = torch.sort(scores, stable=True, dim=1)[1]
        dropped = torch.zeros_like(order, dtype=torch.bool).scatter(1, order.narrow(1, 0, count), 1).t()
        dropped = dropped.narrow(0, begin[0], part.size(0))
        if part.element_size() == 1:
            # masked_fill_ has no kernel for 8 bits.
            part.copy_(part.to(torch.float32).masked_fill_(dropped, 0.0))
        else:
            part.masked_fill_(dropped, 0.0)


def _column_block(rows: int, columns: int) -> int:
    """Return how many columns have 1 MiB of indices, at least 1."""
    if not is_scripting():
        # A trace would fix the number of blocks.
        if is_compiling():
            return columns
    return max(1, 131072 // max(1, rows))
