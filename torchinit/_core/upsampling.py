"""Kernels that enlarge an image: bilinear ones, and those of a sub-pixel convolution without a checkerboard."""

from functools import partial

import torch
from torch import Tensor
from torch.jit import is_scripting

from torchinit._core import unusual
from torchinit._core.checks import _check_inexact, _check_kernel, _check_overlap
from torchinit._core.fans import _check_divisible
from torchinit._core.variance_scaling import _fill_scaled, _variance_std
from torchinit._core.writes import _no_grad_copy_, _no_grad_kernel_, _unguarded


def _tent(size: int, tensor: Tensor) -> Tensor:
    """Make the weights that interpolate linearly between samples (size + 1) // 2 apart."""
    wide = tensor.dtype == torch.float64 or tensor.dtype == torch.complex128
    along = torch.arange(size, dtype=torch.float64 if wide else torch.float32, device=tensor.device)
    return 1.0 - (along - (size - 1) / 2).abs() / ((size + 1) // 2)


def bilinear_(tensor: Tensor, groups: int = 1) -> Tensor:
    r"""Fill a transposed convolution's weight with kernels that interpolate linearly along each dimension.

    Long et al., "Fully convolutional networks for semantic segmentation" (2015), https://arxiv.org/abs/1411.4038. With
    kernel size :math:`2 s - s \bmod 2`, stride :math:`s` and padding :math:`\lceil (s - 1) / 2 \rceil` the layer enlarges
    each channel :math:`s` times, away from the border as ``interpolate(mode="bilinear", align_corners=False)`` does.

    .. math::
        x_{io\mathbf{k}} = [i \bmod (\text{in} / \text{groups}) = o] \quad \prod_d \left(1 - \frac{|k_d - (n_d - 1) / 2|}
        {\lfloor (n_d + 1) / 2 \rfloor}\right), \quad n = \text{size}

    Args:
        tensor: a floating-point or complex weight of shape (in, out / groups, size, ...), with one to three spatial
            dimensions
        groups: number of groups of the convolution, a divisor of its input channels

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` does not have 3, 4 or 5 dimensions, or ``groups`` is below 1 or does not divide
            dimension 0
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> torchinit.bilinear_(torch.empty(1, 1, 4))
        tensor([[[0.2500, 0.7500, 0.7500, 0.2500]]])
    """
    _check_kernel(tensor)
    _check_divisible(list(tensor.shape), groups, "groups")
    _check_inexact(tensor, "bilinear_")
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    kernel = _tent(tensor.size(2), tensor)
    for size in tensor.shape[3:]:
        kernel = kernel.unsqueeze(-1) * _tent(size, tensor)
    return _no_grad_kernel_(tensor, groups, kernel)


def _shuffled(shape: list[int], upscale_factor: int) -> list[int]:
    """Return the shape of the weight whose outputs a pixel shuffle by this factor makes the cells of."""
    if upscale_factor < 1:
        raise ValueError(f"upscale_factor must be at least 1, got {upscale_factor}")
    outputs = shape[0]
    for _ in shape[2:]:
        if 0 < outputs < upscale_factor or outputs % upscale_factor != 0:
            raise ValueError(
                "dim 0 must be divisible by upscale_factor once for each spatial dimension, got shape"
                f" {shape} and upscale_factor={upscale_factor}"
            )
        outputs = outputs // upscale_factor
    return [outputs] + shape[1:]


def _repeated(small: Tensor, shape: list[int]) -> Tensor:
    cells = [small.size(0), shape[0] // small.size(0)] + shape[1:]
    return small.unsqueeze(1).expand(cells).reshape(shape)


def icnr_(
    tensor: Tensor,
    upscale_factor: int = 2,
    scale: float = 2.0,
    mode: str = "fan_in",
    distribution: str = "normal",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill the weight of a sub-pixel convolution so that it begins as a convolution and nearest neighbours.

    Aitken et al., "Checkerboard artifact free sub-pixel convolution" (2017), https://arxiv.org/abs/1707.02937. A weight
    of a cell's part of the outputs is drawn and each of its kernels repeated, so that after ``PixelShuffle`` the output
    is constant over each cell. By default it is drawn as by ``kaiming_normal_``.

    .. math::
        x_{o \mathbf{k}} = w_{\lfloor o / r^d \rfloor \mathbf{k}}, \quad
        \operatorname{Var}(w) = \frac{\text{scale}}{\text{fan}}, \quad r = \text{upscale\_factor}

    Args:
        tensor: a floating-point or complex weight of shape (out, in, size, ...), with one to three spatial dimensions
            :math:`d`, whose outputs a cell's :math:`r^d` values divide
        upscale_factor: factor of the pixel shuffle that follows
        scale: the variance times the fan of the smaller weight, not negative; see :func:`variance_scaling_`
        mode: which fan of the smaller weight to divide by
        distribution: ``"truncated_normal"`` (two standard deviations), ``"normal"`` or ``"uniform"``
        generator: where the draw comes from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` does not have 3, 4 or 5 dimensions, ``upscale_factor`` is below 1 or a cell does not
            divide dimension 0, for an unknown mode or distribution, or a scale that is negative or not finite
        NotImplementedError: if ``tensor`` holds integers or booleans, or complex numbers for a truncated normal
        RuntimeError: if the dtype cannot hold the values that ``scale`` makes

    Examples:
        >>> layer = torch.nn.Conv2d(8, 3 * 2 * 2, 3, bias=False)
        >>> weight = torchinit.icnr_(layer.weight, upscale_factor=2)
        >>> y = torch.nn.PixelShuffle(2)(layer(torch.randn(1, 8, 6, 6)))
        >>> torch.equal(y[..., ::2, ::2], y[..., 1::2, 1::2])
        True
    """
    _check_kernel(tensor)
    small = _shuffled(list(tensor.shape), upscale_factor)
    if not is_scripting():
        if unusual._is_distributed(tensor):
            fill = partial(
                icnr_,
                upscale_factor=upscale_factor,
                scale=scale,
                mode=mode,
                distribution=distribution,
                generator=generator,
            )
            return unusual._spread_(tensor, fill)
    _check_overlap(tensor)
    # Asked before anything is drawn, though the copy asks too.
    _unguarded(tensor)
    weight = tensor.new_empty(small)
    std = _variance_std(weight, scale, mode, distribution, None, None)
    if tensor.numel() == 0:
        return tensor
    _fill_scaled(weight, std, distribution, generator)
    return _no_grad_copy_(tensor, _repeated(weight, list(tensor.shape)))
