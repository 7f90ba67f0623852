"""The no-grad fills: the only file that writes to a tensor or draws.

``tensor.detach()`` shares storage and version counter with ``tensor`` and has no autograd history, so an in-place write
to it is a write without gradient. Unlike ``torch.no_grad()`` it is a plain operator, which every runtime accepts, the
mobile interpreter included.
"""

import math

import torch
from torch import Tensor

from torchinit._checks import _check_inference, _check_overlap


def _unguarded(tensor: Tensor) -> Tensor:
    _check_inference(tensor)
    return tensor.detach()


def _no_grad_uniform_(tensor: Tensor, a: float, b: float, generator: torch.Generator | None = None) -> Tensor:
    _unguarded(tensor).uniform_(a, b, generator=generator)
    return tensor


def _no_grad_normal_(tensor: Tensor, mean: float, std: float, generator: torch.Generator | None = None) -> Tensor:
    _unguarded(tensor).normal_(mean, std, generator=generator)
    return tensor


def _no_grad_fill_(tensor: Tensor, val: float) -> Tensor:
    _unguarded(tensor).fill_(val)
    return tensor


def _no_grad_zero_(tensor: Tensor) -> Tensor:
    _unguarded(tensor).zero_()
    return tensor


def _no_grad_copy_(tensor: Tensor, source: Tensor) -> Tensor:
    _unguarded(tensor).copy_(source)
    return tensor


def _no_grad_dirac_(tensor: Tensor, groups: int) -> Tensor:
    """Zero ``tensor`` and write ones on the diagonal of each group's centre tap; a matrix is all centre."""
    weight = _unguarded(tensor)
    weight.zero_()
    if weight.numel() > 0:
        for size in weight.shape[2:]:
            weight = weight.select(2, size // 2)
        weight.view([groups, weight.size(0) // groups, weight.size(1)]).diagonal(0, 1, 2).fill_(1.0)
    return tensor


def _norm_cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _fill_trunc_normal(
    values: Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None
) -> None:
    """Invert the normal CDF on a uniform draw, in place; the order of operations is torch 2.11's."""
    lower = _norm_cdf((a - mean) / std)
    upper = _norm_cdf((b - mean) / std)
    values.uniform_(2 * lower - 1, 2 * upper - 1, generator=generator)
    values.erfinv_()
    values.mul_(std * math.sqrt(2.0))
    values.add_(mean)
    # A draw of exactly -1 or 1 inverts to infinity. It stands for the half step of the uniform grid next to the bound
    # (2^-25 of 24 bits, 2^-54 of 53), so it becomes that step's quantile, which no finite draw reaches:
    # sqrt(2) * erfinv(1 - 2^-25) and sqrt(2) * erfinv(1 - 2^-54).
    reach = (8.292361075813597 if values.dtype == torch.float64 else 5.5415222073) * std
    values.clamp_(max(a, min(b, mean - reach)), min(b, max(a, mean + reach)))


def _no_grad_trunc_normal_(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None = None
) -> Tensor:
    if std == 0.0:
        return _no_grad_fill_(tensor, min(b, max(a, mean)))
    if tensor.dtype == torch.float16 or tensor.dtype == torch.bfloat16:
        _check_inference(tensor)
        _check_overlap(tensor)
        values = torch.empty_like(tensor, dtype=torch.float32)
        _fill_trunc_normal(values, mean, std, a, b, generator)
        return _no_grad_copy_(tensor, values)
    _fill_trunc_normal(_unguarded(tensor), mean, std, a, b, generator)
    return tensor


def _randn_matrix(tensor: Tensor, rows: int, cols: int, generator: torch.Generator | None) -> Tensor:
    """Draw a standard normal matrix for a decomposition of ``tensor``; LAPACK has no 16-bit kernels, so wider there."""
    matrix = tensor.detach().new_empty([rows, cols])
    if tensor.dtype == torch.float16 or tensor.dtype == torch.bfloat16:
        matrix = matrix.to(torch.float32)
    elif tensor.dtype == torch.complex32:
        matrix = matrix.to(torch.complex64)
    return matrix.normal_(0.0, 1.0, generator=generator)


def _no_grad_drop_rows_(tensor: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Zero ``count`` random rows of each column of a matrix.

    The rows are the first of one ``randperm`` a column. Without a generator that is drawn on the default device, as
    upstream does; with one, where the generator lives.
    """
    matrix = _unguarded(tensor)
    rows, columns = matrix.size(0), matrix.size(1)
    # A block of columns at once; their indices take at most 512 KiB unless one column alone takes more.
    block = max(1, 65536 // max(1, count))
    for start in range(0, columns, block):
        orders: list[Tensor] = []
        for _ in range(start, min(columns, start + block)):
            if generator is None:
                order = torch.randperm(rows)
            else:
                order = torch.randperm(rows, generator=generator, device=tensor.device)
            orders.append(order[:count])
        index = torch.stack(orders, 1).to(tensor.device)
        matrix.narrow(1, start, len(orders)).scatter_(0, index, 0.0)
    return tensor
