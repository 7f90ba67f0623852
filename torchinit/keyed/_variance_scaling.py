"""Variance scaling, drawn from a key: each initializer computes its standard deviation as its sibling does."""

from torch import Tensor

from torchinit._core.checks import check_partitioned
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


def _is_empty(tensor: Tensor, key: Tensor, piece: Piece) -> bool:
    """Warn, as ``kaiming_*`` do, of a whole without elements; an empty piece of another whole is nothing odd."""
    empty = 0 in piece[0]
    if empty:
        one_key(key)
        check_partitioned(tensor)
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

    The sibling of :func:`torchinit.xavier_uniform_`, drawn from a key.

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...)
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        gain: factor on the standard deviation; see :func:`torchinit.calculate_gain`
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: where in the whole the piece begins, an index for each dimension (default: at its beginning)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``key`` is no key, or the piece does not lie within ``full_size``; or ``tensor`` has fewer than
            two dimensions
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``gain`` is negative or NaN

    Examples:
        >>> key = keyed.key(0)
        >>> whole = keyed.xavier_uniform_(torch.empty(6, 4), key)
        >>> piece = keyed.xavier_uniform_(torch.empty(3, 4), key, full_size=[6, 4], offset=[3, 0])
        >>> torch.equal(piece, whole[3:])
        True
    """
    piece = piece_of(tensor, full_size, offset)
    fan_in, fan_out = fans(piece[0])
    bound = uniform_bound(xavier_std(fan_in, fan_out, gain))
    return fill_uniform_("xavier_uniform_", tensor, key, -bound, bound, piece)


def xavier_normal_(
    tensor: Tensor, key: Tensor, gain: float = 1.0, full_size: list[int] | None = None, offset: list[int] | None = None
) -> Tensor:
    """Fill ``tensor`` from the normal distribution of Xavier (Glorot) initialization, by key.

    The sibling of :func:`torchinit.xavier_normal_`, drawn from a key.

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...)
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        gain: factor on the standard deviation; see :func:`torchinit.calculate_gain`
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: where in the whole the piece begins, an index for each dimension (default: at its beginning)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``key`` is no key, or the piece does not lie within ``full_size``; or ``tensor`` has fewer than
            two dimensions
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``gain`` is negative or NaN

    Examples:
        >>> key = keyed.key(0)
        >>> whole = keyed.xavier_normal_(torch.empty(6, 4), key)
        >>> piece = keyed.xavier_normal_(torch.empty(3, 4), key, full_size=[6, 4], offset=[3, 0])
        >>> torch.equal(piece, whole[3:])
        True
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

    The sibling of :func:`torchinit.kaiming_uniform_`, drawn from a key.

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...)
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        a: negative slope of the rectifier after this layer, or the parameter of another nonlinearity
        mode: ``"fan_in"`` or ``"fan_out"``, in upper or lower case
        nonlinearity: name of the function after this layer; see :func:`torchinit.calculate_gain`
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: where in the whole the piece begins, an index for each dimension (default: at its beginning)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``key`` is no key, or the piece does not lie within ``full_size``; if ``tensor`` has fewer than
            two dimensions; for an unknown mode or nonlinearity
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``a`` is NaN

    Examples:
        >>> key = keyed.key(0)
        >>> whole = keyed.kaiming_uniform_(torch.empty(6, 4), key)
        >>> piece = keyed.kaiming_uniform_(torch.empty(3, 4), key, full_size=[6, 4], offset=[3, 0])
        >>> torch.equal(piece, whole[3:])
        True
    """
    piece = piece_of(tensor, full_size, offset)
    if _is_empty(tensor, key, piece):
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

    The sibling of :func:`torchinit.kaiming_normal_`, drawn from a key.

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...)
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        a: negative slope of the rectifier after this layer, or the parameter of another nonlinearity
        mode: ``"fan_in"`` or ``"fan_out"``, in upper or lower case
        nonlinearity: name of the function after this layer; see :func:`torchinit.calculate_gain`
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: where in the whole the piece begins, an index for each dimension (default: at its beginning)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``key`` is no key, or the piece does not lie within ``full_size``; if ``tensor`` has fewer than
            two dimensions; for an unknown mode or nonlinearity
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``a`` is NaN

    Examples:
        >>> key = keyed.key(0)
        >>> whole = keyed.kaiming_normal_(torch.empty(6, 4), key)
        >>> piece = keyed.kaiming_normal_(torch.empty(3, 4), key, full_size=[6, 4], offset=[3, 0])
        >>> torch.equal(piece, whole[3:])
        True
    """
    piece = piece_of(tensor, full_size, offset)
    if _is_empty(tensor, key, piece):
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

    The sibling of :func:`torchinit.variance_scaling_`, drawn from a key.

    Args:
        tensor: a floating-point tensor of shape (fan_out, fan_in, ...), or of any shape if the fans are given;
            complex too, but not truncated
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        scale: the variance times the fan, not negative
        mode: which fan to divide by: ``"fan_in"``, ``"fan_out"``, ``"fan_avg"`` or ``"fan_geo_avg"``
        distribution: ``"truncated_normal"`` (at two standard deviations), ``"normal"`` or ``"uniform"``
        fan_in: inputs of each unit (default: counted)
        fan_out: outputs of each unit (default: counted)
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: where in the whole the piece begins, an index for each dimension (default: at its beginning)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``key`` is no key, or the piece does not lie within ``full_size``; for an unknown mode or
            distribution, a fan below 1, or a scale that is negative or not finite
        NotImplementedError: if ``tensor`` holds integers or booleans, or complex numbers for a truncated normal
        RuntimeError: if the dtype cannot hold the values

    Examples:
        >>> key = keyed.key(0)
        >>> whole = keyed.variance_scaling_(torch.empty(6, 4), key)
        >>> piece = keyed.variance_scaling_(torch.empty(3, 4), key, full_size=[6, 4], offset=[3, 0])
        >>> torch.equal(piece, whole[3:])
        True
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

    The sibling of :func:`torchinit.lecun_uniform_`, drawn from a key.

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...)
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: where in the whole the piece begins, an index for each dimension (default: at its beginning)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``key`` is no key, or the piece does not lie within ``full_size``; if ``tensor`` has fewer than
            two dimensions
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> key = keyed.key(0)
        >>> whole = keyed.lecun_uniform_(torch.empty(6, 4), key)
        >>> piece = keyed.lecun_uniform_(torch.empty(3, 4), key, full_size=[6, 4], offset=[3, 0])
        >>> torch.equal(piece, whole[3:])
        True
    """
    piece = piece_of(tensor, full_size, offset)
    fan_in, fan_out = fans(piece[0])
    std = variance_scaling_std(fan_in, fan_out, 1.0, "fan_in")
    return fill_scaled_("lecun_uniform_", tensor, key, std, "uniform", piece)


def lecun_normal_(
    tensor: Tensor, key: Tensor, full_size: list[int] | None = None, offset: list[int] | None = None
) -> Tensor:
    """Fill ``tensor`` from the truncated normal distribution of LeCun initialization, by key.

    The sibling of :func:`torchinit.lecun_normal_`, drawn from a key.

    Args:
        tensor: a floating-point tensor of shape (fan_out, fan_in, ...)
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: where in the whole the piece begins, an index for each dimension (default: at its beginning)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``key`` is no key, or the piece does not lie within ``full_size``; if ``tensor`` has fewer than
            two dimensions
        NotImplementedError: if ``tensor`` is not floating-point

    Examples:
        >>> key = keyed.key(0)
        >>> whole = keyed.lecun_normal_(torch.empty(6, 4), key)
        >>> piece = keyed.lecun_normal_(torch.empty(3, 4), key, full_size=[6, 4], offset=[3, 0])
        >>> torch.equal(piece, whole[3:])
        True
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
    """Fill ``tensor`` from the uniform distribution of a network of sines (SIREN), by key.

    The sibling of :func:`torchinit.sine_uniform_`, drawn from a key.

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...)
        key: a key of shape (2,), see :func:`torchinit.keyed.key`; each tensor needs its own
        omega: the frequency of the sines, positive; the first layer's bound does not depend on it
        is_first: whether the layer's inputs are the coordinates
        full_size: shape of the whole that ``tensor`` is a piece of (default: its own shape); fans are counted from it
        offset: where in the whole the piece begins, an index for each dimension (default: at its beginning)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``key`` is no key, or the piece does not lie within ``full_size``; if ``tensor`` has fewer than
            two dimensions, or ``omega`` is not positive and finite
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if the dtype cannot hold the bound

    Examples:
        >>> key = keyed.key(0)
        >>> whole = keyed.sine_uniform_(torch.empty(6, 4), key)
        >>> piece = keyed.sine_uniform_(torch.empty(3, 4), key, full_size=[6, 4], offset=[3, 0])
        >>> torch.equal(piece, whole[3:])
        True
    """
    piece = piece_of(tensor, full_size, offset)
    bound = sine_bound(fans(piece[0])[0], omega, is_first)
    return fill_uniform_("sine_uniform_", tensor, key, -bound, bound, piece)
