"""Fills from one distribution, by key."""

import math

import torch
from torch import Tensor

from torchinit._core.checks import check_inexact, check_trunc_normal, check_uniform
from torchinit._core.distributions import check_log_uniform
from torchinit._core.messages import format_float
from torchinit._core.scale import truncated_scale, truncation_bounds, uniform_bound
from torchinit._core.trunc_normal import nearest
from torchinit._core.writes import _no_grad_fill_
from torchinit.keyed._fill import fill_, key_for
from torchinit.keyed._piece import Piece, piece_of


def _largest_finite(dtype: torch.dtype) -> float:
    # NB: TorchScript has no finfo.
    if dtype == torch.float16 or dtype == torch.complex32:
        return 65504.0
    if dtype == torch.float64 or dtype == torch.complex128:
        return 1.7976931348623157e308
    return 3.3895313892515355e38 if dtype == torch.bfloat16 else 3.4028234663852886e38


def fill_uniform_(function: str, tensor: Tensor, key: Tensor, a: float, b: float, piece: Piece) -> Tensor:
    # The checks that the kernel of a generator makes.
    check_uniform(function, tensor, a, b)
    if a > b:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={format_float(a)} > to={format_float(b)}"
        )
    limit = _largest_finite(tensor.dtype)
    if a < -limit or b > limit or b - a > limit:
        raise RuntimeError(
            f"{function} expects bounds, and a range between them, that the tensor's dtype holds, but found"
            f" from={format_float(a)} and to={format_float(b)}"
        )
    return fill_(tensor, key, "uniform", [a, b], piece)


def fill_normal_(function: str, tensor: Tensor, key: Tensor, mean: float, std: float, piece: Piece) -> Tensor:
    check_inexact(function, tensor)
    if not std >= 0.0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {format_float(std)}")
    if tensor.is_complex():
        # As upstream: the real and the imaginary part share the variance.
        std = std / math.sqrt(2.0)
    return fill_(tensor, key, "normal", [mean, std], piece)


def fill_trunc_normal_(
    function: str, tensor: Tensor, key: Tensor, mean: float, std: float, a: float, b: float, piece: Piece
) -> Tensor:
    check_trunc_normal(function, tensor, mean, std, a, b)
    if std == 0.0:
        key_for(tensor, key)
        return _no_grad_fill_(tensor, nearest(mean, a, b))
    return fill_(tensor, key, "trunc_normal", [mean, std, a, b], piece)


def fill_scaled_(function: str, tensor: Tensor, key: Tensor, std: float, distribution: str, piece: Piece) -> Tensor:
    """Draw from the named distribution around 0 that has the standard deviation ``std``."""
    if distribution == "uniform":
        bound = uniform_bound(std)
        if tensor.is_complex():
            # The real and the imaginary part share the variance.
            bound = bound / math.sqrt(2.0)
        return fill_uniform_(function, tensor, key, -bound, bound, piece)
    if distribution == "normal":
        return fill_normal_(function, tensor, key, 0.0, std, piece)
    scale = truncated_scale(std)
    return fill_trunc_normal_(function, tensor, key, 0.0, scale, -2.0 * scale, 2.0 * scale, piece)


def uniform_(
    tensor: Tensor,
    key: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill ``tensor`` from the uniform distribution, by key.

    See :func:`torchinit.uniform_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape)
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> key = keyed.fold_in(keyed.key(0), "layer.weight")
        >>> whole = keyed.uniform_(torch.empty(6, 4), key)
        >>> piece = keyed.uniform_(torch.empty(3, 4), key, full_size=[6, 4], offset=[3, 0])
        >>> torch.equal(piece, whole[3:])
        True
    """
    return fill_uniform_("uniform_", tensor, key, a, b, piece_of(tensor, full_size, offset))


def normal_(
    tensor: Tensor,
    key: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill ``tensor`` from the normal distribution, by key.

    See :func:`torchinit.normal_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape)
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.normal_(torch.empty(3), keyed.key(0), std=0.02)
        tensor([ 0.0198, -0.0185, -0.0124])
    """
    return fill_normal_("normal_", tensor, key, mean, std, piece_of(tensor, full_size, offset))


def trunc_normal_(
    tensor: Tensor,
    key: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill ``tensor`` from the normal distribution truncated to [a, b], by key.

    See :func:`torchinit.trunc_normal_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape)
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.trunc_normal_(torch.empty(3), keyed.key(0), a=-1.0, b=1.0)
        tensor([-0.6277, -0.1491, -0.2729])
    """
    return fill_trunc_normal_("trunc_normal_", tensor, key, mean, std, a, b, piece_of(tensor, full_size, offset))


def trunc_normal_tf_(
    tensor: Tensor,
    key: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    correct_std: bool = False,
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill ``tensor`` from the normal distribution truncated at a number of standard deviations, by key.

    See :func:`torchinit.trunc_normal_tf_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape)
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.trunc_normal_tf_(torch.empty(3), keyed.key(0), std=0.02)
        tensor([-0.0190, -0.0042, -0.0077])
    """
    piece = piece_of(tensor, full_size, offset)
    check_trunc_normal("trunc_normal_tf_", tensor, mean, std, a, b)
    std, low, high = truncation_bounds(mean, std, a, b, correct_std)
    return fill_trunc_normal_("trunc_normal_tf_", tensor, key, mean, std, low, high, piece)


def inverse_softplus_log_uniform_(
    tensor: Tensor,
    key: Tensor,
    low: float = 0.001,
    high: float = 0.1,
    floor: float = 0.0001,
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill ``tensor`` so that its softplus has a log-uniform distribution, by key.

    See :func:`torchinit.inverse_softplus_log_uniform_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape)
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.inverse_softplus_log_uniform_(torch.empty(3), keyed.key(0))
        tensor([-6.1888, -5.0017, -5.3282])
    """
    piece = piece_of(tensor, full_size, offset)
    check_log_uniform("inverse_softplus_log_uniform_", tensor, low, high, floor)
    return fill_(tensor, key, "inverse_softplus_log_uniform", [low, high, floor], piece)
