"""Variance scaling: Xavier, Kaiming, LeCun and others, whose standard deviation follows from the fans."""

import math
from typing import Any

import torch
from torch import SymFloat, Tensor
from torch.compiler import is_dynamo_compiling
from torch.jit import is_scripting
from torch.overrides import handle_torch_function, has_torch_function_variadic

from torchinit._core.checks import check_inexact, check_partitioned, check_trunc_normal, check_uniform
from torchinit._core.compat import is_exporting
from torchinit._core.fans import _calculate_correct_fan, _calculate_fan_in_and_fan_out, fans_or_given
from torchinit._core.messages import warn_user
from torchinit._core.scale import (
    check_scaling,
    kaiming_std,
    sine_bound,
    truncated_scale,
    uniform_bound,
    variance_scaling_std,
    xavier_std,
)
from torchinit._core.symbolic import depends_on_shape
from torchinit._core.writes import _no_grad_normal_, _no_grad_trunc_normal_, _no_grad_uniform_, no_grad_mul_

_upstream: Any = torch.nn.init.kaiming_uniform_  # the one of these that a class can override


def _fill_uniform(function: str, tensor: Tensor, bound: float, generator: torch.Generator | None) -> Tensor:
    if not is_scripting():
        if (type(bound) is SymFloat or is_dynamo_compiling()) and depends_on_shape(bound, tensor):  # type: ignore[comparison-overlap]
            # The same bits in float32 and float64 if the kernel fuses its multiply-add: 2x - 1 is exact for a draw x.
            return no_grad_mul_(_no_grad_uniform_(tensor, -1.0, 1.0, generator), bound)
    # Fast path: most calls need no further check.
    if not (tensor.is_floating_point() and bound < 1e300):
        check_uniform(function, tensor, -bound, bound)
    return _no_grad_uniform_(tensor, -bound, bound, generator)


