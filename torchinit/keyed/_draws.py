"""The keyed initializers: each checks, computes its numbers as its sibling does, and fills from a key.

``_functions`` gives them their public names and docstrings.
"""

import math

import torch
from torch import Tensor

from torchinit._core.checks import (
    check_divisible as _check_divisible,
    check_inexact,
    check_kernel as _check_kernel,
    check_matrix_like as _check_matrix_like,
    check_partitioned as _check_partitioned,
    check_trunc_normal,
    check_uniform,
)
from torchinit._core.fans import _calculate_correct_fan, _calculate_fan_in_and_fan_out, fans_or_given
from torchinit._core.layers import repeat_subpixels as _repeated, subpixel_shape as _shuffled
from torchinit._core.messages import format_float as _number, warn_user
from torchinit._core.scale import (
    check_scaling,
    kaiming_std,
    sine_bound,
    truncated_scale as _untruncated,
    truncation_bounds,
    variance_scaling_std,
    xavier_std,
)
from torchinit._core.structured import (
    check_delta as _check_delta,
    orthogonal_blocks as _stacked,
    wide_matrix as _wide_matrix,
)
from torchinit._core.writes import _no_grad_fill_, no_grad_centre_ as _no_grad_centre_, no_grad_copy_ as _no_grad_copy_
from torchinit.keyed._keys import split
from torchinit.keyed._pieces import _full_size, _part, _views
from torchinit.keyed._stream import _drop_rows_, _fill, _one_key


def _warn(m: str, n: int) -> None:
    warn_user(m)


def _check_uniform(t: Tensor, a: float, b: float) -> None:
    check_uniform("uniform_", t, a, b)


def _check_inexact(t: Tensor, name: str) -> None:
    check_inexact(name, t)


def _check_trunc_normal(t: Tensor, mean: float, std: float, a: float, b: float) -> None:
    check_trunc_normal("trunc_normal_", t, mean, std, a, b)


def _spread_bounds(t: Tensor, mean: float, std: float, a: float, b: float, c: bool) -> tuple[float, float, float]:
    _check_trunc_normal(t, mean, std, a, b)
    return truncation_bounds(mean, std, a, b, c)


def _xavier_std(t: Tensor, gain: float) -> float:
    x, y = _calculate_fan_in_and_fan_out(t)
    return xavier_std(x, y, gain)


def _kaiming_std(t: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    return kaiming_std(_calculate_correct_fan(t, mode), a, nonlinearity)


def _sine_bound(t: Tensor, omega: float, first: bool) -> float:
    return sine_bound(_calculate_fan_in_and_fan_out(t)[0], omega, first)


def _variance_std(
    t: Tensor, scale: float, mode: str, distribution: str, fan_in: int | None, fan_out: int | None
) -> float:
    mode = mode.lower()
    check_scaling(scale, mode, distribution)
    x, y = fans_or_given(list(t.shape), mode, fan_in, fan_out)
    return variance_scaling_std(x, y, scale, mode)


def _logical(tensor: Tensor, full_size: list[int] | None, offset: list[int] | None) -> Tensor:
    """Return a tensor of the logical shape to ask for fans, of which one element is in memory."""
    whole = _full_size(tensor, full_size, offset)
    return tensor if full_size is None else tensor.new_empty([]).expand(whole)


def _greatest(dtype: torch.dtype) -> float:
    # NB: TorchScript has no finfo.
    if dtype == torch.float16 or dtype == torch.complex32:
        return 65504.0
    if dtype == torch.float64 or dtype == torch.complex128:
        return 1.7976931348623157e308
    return 3.3895313892515355e38 if dtype == torch.bfloat16 else 3.4028234663852886e38


def _uniform_(
    tensor: Tensor, key: Tensor, a: float, b: float, full_size: list[int] | None, offset: list[int] | None
) -> Tensor:
    _check_uniform(tensor, a, b)
    # A kernel would say so.
    if a > b:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={_number(a)} > to={_number(b)}"
        )
    limit = _greatest(tensor.dtype)
    if a < -limit or b > limit or b - a > limit:
        raise RuntimeError(
            "uniform_ expects bounds, and a range between them, that the tensor's dtype holds, but found"
            f" from={_number(a)} and to={_number(b)}"
        )
    return _fill(tensor, key, "uniform", [a, b], full_size, offset)


def _spread_uniform_(
    tensor: Tensor, key: Tensor, std: float, full_size: list[int] | None, offset: list[int] | None
) -> Tensor:
    bound = 1.7320508075688772 * std  # math.sqrt(3.0)
    return _uniform_(tensor, key, -bound, bound, full_size, offset)


