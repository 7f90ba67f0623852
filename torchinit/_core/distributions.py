"""Fills from one distribution or with one value, for any shape."""

import math
from functools import partial

import torch
from torch import Tensor
from torch.jit import is_scripting
from torch.nn.init import (
    constant_ as _upstream_constant_,
    normal_ as _upstream_normal_,
    uniform_ as _upstream_uniform_,
)
from torch.overrides import handle_torch_function, has_torch_function_variadic

from torchinit._core.checks import check_inexact, check_overlap, check_trunc_normal, check_uniform
from torchinit._core.compat import is_exporting
from torchinit._core.door import enter, is_plain
from torchinit._core.messages import dtype_name, format_float
from torchinit._core.scale import truncation_bounds
from torchinit._core.writes import (
    _no_grad_fill_,
    _no_grad_normal_,
    _no_grad_trunc_normal_,
    _no_grad_uniform_,
    _no_grad_zero_,
    no_grad_copy_,
)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` from the uniform distribution.

    .. math:: x \sim \mathcal{U}(a, b)

    Args:
        tensor: a floating-point or complex tensor of any shape
        a: lower bound, included
        b: upper bound, excluded
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``a > b``, or a bound is not a finite value of the tensor's dtype

    Examples:
        >>> w = torch.empty(3, 5)
        >>> torchinit.uniform_(w, -1.0, 1.0) is w
        True
        >>> bool((w.abs() <= 1).all())
        True
    """
    if has_torch_function_variadic(tensor):
        # NB: torch.export's TorchFunctionMode would trace upstream's function instead.
        if not is_exporting():
            return handle_torch_function(_upstream_uniform_, (tensor,), tensor=tensor, a=a, b=b, generator=generator)
    if not (tensor.is_floating_point() and b - a < math.inf):
        check_uniform("uniform_", tensor, a, b)
    return _no_grad_uniform_(tensor, a, b, generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` from the normal distribution.

    .. math:: x \sim \mathcal{N}(\text{mean}, \text{std}^2)

    Args:
        tensor: a floating-point or complex tensor of any shape
        mean: mean of the distribution
        std: standard deviation of the distribution, not negative
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``std`` is negative or NaN

    Examples:
        >>> w = torchinit.normal_(torch.empty(1000, 100), std=0.02)
        >>> round(w.std().item(), 3)
        0.02
    """
    if has_torch_function_variadic(tensor):
        if not is_exporting():
            return handle_torch_function(
                _upstream_normal_, (tensor,), tensor=tensor, mean=mean, std=std, generator=generator
            )
    if not tensor.is_floating_point():
        check_inexact("normal_", tensor)
    return _no_grad_normal_(tensor, mean, std, generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill ``tensor`` from the normal distribution truncated to :math:`[a, b]`.

    The bounds are values, not standard deviations: at ``std=0.02`` the default bounds lie 100 standard deviations
    out. One uniform draw per value goes through the inverse of the distribution function:

    .. math::
        x = \text{mean} + \sqrt{2} \, \text{std} \, \operatorname{erfinv}(2 u - 1), \quad
        u \sim \mathcal{U}\left(\Phi\left(\tfrac{a - \text{mean}}{\text{std}}\right),
        \Phi\left(\tfrac{b - \text{mean}}{\text{std}}\right)\right)

    The bits are those of torch 2.11 in float32 and float64, except for a draw that would be infinite. If ``mean`` lies
    more than two ``std`` outside :math:`[a, b]`, the distance to the nearer bound is computed in logs instead, to the
    dtype's precision. float16 and bfloat16 are computed in float32 and rounded once.

    Args:
        tensor: a floating-point tensor of any shape
        mean: mean of the normal distribution before it is truncated
        std: standard deviation of the normal distribution before it is truncated, not negative; at 0 every value is
            the mean, clamped to :math:`[a, b]`
        a: smallest value
        b: largest value
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        NotImplementedError: if ``tensor`` is not floating-point
        RuntimeError: if ``a > b``, ``std`` is negative, or ``mean`` or ``std`` is not finite

    Examples:
        >>> w = torchinit.trunc_normal_(torch.empty(1000, 100))
        >>> bool((w.abs() <= 2).all())
        True
        >>> round(w.std().item(), 1)
        0.9
    """
    check_trunc_normal("trunc_normal_", tensor, mean, std, a, b)
    return _no_grad_trunc_normal_(tensor, mean, std, a, b, generator)


