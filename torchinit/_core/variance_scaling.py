"""Variance scaling in general: any mean of the fans, any of three distributions, fans that are given."""

import math

import torch
from torch import SymFloat, SymInt, Tensor
from torch.compiler import is_dynamo_compiling
from torch.jit import is_scripting

from torchinit._core import unusual
from torchinit._core.checks import _number
from torchinit._core.fans import _calculate_fan_in_and_fan_out
from torchinit._core.scaled import _fill_normal, _fill_truncated, _fill_uniform, _fill_within


def _check_choices(mode: str, distribution: str) -> None:
    # NB: the choices are spelled out; TorchScript prints a list of strings without quotes.
    if mode not in ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]:
        raise ValueError(
            f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out', 'fan_avg', 'fan_geo_avg']"
        )
    if distribution not in ["truncated_normal", "normal", "uniform"]:
        raise ValueError(
            f"Distribution {distribution} not supported, please use one of ['truncated_normal', 'normal', 'uniform']"
        )


def _chosen_fan(tensor: Tensor, mode: str, fan_in: int | None, fan_out: int | None) -> float:
    """Return the fan or the mean of both that ``mode`` names; what is not given is counted."""
    if (fan_in is not None and fan_in < 1) or (fan_out is not None and fan_out < 1):
        raise ValueError(f"fan_in and fan_out must be positive, got {fan_in} and {fan_out}")
    first, second = 0 if fan_in is None else fan_in, 0 if fan_out is None else fan_out
    if (fan_in is None and mode != "fan_out") or (fan_out is None and mode != "fan_in"):
        counted = _calculate_fan_in_and_fan_out(tensor)
        first = counted[0] if fan_in is None else first
        second = counted[1] if fan_out is None else second
    if mode == "fan_in":
        return _real(first)
    if mode == "fan_out":
        return _real(second)
    if mode == "fan_avg":
        return _real(first + second) / 2
    return _root(_real(first) * _real(second))


def _real(x: int) -> float:
    if not is_scripting():
        if type(x) is SymInt or is_dynamo_compiling():  # type: ignore[comparison-overlap]
            # Of which float() would make a constant.
            return x
    return float(x)


def _root(x: float) -> float:
    if not is_scripting():
        if (type(x) is SymFloat or is_dynamo_compiling()) and unusual._is_symbolic(x):  # type: ignore[comparison-overlap]
            return unusual._sqrt(x)
    return math.sqrt(x)


def _variance_std(
    tensor: Tensor, scale: float, mode: str, distribution: str, fan_in: int | None, fan_out: int | None
) -> float:
    mode = mode.lower()
    _check_choices(mode, distribution)
    if not 0.0 <= scale < math.inf:
        raise ValueError(f"scale must be a finite number that is not negative, got {_number(scale)}")
    fan = _chosen_fan(tensor, mode, fan_in, fan_out)
    # Only of a tensor without elements.
    return 0.0 if fan == 0 else _root(scale / fan)