def _normal_(
    tensor: Tensor, key: Tensor, mean: float, std: float, full_size: list[int] | None, offset: list[int] | None
) -> Tensor:
    _check_inexact(tensor, "normal_")
    # A kernel would say so.
    if not std >= 0.0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {_number(std)}")
    if tensor.is_complex():
        # As upstream: the real and the imaginary part share the variance.
        std = std / math.sqrt(2.0)
    return _fill(tensor, key, "normal", [mean, std], full_size, offset)


def _trunc_normal_(
    tensor: Tensor,
    key: Tensor,
    mean: float,
    std: float,
    a: float,
    b: float,
    full_size: list[int] | None,
    offset: list[int] | None,
) -> Tensor:
    _check_trunc_normal(tensor, mean, std, a, b)
    if std == 0.0:
        _one_key(key)
        _full_size(tensor, full_size, offset)
        return _no_grad_fill_(tensor, min(b, max(a, mean)))
    return _fill(tensor, key, "trunc_normal", [mean, std, a, b], full_size, offset)


def _trunc_normal_tf_(
    tensor: Tensor,
    key: Tensor,
    mean: float,
    std: float,
    a: float,
    b: float,
    correct_std: bool,
    full_size: list[int] | None,
    offset: list[int] | None,
) -> Tensor:
    std, low, high = _spread_bounds(tensor, mean, std, a, b, correct_std)
    return _trunc_normal_(tensor, key, mean, std, low, high, full_size, offset)


def _spread_scaled_(
    tensor: Tensor, key: Tensor, std: float, distribution: str, full_size: list[int] | None, offset: list[int] | None
) -> Tensor:
    if distribution == "uniform":
        return _spread_uniform_(tensor, key, std, full_size, offset)
    if distribution == "normal":
        return _normal_(tensor, key, 0.0, std, full_size, offset)
    scale = _untruncated(std)
    return _trunc_normal_(tensor, key, 0.0, scale, -2.0 * scale, 2.0 * scale, full_size, offset)


def _variance_scaling_(
    tensor: Tensor,
    key: Tensor,
    scale: float,
    mode: str,
    distribution: str,
    fan_in: int | None,
    fan_out: int | None,
    full_size: list[int] | None,
    offset: list[int] | None,
) -> Tensor:
    std = _variance_std(_logical(tensor, full_size, offset), scale, mode, distribution, fan_in, fan_out)
    return _spread_scaled_(tensor, key, std, distribution, full_size, offset)


def _lecun_uniform_(tensor: Tensor, key: Tensor, full_size: list[int] | None, offset: list[int] | None) -> Tensor:
    return _variance_scaling_(tensor, key, 1.0, "fan_in", "uniform", None, None, full_size, offset)


def _lecun_normal_(tensor: Tensor, key: Tensor, full_size: list[int] | None, offset: list[int] | None) -> Tensor:
    return _variance_scaling_(tensor, key, 1.0, "fan_in", "truncated_normal", None, None, full_size, offset)


def _sine_uniform_(
    tensor: Tensor, key: Tensor, omega: float, is_first: bool, full_size: list[int] | None, offset: list[int] | None
) -> Tensor:
    bound = _sine_bound(_logical(tensor, full_size, offset), omega, is_first)
    return _uniform_(tensor, key, -bound, bound, full_size, offset)


def _xavier_uniform_(
    tensor: Tensor, key: Tensor, gain: float, full_size: list[int] | None, offset: list[int] | None
) -> Tensor:
    std = _xavier_std(_logical(tensor, full_size, offset), gain)
    return _spread_uniform_(tensor, key, std, full_size, offset)


def _xavier_normal_(
    tensor: Tensor, key: Tensor, gain: float, full_size: list[int] | None, offset: list[int] | None
) -> Tensor:
    std = _xavier_std(_logical(tensor, full_size, offset), gain)
    return _normal_(tensor, key, 0.0, std, full_size, offset)


def _is_empty(tensor: Tensor, key: Tensor, full_size: list[int] | None, offset: list[int] | None) -> bool:
    """Warn, as ``kaiming_*`` do, of a logical tensor without elements; one such piece of another is nothing odd."""
    empty = 0 in _full_size(tensor, full_size, offset)
    if empty:
        _one_key(key)
        _check_partitioned(tensor)
        _warn("Initializing zero-element tensors is a no-op", 5)
    return empty


def _kaiming_uniform_(
    tensor: Tensor,
    key: Tensor,
    a: float,
    mode: str,
    nonlinearity: str,
    full_size: list[int] | None,
    offset: list[int] | None,
) -> Tensor:
    if _is_empty(tensor, key, full_size, offset):
        return tensor
    std = _kaiming_std(_logical(tensor, full_size, offset), a, mode, nonlinearity)
    return _spread_uniform_(tensor, key, std, full_size, offset)


