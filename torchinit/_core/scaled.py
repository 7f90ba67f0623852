"""Variance scaling: the standard deviation follows from the fans."""

import math

import torch
from torch import SymFloat, SymInt, Tensor
from torch.compiler import is_dynamo_compiling
from torch.jit import is_scripting
from torch.nn.init import kaiming_uniform_ as _upstream_kaiming_uniform_
from torch.overrides import handle_torch_function, has_torch_function_variadic

from torchinit._core import unusual
from torchinit._core.checks import (
    _check_inexact,
    _check_partitioned,
    _check_trunc_normal,
    _check_uniform,
    _is_exporting,
    _number,
    _warn,
)
from torchinit._core.fans import _calculate_correct_fan, _calculate_fan_in_and_fan_out
from torchinit._core.gains import calculate_gain
from torchinit._core.writes import _no_grad_mul_, _no_grad_normal_, _no_grad_trunc_normal_, _no_grad_uniform_


def _xavier_std(tensor: Tensor, gain: float) -> float:
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    fans = fan_in + fan_out
    if fans == 0:
        return 0.0
    if not is_scripting():
        if (type(fans) is SymInt or is_dynamo_compiling()) and unusual._is_symbolic(fans):  # type: ignore[comparison-overlap]
            # No kernel will see the sign.
            if not gain >= 0.0:
                raise RuntimeError(f"xavier_* expects gain >= 0.0, but found gain {_number(gain)}")
            return gain * unusual._sqrt(2.0 / fans)
    return gain * math.sqrt(2.0 / float(fans))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan = _calculate_correct_fan(tensor, mode)
    # The default of a is a slope of leaky_relu's, and no parameter that another function could have.
    gain = calculate_gain(nonlinearity, a if a != 0.0 or nonlinearity == "leaky_relu" else None)
    if not is_scripting():
        if (type(fan) is SymInt or is_dynamo_compiling()) and unusual._is_symbolic(fan):  # type: ignore[comparison-overlap]
            return gain / unusual._sqrt(fan)
    return gain / math.sqrt(fan)