def _fill_scaled(tensor: Tensor, std: float, distribution: str, generator: torch.Generator | None) -> Tensor:
    if distribution == "uniform":
        return _fill_uniform(tensor, std, generator)
    if distribution == "normal":
        return _fill_normal(tensor, std, generator)
    return _fill_truncated(tensor, std, generator)


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

    What JAX and Keras build their initializers of: ``variance_scaling_(w, 1.0, "fan_avg")`` is their
    ``glorot_normal``, ``variance_scaling_(w, 2.0)`` their ``he_normal``, and :func:`lecun_normal_` their
    ``lecun_normal``, all truncated, unlike :func:`xavier_normal_` and :func:`kaiming_normal_`.

    .. math::
        \operatorname{Var}(x) = \frac{\text{scale}}{n}, \quad n = \text{fan\_in}, \quad \text{fan\_out}, \quad
        \tfrac{1}{2} (\text{fan\_in} + \text{fan\_out}) \quad \text{ or } \quad
        \sqrt{\text{fan\_in} \; \text{fan\_out}}

    A truncated normal lies within two standard deviations of the distribution that is truncated, which is wider for
    it, by 1 / 0.87962566103423978. Fans that are given take the place of those of the shape: for a weight that several
    layers share or that is a part of one, for one used as ``x @ w``, or for experts of shape (E, in, out). See
    :func:`fans` and :func:`fans_of`.

    Args:
        tensor: a floating-point tensor of shape (fan_out, fan_in, ...), the further dimensions counting into both fans,
            or of any shape if the fans that ``mode`` needs are given; complex too, but not truncated
        scale: the variance times the fan, not negative; the square of a gain
        mode: which fan to divide by, in upper or lower case; ``"fan_avg"`` the mean of both, ``"fan_geo_avg"`` their geometric mean
        distribution: ``"truncated_normal"`` (two standard deviations), ``"normal"`` or ``"uniform"``
        fan_in: inputs of each unit (default: those of the shape)
        fan_out: outputs of each unit (default: those of the shape)
        generator: where the draw comes from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: for an unknown mode or distribution, a fan below 1, a scale that is negative or not finite, or if a
            fan is needed of a ``tensor`` that has fewer than two dimensions
        NotImplementedError: if ``tensor`` holds integers or booleans, or complex numbers for a truncated normal
        RuntimeError: if the dtype cannot hold the values that ``scale`` makes

    Examples:
        >>> w = torchinit.variance_scaling_(torch.empty(400, 500), 2.0)  # he_normal of JAX and Keras
        >>> abs(w.std().item() - (2 / 500) ** 0.5) < 1e-3
        True
        >>> experts = torch.empty(8, 500, 400)
        >>> w = torchinit.variance_scaling_(experts, distribution="uniform", fan_in=500)
        >>> bool((w.abs() <= (3 / 500) ** 0.5).all())
        True
    """
    std = _variance_std(tensor, scale, mode, distribution, fan_in, fan_out)
    return _fill_scaled(tensor, std, distribution, generator)


def lecun_uniform_(tensor: Tensor, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` from the uniform distribution of LeCun initialization.

    LeCun et al., "Efficient backprop" (1998).

    .. math::
        x \sim \mathcal{U}(-\text{bound}, \text{bound}), \quad
        \text{bound} = \sqrt{3} \sqrt{\frac{1}{\text{fan\_in}}}

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...), the further dimensions counting
            into both fans
        generator: where the draw comes from (default: the global generator of the tensor's device)

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
    return _fill_uniform(tensor, _variance_std(tensor, 1.0, "fan_in", "uniform", None, None), generator)


def lecun_normal_(tensor: Tensor, generator: torch.Generator | None = None) -> Tensor:
    r"""Fill ``tensor`` from the truncated normal distribution of LeCun initialization.

    LeCun et al., "Efficient backprop" (1998); for SELU, Klambauer et al., "Self-normalizing neural networks" (2017),
    https://arxiv.org/abs/1706.02515. Truncated at two standard deviations, as in JAX, Keras and timm.

    .. math::
        x \sim \mathcal{N}(0, \sigma^2) \text{ within } [-2 \sigma, 2 \sigma], \quad
        \sigma = \frac{1}{0.87962566103423978} \sqrt{\frac{1}{\text{fan\_in}}}

    Args:
        tensor: a floating-point tensor of shape (fan_out, fan_in, ...), the further dimensions counting into both fans
        generator: where the draw comes from (default: the global generator of the tensor's device)

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
    std = _variance_std(tensor, 1.0, "fan_in", "truncated_normal", None, None)
    return _fill_truncated(tensor, std, generator)


def _sine_bound(tensor: Tensor, omega: float, is_first: bool) -> float:
    if not 0.0 < omega < math.inf:
        raise ValueError(f"omega must be a positive number, got {_number(omega)}")
    fan_in = _calculate_fan_in_and_fan_out(tensor)[0]
    if fan_in == 0:
        return 0.0
    return 1.0 / _real(fan_in) if is_first else _root(6.0 / _real(fan_in)) / omega


def sine_uniform_(
    tensor: Tensor, omega: float = 30.0, is_first: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    r"""Fill ``tensor`` from the uniform distribution of a network of sines (SIREN).

    Sitzmann et al., "Implicit neural representations with periodic activation functions" (2020),
    https://arxiv.org/abs/2006.09661, for layers that compute :math:`\sin(\omega (Wx + b))`.

    .. math::
        x \sim \mathcal{U}(-\text{bound}, \text{bound}), \quad
        \text{bound} = \frac{\sqrt{6 / \text{fan\_in}}}{\omega}, \text{ and }
        \frac{1}{\text{fan\_in}} \text{ in the first layer}

    Args:
        tensor: a floating-point or complex tensor of shape (fan_out, fan_in, ...), the further dimensions counting
            into both fans
        omega: the frequency of the sines, positive; the first layer's bound does not depend on it
        is_first: whether the layer's inputs are the coordinates
        generator: where the draw comes from (default: the global generator of the tensor's device)

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
    return _fill_within(tensor, _sine_bound(tensor, omega, is_first), generator)
