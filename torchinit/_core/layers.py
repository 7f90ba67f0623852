"""Fills for one kind of layer: upsampling kernels and nonzero biases."""

from functools import partial

import torch
from torch import Tensor
from torch.jit import is_scripting

from torchinit._core.checks import check_divisible, check_inexact, check_kernel, check_overlap, check_partitioned
from torchinit._core.door import enter, is_plain
from torchinit._core.fans import fans_or_given
from torchinit._core.scale import check_scaling, prior_logit, variance_scaling_std
from torchinit._core.variance_scaling import fill_scaled
from torchinit._core.writes import _no_grad_fill_, no_grad_copy_, no_grad_kernel_, no_grad_segment_


def _linear_kernel(size: int, tensor: Tensor) -> Tensor:
    """Return the weights that interpolate linearly between samples (size + 1) // 2 apart."""
    wide = tensor.dtype == torch.float64 or tensor.dtype == torch.complex128
    along = torch.arange(size, dtype=torch.float64 if wide else torch.float32, device=tensor.device)
    return 1.0 - (along - (size - 1) / 2).abs() / ((size + 1) // 2)


def bilinear_(tensor: Tensor, groups: int = 1) -> Tensor:
    r"""Fill a transposed convolution's weight with kernels that interpolate linearly along each dimension.

    Long et al., "Fully convolutional networks for semantic segmentation" (2015), https://arxiv.org/abs/1411.4038. With
    kernel size :math:`2 s - s \bmod 2`, stride :math:`s` and padding :math:`\lceil (s - 1) / 2 \rceil` the layer
    upsamples each channel :math:`s` times. Away from the border this is ``interpolate(mode="bilinear",
    align_corners=False)``.

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
    check_kernel(tensor)
    check_divisible(list(tensor.shape), groups, "groups")
    check_inexact("bilinear_", tensor)
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    kernel = _linear_kernel(tensor.size(2), tensor)
    for size in tensor.shape[3:]:
        kernel = kernel.unsqueeze(-1) * _linear_kernel(size, tensor)
    return no_grad_kernel_(tensor, groups, kernel)


def subpixel_shape(shape: list[int], upscale_factor: int) -> list[int]:
    """Return the shape of the kernel before sub-pixel expansion."""
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


def repeat_subpixels(small: Tensor, shape: list[int]) -> Tensor:
    """Repeat each kernel for all sub-pixels of its cell."""
    cells = [small.size(0), shape[0] // small.size(0)] + shape[1:]
    return small.unsqueeze(1).expand(cells).reshape(shape)


def icnr_std(
    shape: list[int], upscale_factor: int, scale: float, mode: str, distribution: str
) -> tuple[float, list[int]]:
    """Return the standard deviation of an ICNR weight, and the shape of the kernel before sub-pixel expansion."""
    small, mode = subpixel_shape(shape, upscale_factor), mode.lower()
    check_scaling(scale, mode, distribution)
    fan_in, fan_out = fans_or_given(small, mode, None, None)
    return variance_scaling_std(fan_in, fan_out, scale, mode), small


def icnr_(
    tensor: Tensor,
    upscale_factor: int = 2,
    scale: float = 2.0,
    mode: str = "fan_in",
    distribution: str = "normal",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Fill the weight of a sub-pixel convolution so that it starts as nearest-neighbor upsampling.

    Aitken et al., "Checkerboard artifact free sub-pixel convolution" (2017), https://arxiv.org/abs/1707.02937. A
    smaller weight with one output per cell is drawn, by default as by ``kaiming_normal_``, and each of its kernels is
    repeated over the cell. After ``PixelShuffle`` the output is constant over each cell.

    .. math::
        x_{o \mathbf{k}} = w_{\lfloor o / r^d \rfloor \mathbf{k}}, \quad
        \operatorname{Var}(w) = \frac{\text{scale}}{\text{fan}}, \quad r = \text{upscale\_factor}

    Args:
        tensor: a floating-point or complex weight of shape (out, in, size, ...), with one to three spatial dimensions
            :math:`d`; :math:`r^d`, the size of a cell, must divide out
        upscale_factor: factor of the pixel shuffle that follows
        scale: the variance times the fan of the smaller weight, not negative; see :func:`variance_scaling_`
        mode: the fan of the smaller weight to divide by
        distribution: ``"truncated_normal"`` (two standard deviations), ``"normal"`` or ``"uniform"``
        generator: the generator to draw from (default: the global generator of the tensor's device)

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` does not have 3, 4 or 5 dimensions, ``upscale_factor`` is below 1 or a cell does not
            divide dimension 0, for an unknown mode or distribution, or a scale that is negative or not finite
        NotImplementedError: if ``tensor`` holds integers or booleans, or complex numbers for a truncated normal
        RuntimeError: if ``scale`` is too large for the dtype

    Examples:
        >>> layer = torch.nn.Conv2d(8, 3 * 2 * 2, 3, bias=False)
        >>> weight = torchinit.icnr_(layer.weight, upscale_factor=2)
        >>> y = torch.nn.PixelShuffle(2)(layer(torch.randn(1, 8, 6, 6)))
        >>> torch.equal(y[..., ::2, ::2], y[..., 1::2, 1::2])
        True
    """
    if not is_scripting():
        if not is_plain(tensor):
            fill = partial(
                icnr_,
                upscale_factor=upscale_factor,
                scale=scale,
                mode=mode,
                distribution=distribution,
                generator=generator,
            )
            if enter(tensor, fill) is None:
                return tensor
    check_kernel(tensor)
    std, small = icnr_std(list(tensor.shape), upscale_factor, scale, mode, distribution)
    check_overlap(tensor)
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    drawn = fill_scaled("icnr_", tensor.new_empty(small), std, distribution, generator)
    return no_grad_copy_(tensor, repeat_subpixels(drawn, list(tensor.shape)))


def lstm_bias_(tensor: Tensor, forget: float = 1.0) -> Tensor:
    r"""Fill the bias of an LSTM with zeros, except for the forget gate.

    Jozefowicz et al., "An empirical exploration of recurrent network architectures" (2015). torch orders the gates
    input, forget, cell, output, and adds two biases: fill ``bias_ih`` with this and ``bias_hh`` with zeros, or each
    with half the value.

    .. math:: x = (0, \text{forget}, 0, 0), \text{ each repeated for all hidden units}

    Args:
        tensor: a vector of 4 x hidden units, of any dtype
        forget: bias of the forget gate, which the tensor's dtype must be able to hold

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` is not a vector of a size divisible by 4
        RuntimeError: if the dtype cannot hold ``forget``

    Examples:
        >>> lstm = torch.nn.LSTM(3, 2)
        >>> torchinit.lstm_bias_(lstm.bias_ih_l0)
        Parameter containing:
        tensor([0., 0., 1., 1., 0., 0., 0., 0.], requires_grad=True)
        >>> bias = torchinit.zeros_(lstm.bias_hh_l0)
    """
    if not is_scripting():
        if not is_plain(tensor) and enter(tensor, partial(lstm_bias_, forget=forget)) is None:
            return tensor
    if tensor.dim() != 1 or tensor.size(0) % 4 != 0:
        check_partitioned(tensor)
        raise ValueError(f"lstm_bias_ needs 1 dimension of 4 x hidden units, got shape {list(tensor.shape)}")
    check_overlap(tensor)
    hidden = tensor.size(0) // 4
    return no_grad_segment_(tensor, forget, hidden, hidden)


def prior_bias_(tensor: Tensor, prior: float = 0.01) -> Tensor:
    r"""Fill the bias of a classifier so that its sigmoid starts at a prior probability.

    Lin et al., "Focal loss for dense object detection" (2017), https://arxiv.org/abs/1708.02002: if nearly all examples
    are background, the first steps are then not spent on learning that.

    .. math:: x = -\log \frac{1 - \text{prior}}{\text{prior}}

    Args:
        tensor: a floating-point or complex tensor of any shape
        prior: the probability, in :math:`(0, 1)`

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``prior`` does not lie in :math:`(0, 1)`
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> torch.sigmoid(torchinit.prior_bias_(torch.empty(2)))
        tensor([0.0100, 0.0100])
    """
    check_inexact("prior_bias_", tensor)
    return _no_grad_fill_(tensor, prior_logit(prior))