def _fill_normal(function: str, tensor: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    if not is_scripting():
        if (type(std) is SymFloat or is_dynamo_compiling()) and depends_on_shape(std, tensor):  # type: ignore[comparison-overlap]
            # The same bits for a contiguous tensor of 16 elements or more; other kernels round once less.
            return no_grad_mul_(_no_grad_normal_(tensor, 0.0, 1.0, generator), std)
    if not tensor.is_floating_point():
        check_inexact(function, tensor)
    return _no_grad_normal_(tensor, 0.0, std, generator)


def _fill_truncated(function: str, tensor: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    if not is_scripting():
        if (type(std) is SymFloat or is_dynamo_compiling()) and depends_on_shape(std, tensor):  # type: ignore[comparison-overlap]
            return no_grad_mul_(_no_grad_trunc_normal_(tensor, 0.0, 1.0, -2.0, 2.0, generator), truncated_scale(std))
    scale = truncated_scale(std)
    check_trunc_normal(function, tensor, 0.0, scale, -2.0 * scale, 2.0 * scale)
    return _no_grad_trunc_normal_(tensor, 0.0, scale, -2.0 * scale, 2.0 * scale, generator)


def fill_scaled(
    function: str, tensor: Tensor, std: float, distribution: str, generator: torch.Generator | None
) -> Tensor:
    """Draw from the named distribution around 0 that has the standard deviation ``std``."""
    if distribution == "uniform":
        # Unlike upstream's, the real and the imaginary part share the variance.
        bound = uniform_bound(std) / math.sqrt(2.0) if tensor.is_complex() else uniform_bound(std)
        return _fill_uniform(function, tensor, bound, generator)
    if distribution == "normal":
        return _fill_normal(function, tensor, std, generator)
    return _fill_truncated(function, tensor, std, generator)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` from the uniform distribution of Xavier (Glorot) initialization.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).

    .. math::
        x \sim \mathcal{U}(-\text{bound}, \text{bound}), \quad
        \text{bound} = \sqrt{3} \left(\text{gain} \sqrt{\frac{2}{\text{fan\_in} + \text{fan\_out}}}\right)

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...); other dimensions multiply both fans
        gain: factor on the standard deviation; see :func:`calculate_gain`
        generator: the generator to draw from (default: the global generator of the tensor's device)

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
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = uniform_bound(xavier_std(fan_in, fan_out, gain))
    return _fill_uniform("xavier_uniform_", tensor, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` from the normal distribution of Xavier (Glorot) initialization.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).

    .. math::
        x \sim \mathcal{N}(0, \text{std}^2), \quad
        \text{std} = \text{gain} \sqrt{\frac{2}{\text{fan\_in} + \text{fan\_out}}}

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...); other dimensions multiply both fans
        gain: factor on the standard deviation; see :func:`calculate_gain`
        generator: the generator to draw from (default: the global generator of the tensor's device)

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
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return _fill_normal("xavier_normal_", tensor, xavier_std(fan_in, fan_out, gain), generator)


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
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...); other dimensions multiply both fans
        a: negative slope for ``nonlinearity="leaky_relu"``, or the parameter of another nonlinearity (0: its default)
        mode: ``"fan_in"`` keeps the variance of the activations, ``"fan_out"`` that of the gradients; case is ignored
        nonlinearity: name of the function after this layer, as :func:`calculate_gain` takes it
        generator: the generator to draw from (default: the global generator of the tensor's device)

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
        if not is_exporting():
            return handle_torch_function(  # type: ignore[no-any-return]
                _upstream, (tensor,), tensor=tensor, a=a, mode=mode, nonlinearity=nonlinearity, generator=generator
            )
    if 0 in tensor.shape:
        check_partitioned(tensor)
        warn_user("Initializing zero-element tensors is a no-op")
        return tensor
    bound = uniform_bound(kaiming_std(_calculate_correct_fan(tensor, mode), a, nonlinearity))
    return _fill_uniform("kaiming_uniform_", tensor, bound, generator)


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
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...); other dimensions multiply both fans
        a: negative slope for ``nonlinearity="leaky_relu"``, or the parameter of another nonlinearity (0: its default)
        mode: ``"fan_in"`` keeps the variance of the activations, ``"fan_out"`` that of the gradients; case is ignored
        nonlinearity: name of the function after this layer, as :func:`calculate_gain` takes it
        generator: the generator to draw from (default: the global generator of the tensor's device)

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
        check_partitioned(tensor)
        warn_user("Initializing zero-element tensors is a no-op")
        return tensor
    std = kaiming_std(_calculate_correct_fan(tensor, mode), a, nonlinearity)
    return _fill_normal("kaiming_normal_", tensor, std, generator)


def variance_scaling_(
    tensor: Tensor,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    fan_in: int | None = None,
    fan_out: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill ``tensor`` from a distribution whose variance is a scale over a fan.

    JAX and Keras build their initializers on it: ``variance_scaling_(w, 1.0, "fan_avg")`` is their ``glorot_normal``,
    ``variance_scaling_(w, 2.0)`` their ``he_normal``, and :func:`lecun_normal_` their ``lecun_normal``. These are
    truncated, unlike :func:`xavier_normal_` and :func:`kaiming_normal_`.

    .. math::
        \operatorname{Var}(x) = \frac{\text{scale}}{n}, \quad n = \text{fan\_in}, \quad \text{fan\_out}, \quad
        \tfrac{1}{2} (\text{fan\_in} + \text{fan\_out}) \quad \text{ or } \quad
        \sqrt{\text{fan\_in} \; \text{fan\_out}}

    A normal distribution that is wider by 1 / 0.87962566103423978 is truncated at two of its standard deviations. Pass
    fans if those of the shape are wrong: for a weight that layers share, a part of a weight, one used as ``x @ w``, or
    experts of shape (E, in, out). See :func:`fans` and :func:`fans_of`.

    Args:
        tensor: a floating-point tensor of shape (fan_out, fan_in, ...); other dimensions multiply both fans. Of any
            shape if the fans that ``mode`` needs are given; complex too, if not truncated
        scale: the variance times the fan, not negative; the square of a gain. The real and the imaginary part of a
            complex value share the variance
        mode: the fan to divide by; ``"fan_avg"`` is their mean, ``"fan_geo_avg"`` the geometric mean; case is ignored
        distribution: ``"truncated_normal"`` (two standard deviations), ``"normal"`` or ``"uniform"``
        fan_in: inputs of each unit (default: those of the shape)
        fan_out: outputs of each unit (default: those of the shape)
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: for an unknown mode or distribution, a fan below 1, a scale that is negative or not finite, or if a
            fan is missing and ``tensor`` has fewer than two dimensions
        NotImplementedError: if ``tensor`` holds integers or booleans, or complex numbers for a truncated normal
        RuntimeError: if ``scale`` is too large for the dtype

    Examples:
        >>> w = torchinit.variance_scaling_(torch.empty(400, 500), 2.0)  # he_normal of JAX and Keras
        >>> abs(w.std().item() - (2 / 500) ** 0.5) < 1e-3
        True
        >>> experts = torch.empty(8, 500, 400)
        >>> w = torchinit.variance_scaling_(experts, distribution="uniform", fan_in=500)
        >>> bool((w.abs() <= (3 / 500) ** 0.5).all())
        True
    """
    # A recording reads the arguments while this runs, so none gets another value.
    fan = mode.lower()
    check_scaling(scale, fan, distribution)
    check_partitioned(tensor)
    inputs, outputs = fans_or_given(list(tensor.shape), fan, fan_in, fan_out)
    std = variance_scaling_std(inputs, outputs, scale, fan)
    return fill_scaled("variance_scaling_", tensor, std, distribution, generator)


def lecun_uniform_(tensor: Tensor, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` from the uniform distribution of LeCun initialization.

    LeCun et al., "Efficient backprop" (1998).

    .. math::
        x \sim \mathcal{U}(-\text{bound}, \text{bound}), \quad
        \text{bound} = \sqrt{3} \sqrt{\frac{1}{\text{fan\_in}}}

    The real and the imaginary part of a complex value share the variance: each lies within
    :math:`\text{bound} / \sqrt{2}`. Upstream's uniform initializers give each part the whole.

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...); other dimensions multiply both fans
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> w = torchinit.lecun_uniform_(torch.empty(3, 12))
        >>> bool((w.abs() <= 0.5).all())
        True
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    std = variance_scaling_std(fan_in, fan_out, 1.0, "fan_in")
    return fill_scaled("lecun_uniform_", tensor, std, "uniform", generator)


def lecun_normal_(tensor: Tensor, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` from the truncated normal distribution of LeCun initialization.

    LeCun et al., "Efficient backprop" (1998); for SELU, Klambauer et al., "Self-normalizing neural networks" (2017),
    https://arxiv.org/abs/1706.02515. Truncated at two standard deviations, as in JAX, Keras and timm.

    .. math::
        x \sim \mathcal{N}(0, \sigma^2) \text{ within } [-2 \sigma, 2 \sigma], \quad
        \sigma = \frac{1}{0.87962566103423978} \sqrt{\frac{1}{\text{fan\_in}}}

    Args:
        tensor: a floating-point tensor of shape (fan_out, fan_in, ...); other dimensions multiply both fans
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions
        NotImplementedError: if ``tensor`` is not floating-point

    Examples:
        >>> w = torchinit.lecun_normal_(torch.empty(500, 400))
        >>> round(w.std().item(), 3)
        0.05
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    std = variance_scaling_std(fan_in, fan_out, 1.0, "fan_in")
    return _fill_truncated("lecun_normal_", tensor, std, generator)


def sine_uniform_(
    tensor: Tensor, omega: float = 30.0, is_first: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill ``tensor`` from the uniform distribution of a sine network (SIREN).

    Sitzmann et al., "Implicit neural representations with periodic activation functions" (2020),
    https://arxiv.org/abs/2006.09661, for layers that compute :math:`\sin(\omega (Wx + b))`.

    .. math::
        x \sim \mathcal{U}(-\text{bound}, \text{bound}), \quad
        \text{bound} = \frac{\sqrt{6 / \text{fan\_in}}}{\omega}, \text{ and }
        \frac{1}{\text{fan\_in}} \text{ in the first layer}

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...); other dimensions multiply both fans
        omega: the frequency of the sines, positive; the first layer's bound does not depend on it
        is_first: whether the layer's inputs are the coordinates
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has fewer than two dimensions, or ``omega`` is not positive and finite
        NotImplementedError: if ``tensor`` holds integers or booleans
        RuntimeError: if the dtype cannot hold the bound

    Examples:
        >>> first = torchinit.sine_uniform_(torch.empty(256, 2), is_first=True)
        >>> bool((first.abs() <= 0.5).all())
        True
    """
    bound = sine_bound(_calculate_fan_in_and_fan_out(tensor)[0], omega, is_first)
    return _fill_uniform("sine_uniform_", tensor, bound, generator)
