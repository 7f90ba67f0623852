"""Tables that models compute when they are built: positions, slopes and decays; ``rotary`` has frequencies.

Every value is computed in float32, as the models do, and then written to the tensor's dtype. The order of
floating-point operations is that of transformers, for equal bits.
"""

import math
from functools import partial

import torch
from torch import Tensor
from torch.jit import is_scripting

from torchinit._core.checks import check_inexact, check_overlap, check_partitioned, refuse_dimensions
from torchinit._core.door import enter, is_plain
from torchinit._core.messages import format_float
from torchinit._core.symbolic import as_float
from torchinit._core.writes import no_grad_copy_


def check_base(base: float) -> None:
    # Near float32's largest number; the tables are computed in float32.
    if not 1.0 < base <= 1e38:
        raise ValueError(f"base must be a finite number above 1, got {format_float(base)}")


def check_positive(name: str, value: float) -> None:
    if not 0.0 < value <= 1e38:
        raise ValueError(f"{name} must be a positive finite number, got {format_float(value)}")


def write_table_(tensor: Tensor, values: Tensor) -> Tensor:
    """Round float64 values to float32 first, as transformers does; a tensor of 64 bits takes all digits."""
    check_overlap(tensor)
    if not (tensor.dtype == torch.float64 or tensor.dtype == torch.complex128):
        values = values.to(torch.float32)
    # NB: not left to copy_; a program of torch.export forgets that copy_ converts, once it is decomposed.
    values = values.to(tensor.dtype)
    if not is_scripting():
        if not is_plain(tensor) and enter(tensor, partial(no_grad_copy_, source=values)) is None:
            return tensor
    return no_grad_copy_(tensor, values)


def _check_positions(tensor: Tensor, padding_idx: int | None) -> None:
    shape = list(tensor.shape)
    if tensor.dim() != 2 and not (tensor.dim() == 3 and (shape[0] == 1 or shape[1] == 1)):
        raise ValueError(
            "sinusoidal_ needs shape [length, features], or 3 dimensions with a 1 before or after the length, got shape"
            f" {shape}"
        )
    if shape[-1] % 2 != 0:
        raise ValueError(f"the last dimension must be even, got shape {shape}")
    length = shape[0] if tensor.dim() == 2 else shape[0] * shape[1]
    if padding_idx is not None:
        if not -length <= padding_idx < length:
            raise ValueError(f"padding_idx must be a row of the table, got {padding_idx} for shape {shape}")


def _angles(length: int, pairs: int, base: float, endpoint: bool, formula: str, device: torch.device) -> Tensor:
    """Return the angles of the sines and cosines, of shape [length, pairs]."""
    dtype = torch.float64 if formula == "float64" else torch.float32
    steps = as_float(pairs - 1 if endpoint else pairs)
    index = torch.arange(pairs, dtype=dtype, device=device)
    position = torch.arange(length, dtype=dtype, device=device).unsqueeze(1)
    if formula == "exp":
        return position * torch.exp(index * -(math.log(base) / steps))
    powers = torch.pow(base, index / steps)
    return position / powers if formula == "float64" else position * torch.reciprocal(powers)


