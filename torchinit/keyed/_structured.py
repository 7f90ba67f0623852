"""Structured fills, by key: each makes the whole and copies the piece from it."""

import math

import torch
from torch import Tensor

from torchinit._core.checks import check_divisible, check_inexact, check_kernel, check_matrix, check_matrix_like
from torchinit._core.layers import icnr_std, repeat_subpixels
from torchinit._core.messages import format_float
from torchinit._core.structured import check_delta, orthogonal_blocks, wide_matrix
from torchinit._core.writes import no_grad_centre_
from torchinit.keyed._distributions import fill_normal_, fill_scaled_
from torchinit.keyed._fill import drop_rows_, key_for, one_key
from torchinit.keyed._keys import split
from torchinit.keyed._piece import Piece, piece_of, place_, views


def _targets(tensor: Tensor, key: Tensor, piece: Piece) -> list[tuple[Tensor, list[int]]]:
    """Check the key, and return the views to write to; none for an empty or meta tensor."""
    key_for(tensor, key)
    if tensor.numel() == 0 or tensor.is_meta:
        return []
    return views(tensor, piece)


def _draw_blocks(like: Tensor, key: Tensor, blocks: int, rows: int, columns: int, gain: float) -> Tensor:
    """Draw a normal matrix, and turn each of its blocks of rows into an orthogonal one."""
    # Fail on a non-number before drawing.
    gain = 1.0 if 1.0 <= gain <= 1.0 else gain
    matrix = wide_matrix(like, rows, columns)
    fill_normal_("normal_", matrix, key, 0.0, 1.0, piece_of(matrix, None, None))
    return orthogonal_blocks(list(torch.split(matrix, rows // blocks)), gain)


def _place_blocks_(function: str, tensor: Tensor, key: Tensor, blocks: int, gain: float, piece: Piece) -> Tensor:
    size = piece[0]
    check_matrix_like(tensor, size)
    check_divisible(size, blocks, "blocks")
    check_inexact(function, tensor)
    targets = _targets(tensor, key, piece)
    if len(targets) > 0:
        columns = 1
        for length in size[1:]:
            columns *= length
        place_(targets, _draw_blocks(targets[0][0], key, blocks, size[0], columns, gain).reshape(size))
    return tensor


def orthogonal_(
    tensor: Tensor, key: Tensor, gain: float = 1.0, full_size: list[int] | None = None, offset: list[int] | None = None
) -> Tensor:
    """Fill ``tensor`` with a (semi-)orthogonal matrix, by key.

    See :func:`torchinit.orthogonal_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape)
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> key = keyed.fold_in(keyed.key(0), "layer.weight")
        >>> whole = keyed.orthogonal_(torch.empty(6, 4), key)
        >>> piece = keyed.orthogonal_(torch.empty(3, 4), key, full_size=[6, 4], offset=[3, 0])
        >>> torch.equal(piece, whole[3:])
        True
    """
    piece = piece_of(tensor, full_size, offset)
    return _place_blocks_("orthogonal_", tensor, key, 1, gain, piece)


def block_orthogonal_(
    tensor: Tensor,
    key: Tensor,
    blocks: int,
    gain: float = 1.0,
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill ``tensor`` with equal blocks of rows, each a (semi-)orthogonal matrix, by key.

    See :func:`torchinit.block_orthogonal_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape)
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.block_orthogonal_(torch.empty(4, 2), keyed.key(0), blocks=2)
        tensor([[ 0.8487, -0.5289],
                [-0.5289, -0.8487],
                [-0.1816,  0.9834],
                [ 0.9834,  0.1816]])
    """
    piece = piece_of(tensor, full_size, offset)
    return _place_blocks_("block_orthogonal_", tensor, key, blocks, gain, piece)


def delta_orthogonal_(
    tensor: Tensor,
    key: Tensor,
    gain: float = 1.0,
    groups: int = 1,
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill a convolution's weight with an orthogonal matrix at the kernel's centre and zeros around it, by key.

    See :func:`torchinit.delta_orthogonal_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape)
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.delta_orthogonal_(torch.empty(2, 1, 3), keyed.key(0)).flatten()
        tensor([ 0.0000,  0.7312,  0.0000,  0.0000, -0.6822,  0.0000])
    """
    piece = piece_of(tensor, full_size, offset)
    size = piece[0]
    check_delta(tensor, size, groups)
    targets = _targets(tensor, key, piece)
    if len(targets) > 0:
        matrix = _draw_blocks(targets[0][0], key, groups, size[0], size[1], gain)
        # Only the centre of the kernel is nonzero, and a piece may lack it.
        place_(targets, no_grad_centre_(matrix.new_empty(size), matrix))
    return tensor


def icnr_(
    tensor: Tensor,
    key: Tensor,
    upscale_factor: int = 2,
    scale: float = 2.0,
    mode: str = "fan_in",
    distribution: str = "normal",
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill the weight of a sub-pixel convolution with kernels that repeat within a cell, by key.

    See :func:`torchinit.icnr_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.icnr_(torch.empty(4, 1, 1, 1), keyed.key(0)).flatten()
        tensor([1.4017, 1.4017, 1.4017, 1.4017])
    """
    piece = piece_of(tensor, full_size, offset)
    check_kernel(tensor, piece[0])
    std, small = icnr_std(piece[0], upscale_factor, scale, mode, distribution)
    targets = _targets(tensor, key, piece)
    if len(targets) > 0:
        drawn = targets[0][0].new_empty(small)
        fill_scaled_("icnr_", drawn, key, std, distribution, piece_of(drawn, None, None))
        place_(targets, repeat_subpixels(drawn, piece[0]))
    return tensor


def sparse_(
    tensor: Tensor,
    key: Tensor,
    sparsity: float,
    std: float = 0.01,
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill a matrix from a normal distribution, then zero the same number of entries in each column, by key.

    See :func:`torchinit.sparse_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape)
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.sparse_(torch.empty(2, 3), keyed.key(0), sparsity=0.5)
        tensor([[ 0.0000,  0.0028,  0.0107],
                [-0.0038,  0.0000,  0.0000]])
    """
    piece = piece_of(tensor, full_size, offset)
    size = piece[0]
    check_matrix(tensor, size)
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity must be in [0, 1], got {format_float(sparsity)}")
    # One key for the values and one for the rows that are zero.
    keys = split(one_key(key), 2)
    fill_normal_("sparse_", tensor, keys[0], 0.0, std, piece)
    if not tensor.is_meta:
        count = math.ceil(sparsity * size[0])
        for view, begin in views(tensor, piece):
            drop_rows_(view, keys[1], count, size, begin)
    return tensor