def _fill_uniform(tensor: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    return _fill_within(tensor, 1.7320508075688772 * std, generator)  # math.sqrt(3.0)


def _fill_within(tensor: Tensor, bound: float, generator: torch.Generator | None) -> Tensor:
    if not is_scripting():
        if (type(bound) is SymFloat or is_dynamo_compiling()) and unusual._follows_a_size(bound, tensor):  # type: ignore[comparison-overlap]
            # The same bits in 32 and 64 bits where the kernel fuses its multiply-add: 2x - 1 is exact for a draw x.
            return _no_grad_mul_(_no_grad_uniform_(tensor, -1.0, 1.0, generator), bound)
    _check_uniform(tensor, -bound, bound)
    return _no_grad_uniform_(tensor, -bound, bound, generator)


def _fill_normal(tensor: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    if not tensor.is_floating_point():
        _check_inexact(tensor, "normal_")
    if not is_scripting():
        if (type(std) is SymFloat or is_dynamo_compiling()) and unusual._follows_a_size(std, tensor):  # type: ignore[comparison-overlap]
            # The same bits for a contiguous tensor of 16 elements and more; other kernels round once less.
            return _no_grad_mul_(_no_grad_normal_(tensor, 0.0, 1.0, generator), std)
    return _no_grad_normal_(tensor, 0.0, std, generator)


def _untruncated(std: float) -> float:
    """Return the standard deviation of a normal distribution that has this one when truncated at two of its own."""
    return std / 0.87962566103423978


def _fill_truncated(tensor: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    scale = _untruncated(std)
    if not is_scripting():
        if (type(std) is SymFloat or is_dynamo_compiling()) and unusual._follows_a_size(std, tensor):  # type: ignore[comparison-overlap]
            return _no_grad_mul_(_no_grad_trunc_normal_(tensor, 0.0, 1.0, -2.0, 2.0, generator), scale)
    _check_trunc_normal(tensor, 0.0, scale, -2.0 * scale, 2.0 * scale)
    return _no_grad_trunc_normal_(tensor, 0.0, scale, -2.0 * scale, 2.0 * scale, generator)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` from the uniform distribution of Xavier (Glorot) initialization.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).

    .. math::
        x \sim \mathcal{U}(-\text{bound}, \text{bound}), \quad
        \text{bound} = \sqrt{3} \left(\text{gain} \sqrt{\frac{2}{\text{fan\_in} + \text{fan\_out}}}\right)

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...), the further dimensions counting
            into both fans
        gain: factor on the standard deviation; see :func:`calculate_gain`
        generator: where the draw comes from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``gain`` is negative or NaN

    Examples:
        >>> w = torchinit.xavier_uniform_(torch.empty(3, 5), gain=torchinit.calculate_gain("relu"))
        >>> bool((w.abs() <= (2 * 6 / 8) ** 0.5).all())
        True
    """
    return _fill_uniform(tensor, _xavier_std(tensor, gain), generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` from the normal distribution of Xavier (Glorot) initialization.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).

    .. math::
        x \sim \mathcal{N}(0, \text{std}^2), \quad
        \text{std} = \text{gain} \sqrt{\frac{2}{\text{fan\_in} + \text{fan\_out}}}

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...), the further dimensions counting
            into both fans
        gain: factor on the standard deviation; see :func:`calculate_gain`
        generator: where the draw comes from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``gain`` is negative or NaN

    Examples:
        >>> w = torchinit.xavier_normal_(torch.empty(600, 400))
        >>> abs(w.std().item() - (2 / 1000) ** 0.5) < 1e-3
        True
    """
    std = _xavier_std(tensor, gain)
    return _fill_normal(tensor, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill ``tensor`` from the uniform distribution of Kaiming (He) initialization.

    He et al., "Delving deep into rectifiers: Surpassing human-level performance on ImageNet classification" (2015),
    https://arxiv.org/abs/1502.01852.

    .. math::
        x \sim \mathcal{U}(-\text{bound}, \text{bound}), \quad
        \text{bound} = \sqrt{3} \, \frac{\text{gain}}{\sqrt{\text{fan}}}

    A zero-element tensor is left alone. For a weight used as ``x @ w``, pass ``w.T``.

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...), the further dimensions counting
            into both fans
        a: negative slope of the rectifier after this layer, for ``nonlinearity="leaky_relu"``; the parameter of another
            nonlinearity that has one, where 0 means that one's default
        mode: ``"fan_in"`` keeps the variance of the activations, ``"fan_out"`` that of the gradients; in upper or lower case
        nonlinearity: name of the function after this layer, as :func:`calculate_gain` takes it
        generator: where the draw comes from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions, for an unknown mode or nonlinearity, or an ``a`` that
            :func:`calculate_gain` refuses
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``a`` is NaN

    Warns:
        UserWarning: if ``tensor`` has no elements

    Examples:
        >>> w = torchinit.kaiming_uniform_(torch.empty(3, 5), mode="fan_in", nonlinearity="relu")
        >>> bool((w.abs() <= (6 / 5) ** 0.5).all())
        True
    """
    if has_torch_function_variadic(tensor):
        if not _is_exporting():
            return handle_torch_function(
                _upstream_kaiming_uniform_,
                (tensor,),
                tensor=tensor,
                a=a,
                mode=mode,  # type: ignore[arg-type]
                nonlinearity=nonlinearity,  # type: ignore[arg-type]
                generator=generator,
            )
    if 0 in tensor.shape:
        _check_partitioned(tensor)
        _warn("Initializing zero-element tensors is a no-op")
        return tensor
    return _fill_uniform(tensor, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill ``tensor`` from the normal distribution of Kaiming (He) initialization.

    He et al., "Delving deep into rectifiers: Surpassing human-level performance on ImageNet classification" (2015),
    https://arxiv.org/abs/1502.01852.

    .. math::
        x \sim \mathcal{N}(0, \text{std}^2), \quad \text{std} = \frac{\text{gain}}{\sqrt{\text{fan}}}

    A zero-element tensor is left alone. For a weight used as ``x @ w``, pass ``w.T``.

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...), the further dimensions counting
            into both fans
        a: negative slope of the rectifier after this layer, for ``nonlinearity="leaky_relu"``; the parameter of another
            nonlinearity that has one, where 0 means that one's default
        mode: ``"fan_in"`` keeps the variance of the activations, ``"fan_out"`` that of the gradients; in upper or lower case
        nonlinearity: name of the function after this layer, as :func:`calculate_gain` takes it
        generator: where the draw comes from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions, for an unknown mode or nonlinearity, or an ``a`` that
            :func:`calculate_gain` refuses
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if ``a`` is NaN

    Warns:
        UserWarning: if ``tensor`` has no elements

    Examples:
        >>> w = torchinit.kaiming_normal_(torch.empty(500, 200), mode="fan_out", nonlinearity="relu")
        >>> abs(w.std().item() - (2 / 500) ** 0.5) < 1e-3
        True
    """
    if 0 in tensor.shape:
        _check_partitioned(tensor)
        _warn("Initializing zero-element tensors is a no-op")
        return tensor
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return _fill_normal(tensor, std, generator)