def trunc_normal_tf_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
    correct_std: bool = False,
) -> Tensor:
    r"""Fill ``tensor`` from the normal distribution truncated at a number of standard deviations.

    The bounds are in standard deviations from the mean, as in TensorFlow, JAX and timm; those of :func:`trunc_normal_`
    are values.

    .. math::
        x \sim \mathcal{N}(\text{mean}, \text{std}^2) \quad \text{ within }
        [\text{mean} + a \, \text{std}, \; \text{mean} + b \, \text{std}]

    Truncation narrows a distribution: at the default bounds the values have the standard deviation 0.8796 ``std``.
    With ``correct_std`` they have ``std``; the distribution before truncation is then wider.

    Args:
        tensor: a floating-point tensor of any shape
        mean: mean of the normal distribution before it is truncated
        std: standard deviation of the normal distribution before it is truncated, not negative; at 0 every value is
            the mean
        a: smallest value, in standard deviations from the mean
        b: largest value, in standard deviations from the mean
        generator: the generator to draw from (default: the global generator of the tensor's device)
        correct_std: whether ``std`` is the standard deviation after truncation instead

    Returns:
        ``tensor``

    Raises:
        NotImplementedError: if ``tensor`` is not floating-point
        RuntimeError: if ``a > b``, ``std`` is negative, or ``mean`` or ``std`` is not finite, or ``a == b`` with
            ``correct_std``

    Examples:
        >>> w = torchinit.trunc_normal_tf_(torch.empty(1000, 100), std=0.02)
        >>> bool((w.abs() <= 0.04).all())
        True
        >>> w = torchinit.trunc_normal_tf_(torch.empty(1000, 100), std=0.02, correct_std=True)
        >>> round(w.std().item(), 3)
        0.02
    """
    check_trunc_normal("trunc_normal_tf_", tensor, mean, std, a, b)
    # A recording reads the arguments while this runs, so none gets another value.
    scale, low, high = truncation_bounds(mean, std, a, b, correct_std)
    check_trunc_normal("trunc_normal_tf_", tensor, mean, scale, low, high)
    return _no_grad_trunc_normal_(tensor, mean, scale, low, high, generator)


def check_log_uniform(function: str, tensor: Tensor, low: float, high: float, floor: float) -> None:
    if not tensor.is_floating_point():
        raise NotImplementedError(f"{function} needs a floating-point tensor, got {dtype_name(tensor)}")
    # Within float32's range, in which the exponentials are computed.
    if not 1e-37 <= low <= high <= 1e37:
        raise ValueError(
            f"{function} needs 0 < low <= high, both finite, got low={format_float(low)} and high={format_float(high)}"
        )
    if not 0.0 <= floor <= 1e37:
        raise ValueError(f"{function} needs a finite floor that is not negative, got {format_float(floor)}")


def inverse_softplus_log_uniform(unit: Tensor, low: float, high: float, floor: float) -> Tensor:
    """Turn uniform values in [0, 1) into inverse softplus of log-uniform ones, in Mamba's order of operations."""
    steps = (unit * (math.log(high) - math.log(low)) + math.log(low)).exp().clamp(min=floor)
    return steps + torch.log(-torch.expm1(-steps))


def inverse_softplus_log_uniform_(
    tensor: Tensor,
    low: float = 0.001,
    high: float = 0.1,
    floor: float = 0.0001,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill ``tensor`` so that its softplus has a log-uniform distribution.

    The bias ``dt_bias`` of Mamba, whose softplus is the step size: Gu and Dao, "Mamba: linear-time sequence modeling
    with selective state spaces" (2023), https://arxiv.org/abs/2312.00752.

    .. math::
        x = s + \log(1 - e^{-s}), \quad s = \max(\text{floor}, e^{u}), \quad
        u \sim \mathcal{U}(\log \text{low}, \log \text{high})

    float16 and bfloat16 are computed in float32 and rounded once.

    Args:
        tensor: a floating-point tensor of any shape
        low: smallest step, positive
        high: largest step, not below ``low``
        floor: a step below it becomes ``floor``
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``low`` is not positive or above ``high``, ``floor`` is negative, or one of them is not finite
        NotImplementedError: if ``tensor`` is not floating-point

    Examples:
        >>> dt_bias = torchinit.inverse_softplus_log_uniform_(torch.empty(1000))
        >>> step = torch.nn.functional.softplus(dt_bias)
        >>> bool((step > 0.00099).all() and (step < 0.101).all())
        True
    """
    if not is_scripting():
        if not is_plain(tensor):
            fill = partial(inverse_softplus_log_uniform_, low=low, high=high, floor=floor, generator=generator)
            if enter(tensor, fill) is None:
                return tensor
    check_log_uniform("inverse_softplus_log_uniform_", tensor, low, high, floor)
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    check_overlap(tensor)
    unit = tensor.new_empty(tensor.shape, dtype=torch.float64 if tensor.dtype == torch.float64 else torch.float32)
    return no_grad_copy_(
        tensor, inverse_softplus_log_uniform(_no_grad_uniform_(unit, 0.0, 1.0, generator), low, high, floor)
    )


def constant_(tensor: Tensor, val: float) -> Tensor:
    r"""Fill ``tensor`` with one value.

    .. math:: x = \text{val}

    Args:
        tensor: a tensor of any shape and dtype
        val: the value, which the tensor's dtype must be able to hold

    Returns:
        ``tensor``

    Raises:
        RuntimeError: if the dtype cannot hold ``val``

    Examples:
        >>> torchinit.constant_(torch.empty(2, 2), 0.5)
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    if has_torch_function_variadic(tensor):
        if not is_exporting():
            return handle_torch_function(_upstream_constant_, (tensor,), tensor=tensor, val=val)
    return _no_grad_fill_(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    r"""Fill ``tensor`` with ones.

    .. math:: x = 1

    Args:
        tensor: a tensor of any shape and dtype

    Returns:
        ``tensor``

    Examples:
        >>> torchinit.ones_(torch.empty(3))
        tensor([1., 1., 1.])
    """
    return _no_grad_fill_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    r"""Fill ``tensor`` with zeros.

    .. math:: x = 0

    Args:
        tensor: a tensor of any shape and dtype

    Returns:
        ``tensor``

    Examples:
        >>> torchinit.zeros_(torch.empty(3))
        tensor([0., 0., 0.])
    """
    return _no_grad_zero_(tensor)
