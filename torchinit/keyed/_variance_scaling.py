"""Variance scaling, by key."""

from torch import Tensor

from torchinit._core.fans import fan_mode, fans, fans_or_given
from torchinit._core.messages import warn_user
from torchinit._core.scale import (
    check_scaling,
    kaiming_std,
    sine_bound,
    uniform_bound,
    variance_scaling_std,
    xavier_std,
)
from torchinit.keyed._distributions import fill_normal_, fill_scaled_, fill_uniform_
from torchinit.keyed._fill import one_key
from torchinit.keyed._piece import Piece, piece_of


def _is_empty(key: Tensor, piece: Piece) -> bool:
    """True for a whole without elements, with a warning as in eager ``kaiming_*``; an empty piece gives none."""
    empty = 0 in piece[0]
    if empty:
        one_key(key)
        warn_user("Initializing zero-element tensors is a no-op")
    return empty


def _kaiming_std(piece: Piece, a: float, mode: str, nonlinearity: str) -> float:
    mode = fan_mode(mode)
    fan_in, fan_out = fans(piece[0])
    return kaiming_std(fan_in if mode == "fan_in" else fan_out, a, nonlinearity)


def xavier_uniform_(
    tensor: Tensor, key: Tensor, gain: float = 1.0, full_size: list[int] | None = None, offset: list[int] | None = None
) -> Tensor:
    """Fill ``tensor`` from the uniform distribution of Xavier (Glorot) initialization, by key.

    See :func:`torchinit.xavier_uniform_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.xavier_uniform_(torch.empty(2, 3), keyed.key(0))
        tensor([[-0.7539, -0.1902, -0.3451],
                [-1.0881,  0.8627,  0.4279]])
    """
    piece = piece_of(tensor, full_size, offset)
    fan_in, fan_out = fans(piece[0])
    bound = uniform_bound(xavier_std(fan_in, fan_out, gain))
    return fill_uniform_("xavier_uniform_", tensor, key, -bound, bound, piece)


def xavier_normal_(
    tensor: Tensor, key: Tensor, gain: float = 1.0, full_size: list[int] | None = None, offset: list[int] | None = None
) -> Tensor:
    """Fill ``tensor`` from the normal distribution of Xavier (Glorot) initialization, by key.

    See :func:`torchinit.xavier_normal_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.xavier_normal_(torch.empty(2, 3), keyed.key(0))
        tensor([[ 0.6269, -0.5848, -0.3906],
                [-0.3049, -0.0972,  0.1144]])
    """
    piece = piece_of(tensor, full_size, offset)
    fan_in, fan_out = fans(piece[0])
    std = xavier_std(fan_in, fan_out, gain)
    return fill_normal_("xavier_normal_", tensor, key, 0.0, std, piece)


def kaiming_uniform_(
    tensor: Tensor,
    key: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill ``tensor`` from the uniform distribution of Kaiming (He) initialization, by key.

    See :func:`torchinit.kaiming_uniform_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.kaiming_uniform_(torch.empty(2, 3), keyed.key(0), nonlinearity="relu")
        tensor([[-0.9733, -0.2456, -0.4456],
                [-1.4047,  1.1137,  0.5525]])
    """
    piece = piece_of(tensor, full_size, offset)
    if _is_empty(key, piece):
        return tensor
    std = _kaiming_std(piece, a, mode, nonlinearity)
    bound = uniform_bound(std)
    return fill_uniform_("kaiming_uniform_", tensor, key, -bound, bound, piece)


def kaiming_normal_(
    tensor: Tensor,
    key: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill ``tensor`` from the normal distribution of Kaiming (He) initialization, by key.

    See :func:`torchinit.kaiming_normal_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.kaiming_normal_(torch.empty(2, 3), keyed.key(0), nonlinearity="relu")
        tensor([[ 0.8093, -0.7550, -0.5043],
                [-0.3936, -0.1254,  0.1476]])
    """
    piece = piece_of(tensor, full_size, offset)
    if _is_empty(key, piece):
        return tensor
    std = _kaiming_std(piece, a, mode, nonlinearity)
    return fill_normal_("kaiming_normal_", tensor, key, 0.0, std, piece)


def variance_scaling_(
    tensor: Tensor,
    key: Tensor,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    fan_in: int | None = None,
    fan_out: int | None = None,
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill ``tensor`` from a distribution whose variance is a scale over a fan, by key.

    See :func:`torchinit.variance_scaling_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.variance_scaling_(torch.empty(2, 3), keyed.key(0))
        tensor([[-0.6223, -0.1374, -0.2535],
                [-1.2759,  0.7577,  0.3188]])
    """
    piece = piece_of(tensor, full_size, offset)
    mode = mode.lower()
    check_scaling(scale, mode, distribution)
    inputs, outputs = fans_or_given(piece[0], mode, fan_in, fan_out)
    std = variance_scaling_std(inputs, outputs, scale, mode)
    return fill_scaled_("variance_scaling_", tensor, key, std, distribution, piece)


def lecun_uniform_(
    tensor: Tensor, key: Tensor, full_size: list[int] | None = None, offset: list[int] | None = None
) -> Tensor:
    """Fill ``tensor`` from the uniform distribution of LeCun initialization, by key.

    See :func:`torchinit.lecun_uniform_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.lecun_uniform_(torch.empty(2, 3), keyed.key(0))
        tensor([[-0.6882, -0.1737, -0.3151],
                [-0.9933,  0.7875,  0.3907]])
    """
    piece = piece_of(tensor, full_size, offset)
    fan_in, fan_out = fans(piece[0])
    std = variance_scaling_std(fan_in, fan_out, 1.0, "fan_in")
    return fill_scaled_("lecun_uniform_", tensor, key, std, "uniform", piece)


def lecun_normal_(
    tensor: Tensor, key: Tensor, full_size: list[int] | None = None, offset: list[int] | None = None
) -> Tensor:
    """Fill ``tensor`` from the truncated normal distribution of LeCun initialization, by key.

    See :func:`torchinit.lecun_normal_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.lecun_normal_(torch.empty(2, 3), keyed.key(0))
        tensor([[-0.6223, -0.1374, -0.2535],
                [-1.2759,  0.7577,  0.3188]])
    """
    piece = piece_of(tensor, full_size, offset)
    fan_in, fan_out = fans(piece[0])
    std = variance_scaling_std(fan_in, fan_out, 1.0, "fan_in")
    return fill_scaled_("lecun_normal_", tensor, key, std, "truncated_normal", piece)


def sine_uniform_(
    tensor: Tensor,
    key: Tensor,
    omega: float = 30.0,
    is_first: bool = False,
    full_size: list[int] | None = None,
    offset: list[int] | None = None,
) -> Tensor:
    """Fill ``tensor`` from the uniform distribution of a sine network (SIREN), by key.

    See :func:`torchinit.sine_uniform_` for the other arguments and the errors.

    Args:
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: index at which the piece begins in the whole, one number per dimension (default: zeros)

    Raises:
        ValueError: if ``key`` is not a key, or the piece does not lie within ``full_size``

    Examples:
        >>> keyed.sine_uniform_(torch.empty(2, 3), keyed.key(0))
        tensor([[-0.0324, -0.0082, -0.0149],
                [-0.0468,  0.0371,  0.0184]])
    """
    piece = piece_of(tensor, full_size, offset)
    bound = sine_bound(fans(piece[0])[0], omega, is_first)
    return fill_uniform_("sine_uniform_", tensor, key, -bound, bound, piece)