def sinusoidal_(
    tensor: Tensor,
    base: float = 10000.0,
    layout: str = "interleaved",
    endpoint: bool = False,
    formula: str = "exp",
    padding_idx: int | None = None,
) -> Tensor:
    r"""Fill a table of positions with sines and cosines.

    Vaswani et al., "Attention is all you need" (2017), https://arxiv.org/abs/1706.03762, section 3.5. Row :math:`p` is
    position :math:`p`, counted from 0.

    .. math::
        x_{p, 2i} = \sin(p \, \omega_i), \quad x_{p, 2i + 1} = \cos(p \, \omega_i), \quad
        \omega_i = \text{base}^{-i / n}

    :math:`n` is half the number of features. With ``endpoint`` it is one less, so that the slowest frequency is
    1 / base: so in tensor2tensor, fairseq and Whisper, which also put all sines before the cosines.

    Args:
        tensor: a floating-point or complex tensor of shape (length, features), (length, 1, features) or
            (1, length, features), with an even number of features
        base: the ratio of the fastest to the slowest frequency, above 1
        layout: ``"interleaved"``; ``"sin_cos"`` for the sines of all frequencies before their cosines; ``"cos_sin"``
            for the cosines first
        endpoint: whether the slowest frequency is 1 / base
        formula: how the frequencies are computed, which changes the last bits: ``"exp"`` of a multiple of log(base), or
            ``"pow"`` of base, both in float32; ``"float64"`` to compute the whole table in float64 and round it once
        padding_idx: a row to fill with zeros, as the padding row of an ``Embedding``; from the end if negative

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has another shape, an odd number of features, or only 2 of them with ``endpoint``; for
            an unknown layout or formula; if ``base`` is not a finite number above 1, or ``padding_idx`` is no row
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> torchinit.sinusoidal_(torch.empty(3, 4))
        tensor([[ 0.0000,  1.0000,  0.0000,  1.0000],
                [ 0.8415,  0.5403,  0.0100,  0.9999],
                [ 0.9093, -0.4161,  0.0200,  0.9998]])
        >>> whisper = torchinit.sinusoidal_(torch.empty(1500, 384), layout="sin_cos", endpoint=True)
    """
    check_partitioned(tensor)
    _check_positions(tensor, padding_idx)
    check_base(base)
    if layout not in ["interleaved", "sin_cos", "cos_sin"]:
        raise ValueError(f"Layout {layout} not supported, please use one of ['interleaved', 'sin_cos', 'cos_sin']")
    if formula not in ["exp", "pow", "float64"]:
        raise ValueError(f"Formula {formula} not supported, please use one of ['exp', 'pow', 'float64']")
    if endpoint and tensor.size(-1) == 2:
        raise ValueError(f"endpoint needs at least 4 features, got shape {list(tensor.shape)}")
    check_inexact("sinusoidal_", tensor)
    if tensor.size(-1) == 0:
        # Without features there are no angles, and their formula divides by their number.
        return tensor
    length = tensor.size(0) if tensor.dim() == 2 else tensor.size(0) * tensor.size(1)
    angles = _angles(length, tensor.size(-1) // 2, base, endpoint, formula, tensor.device)
    sines, cosines = angles.sin(), angles.cos()
    if layout == "interleaved":
        table = torch.stack([sines, cosines], dim=2)
    else:
        table = torch.cat([sines, cosines] if layout == "sin_cos" else [cosines, sines], dim=1)
    if padding_idx is not None:
        table.narrow(0, padding_idx % length, 1).zero_()
    return write_table_(tensor, table.reshape(tensor.shape))


def alibi_slopes_(tensor: Tensor, bias_max: float = 8.0, formula: str = "bloom") -> Tensor:
    r"""Fill a vector with the slopes of attention with linear biases (ALiBi), one for each head.

    Press et al., "Train short, test long: attention with linear biases enables input length extrapolation" (2021),
    https://arxiv.org/abs/2108.12409. The first :math:`n` heads, the largest power of two, have a geometric sequence;
    the heads beyond take every second slope of the sequence for twice as many.

    .. math::
        x_i = \begin{cases} 2^{-\text{bias\_max} \, (i + 1) / n} & i < n \\
        2^{-\text{bias\_max} \, (2 (i - n) + 1) / (2 n)} & i \ge n \end{cases}

    Args:
        tensor: a floating-point or complex tensor of shape (heads,), or with further dimensions of size 1
        bias_max: the exponent of the last of :math:`n` slopes
        formula: how a slope is computed, which changes the last bits from 11 heads on: ``"bloom"``, a power of the first slope, as in transformers' Bloom and Falcon; ``"mpt"``, 1
            over a power of 2, as in MPT; ``"float64"``, in float64 and rounded once, as in the paper's own code

    Returns:
        ``tensor``

    Raises:
        ValueError: if more than one dimension of ``tensor`` is larger than 1, for an unknown formula, or a ``bias_max``
            that is not positive and finite
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> torchinit.alibi_slopes_(torch.empty(6))
        tensor([0.2500, 0.0625, 0.0156, 0.0039, 0.5000, 0.1250])
    """
    check_partitioned(tensor)
    heads = tensor.numel()
    if tensor.dim() == 0 or (tensor.dim() > 1 and heads != max(list(tensor.shape))):
        refuse_dimensions(tensor, "1")
    check_positive("bias_max", bias_max)
    if formula not in ["bloom", "mpt", "float64"]:
        raise ValueError(f"Formula {formula} not supported, please use one of ['bloom', 'mpt', 'float64']")
    check_inexact("alibi_slopes_", tensor)
    return write_table_(tensor, _slopes(heads, bias_max, formula, tensor.device).view(tensor.shape))


def _mpt_slopes(heads: int, bias_max: float, device: torch.device) -> Tensor:
    """Compute the slopes of the next power of two, and take every second one, then those between."""
    count = 1
    while count < heads:
        count = 2 * count
    exponents = torch.arange(1, count + 1, dtype=torch.float32, device=device) * (bias_max / count)
    slopes = torch.reciprocal(torch.pow(2.0, exponents))
    return slopes if count == heads else torch.cat([slopes[1::2], slopes[::2]])[:heads]


def _slopes(heads: int, bias_max: float, formula: str, device: torch.device) -> Tensor:
    if formula == "mpt":
        return _mpt_slopes(heads, bias_max, device)
    # The largest power of two. NB: as a tensor, since the number of heads may be symbolic.
    first = torch.bitwise_left_shift(
        torch.ones([62], dtype=torch.int64, device=device), torch.arange(62, device=device)
    )
    first = first.masked_fill(first > heads, 0).amax(0)
    index = torch.arange(heads, device=device)
    exponent = torch.where(index < first, index + 1, 2 * (index - first) + 1)
    step = bias_max / torch.where(index < first, first, 2 * first).to(torch.float64)
    if formula == "bloom":
        return torch.pow(torch.pow(2.0, -step).to(torch.float32), exponent)
    return torch.pow(2.0, -step * exponent)


def log_arange_(tensor: Tensor) -> Tensor:
    r"""Fill ``tensor`` with the logarithms of 1, 2, 3, ... along its last dimension.

    The parameter ``A_log`` of Mamba, with S4D-Real's decays: Gu et al., "On the parameterization and initialization of
    diagonal state space models" (2022), https://arxiv.org/abs/2206.11893. All rows are equal.

    .. math:: x_{\mathbf{k} i} = \log(i + 1)

    Mamba's ``A_log`` has the shape (channels, states). Mamba-2's has the shape (heads,): transformers fills it with
    these values, but mamba_ssm draws :math:`\exp(x)` uniformly from [1, 16].

    Args:
        tensor: a floating-point or complex tensor of at least 1 dimension

    Returns:
        ``tensor``

    Raises:
        ValueError: if ``tensor`` has no dimension
        NotImplementedError: if ``tensor`` holds integers or booleans

    Examples:
        >>> torchinit.log_arange_(torch.empty(2, 3))
        tensor([[0.0000, 0.6931, 1.0986],
                [0.0000, 0.6931, 1.0986]])
    """
    check_partitioned(tensor)
    if tensor.dim() == 0:
        refuse_dimensions(tensor, "1 or more")
    check_inexact("log_arange_", tensor)
    counts = torch.arange(1, tensor.size(-1) + 1, dtype=torch.float32, device=tensor.device)
    return write_table_(tensor, counts.log().expand(tensor.shape))