def _kaiming_normal_(
    tensor: Tensor,
    key: Tensor,
    a: float,
    mode: str,
    nonlinearity: str,
    full_size: list[int] | None,
    offset: list[int] | None,
) -> Tensor:
    if _is_empty(tensor, key, full_size, offset):
        return tensor
    std = _kaiming_std(_logical(tensor, full_size, offset), a, mode, nonlinearity)
    return _normal_(tensor, key, 0.0, std, full_size, offset)


def _random_blocks(like: Tensor, key: Tensor, blocks: int, rows: int, columns: int, gain: float) -> Tensor:
    """Draw a normal matrix, and make each of its blocks of rows an orthogonal one."""
    # Raises before anything is drawn what is no number.
    gain = 1.0 if 1.0 <= gain <= 1.0 else gain
    matrix = _normal_(_wide_matrix(like, rows, columns), key, 0.0, 1.0, None, None)
    return _stacked(list(torch.split(matrix, rows // blocks)), gain)


def _place_(views: list[tuple[Tensor, list[int]]], whole: Tensor) -> None:
    for view, begin in views:
        _no_grad_copy_(view, _part(whole, begin, list(view.shape)))


def _orthogonal_(
    tensor: Tensor, key: Tensor, gain: float, full_size: list[int] | None, offset: list[int] | None
) -> Tensor:
    _check_matrix_like(tensor, _full_size(tensor, full_size, offset))
    _check_inexact(tensor, "orthogonal_")
    return _block_orthogonal_(tensor, key, 1, gain, full_size, offset)


def _block_orthogonal_(
    tensor: Tensor, key: Tensor, blocks: int, gain: float, full_size: list[int] | None, offset: list[int] | None
) -> Tensor:
    _one_key(key)
    whole = _full_size(tensor, full_size, offset)
    _check_matrix_like(tensor, whole)
    _check_divisible(whole, blocks, "blocks")
    _check_inexact(tensor, "block_orthogonal_")
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    views = _views(tensor, offset)
    if len(views) == 0:
        return tensor
    columns = 1
    for size in whole[1:]:
        columns *= size
    _place_(views, _random_blocks(views[0][0], key, blocks, whole[0], columns, gain).reshape(whole))
    return tensor


def _delta_orthogonal_(
    tensor: Tensor, key: Tensor, gain: float, groups: int, full_size: list[int] | None, offset: list[int] | None
) -> Tensor:
    _one_key(key)
    whole = _full_size(tensor, full_size, offset)
    _check_delta(tensor, whole, groups)
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    views = _views(tensor, offset)
    if len(views) == 0:
        return tensor
    matrix = _random_blocks(views[0][0], key, groups, whole[0], whole[1], gain)
    # Only the centre of the kernel is not zero, and a piece need not have it.
    _place_(views, _no_grad_centre_(matrix.new_empty(whole), matrix))
    return tensor


def _icnr_(
    tensor: Tensor,
    key: Tensor,
    upscale_factor: int,
    scale: float,
    mode: str,
    distribution: str,
    full_size: list[int] | None,
    offset: list[int] | None,
) -> Tensor:
    _one_key(key)
    whole = _full_size(tensor, full_size, offset)
    _check_kernel(tensor, whole)
    small = _shuffled(whole, upscale_factor)
    std = _variance_std(tensor.new_empty([]).expand(small), scale, mode, distribution, None, None)
    if tensor.numel() == 0 or tensor.is_meta:
        return tensor
    views = _views(tensor, offset)
    if len(views) == 0:
        return tensor
    drawn = _spread_scaled_(views[0][0].new_empty(small), key, std, distribution, None, None)
    _place_(views, _repeated(drawn, whole))
    return tensor


def _sparse_(
    tensor: Tensor,
    key: Tensor,
    sparsity: float,
    std: float,
    full_size: list[int] | None,
    offset: list[int] | None,
) -> Tensor:
    whole = _full_size(tensor, full_size, offset)
    if tensor.dim() != 2:
        _check_partitioned(tensor)
        raise ValueError(f"Only tensors with 2 dimensions are supported, got shape {whole}")
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity must be in [0, 1], got {_number(sparsity)}")
    # One key for the values and one for the rows that are zero.
    keys = split(_one_key(key), 2)
    _normal_(tensor, keys[0], 0.0, std, full_size, offset)
    if tensor.is_meta:
        return tensor
    count = math.ceil(sparsity * whole[0])
    for view, begin in _views(tensor, offset):
        _drop_rows_(view, keys[1], count, whole, begin)
    return tensor
