"""The no-grad fills: this file, with ``_trunc_normal`` and ``_unusual`` behind it, alone writes to a tensor or draws.

``tensor.detach()`` shares storage and version counter with ``tensor`` and has no autograd history, so an in-place write
to it is a write without gradient. Unlike ``torch.no_grad()`` it is a plain operator, which every runtime accepts, the
mobile interpreter included.
"""

from functools import partial

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_scripting

from torchinit._core import unusual
from torchinit._core.checks import _check_overlap, _is_usual
from torchinit._core.trunc_normal import _fill_trunc_normal, _is_plain, _streamed_pieces


def _unguarded(tensor: Tensor) -> Tensor:
    if not is_scripting():
        if not _is_usual(tensor):
            return unusual._view(tensor)
    return tensor.detach()


def _no_grad_uniform_(tensor: Tensor, a: float, b: float, generator: torch.Generator | None = None) -> Tensor:
    if not is_scripting():
        if not _is_usual(tensor):
            return unusual._uniform_(tensor, a, b, generator)
    tensor.detach().uniform_(a, b, generator=generator)
    return tensor


def _no_grad_normal_(tensor: Tensor, mean: float, std: float, generator: torch.Generator | None = None) -> Tensor:
    if not is_scripting():
        if not _is_usual(tensor):
            return unusual._normal_(tensor, mean, std, generator)
    tensor.detach().normal_(mean, std, generator=generator)
    return tensor


def _no_grad_mul_(tensor: Tensor, factor: float) -> Tensor:
    _unguarded(tensor).mul_(factor)
    return tensor


def _no_grad_fill_(tensor: Tensor, val: float) -> Tensor:
    _unguarded(tensor).fill_(val)
    return tensor


def _no_grad_zero_(tensor: Tensor) -> Tensor:
    weight = _unguarded(tensor)
    # NB: a sparse tensor shares its values with detach(), but not the count of them that zero_() resets.
    if weight.is_sparse:
        weight._values().zero_()
    else:
        weight.zero_()
    return tensor


def _no_grad_copy_(tensor: Tensor, source: Tensor) -> Tensor:
    _unguarded(tensor).copy_(source)
    return tensor


def _no_grad_eye_(tensor: Tensor) -> Tensor:
    rows, columns = tensor.shape
    if not is_scripting():
        # NB: a transform has no rule for an out= argument.
        if not _is_usual(tensor) or torch._C._are_functorch_transforms_active():
            return unusual._eye_(tensor)
    # Asked here too, which saves a call.
    if 0 in tensor.stride():
        _check_overlap(tensor)
    if tensor.is_floating_point() and tensor.element_size() > 1:
        torch.eye(rows, columns, out=tensor.detach())
    else:
        # NB: not out=, which writes zeros before it finds that there is no kernel; float32 holds 0 and 1 of any dtype.
        tensor.detach().copy_(torch.eye(rows, columns, device=tensor.device))
    return tensor


def _filled(tensor: Tensor, value: float) -> Tensor:
    """Make a scalar of the tensor's dtype, or raise what a fill does of a value that this cannot hold."""
    # NB: of two elements, since a fill of one makes it infinite instead.
    return tensor.new_empty([2]).fill_(value)[0]


def _no_grad_dirac_(tensor: Tensor, groups: int, gain: float = 1.0) -> Tensor:
    """Zero ``tensor`` and write ``gain`` on the diagonal of each group's centre tap, through one strided view."""
    if not is_scripting():
        if unusual._is_distributed(tensor):
            return unusual._spread_(tensor, partial(_no_grad_dirac_, groups=groups, gain=gain))
    weight = _unguarded(tensor)
    if tensor.numel() == 0:
        return _no_grad_zero_(tensor)
    _check_overlap(tensor)
    taps, value = _by_group(_centre(weight), groups), weight if gain == 1.0 else _filled(weight, gain)
    weight.zero_()
    if _is_plain(weight):
        if gain == 1.0:
            taps.diagonal(0, 1, 2).fill_(1.0)
        else:
            taps.diagonal(0, 1, 2).copy_(value)
    else:
        ones = torch.eye(taps.size(1), taps.size(2), dtype=taps.dtype, device=taps.device)
        # Not a product, which for a negative gain has zeros of its sign.
        values = ones if gain == 1.0 else ones.masked_fill(ones != 0, gain)
        taps.copy_(values.expand(taps.shape))
    return tensor


def _centre(weight: Tensor) -> Tensor:
    """View the tap of a kernel that is as far from its beginning as from its end, or one past the middle."""
    for size in weight.shape[2:]:
        weight = weight.select(2, size // 2)
    return weight


def _by_group(weight: Tensor, groups: int) -> Tensor:
    return weight.view([groups, weight.size(0) // groups] + list(weight.shape[1:]))


def _no_grad_kernel_(tensor: Tensor, groups: int, kernel: Tensor) -> Tensor:
    """Zero ``tensor`` and write ``kernel`` where each group's i-th output meets its i-th input."""
    if not is_scripting():
        if unusual._is_distributed(tensor):
            return unusual._spread_(tensor, partial(_no_grad_kernel_, groups=groups, kernel=kernel))
    weight = _unguarded(tensor)
    _check_overlap(tensor)
    taps = _by_group(weight, groups)
    weight.zero_()
    if _is_plain(weight):
        taps.diagonal(0, 1, 2).copy_(kernel.unsqueeze(-1))
    else:
        eye = torch.eye(taps.size(1), taps.size(2), dtype=kernel.dtype, device=taps.device)
        taps.copy_((eye.view(list(eye.shape) + [1] * kernel.dim()) * kernel).expand(taps.shape))
    return tensor


def _no_grad_centre_(tensor: Tensor, matrix: Tensor) -> Tensor:
    """Zero ``tensor`` and write ``matrix`` to its kernel's centre tap."""
    weight = _unguarded(tensor)
    weight.zero_()
    _centre(weight).copy_(matrix)
    return tensor


def _no_grad_trunc_normal_(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None = None
) -> Tensor:
    if std == 0.0:
        # NB: of 0 and -0 TorchScript takes the other one for the greater.
        return _no_grad_fill_(tensor, min(b, max(a, mean)) + 0.0)
    if not is_scripting():
        if type(tensor) is not Tensor and unusual._is_drawn_whole(tensor):
            fill = partial(_no_grad_trunc_normal_, mean=mean, std=std, a=a, b=b, generator=generator)
            return unusual._spread_(tensor, fill)
    values = _unguarded(tensor)
    if tensor.dtype == torch.float16 or tensor.dtype == torch.bfloat16:
        _check_overlap(tensor)
        for piece in _streamed_pieces(values):
            wide = torch.empty_like(piece, dtype=torch.float32)
            _fill_trunc_normal(wide, mean, std, a, b, generator)
            piece.copy_(wide)
    else:
        _fill_trunc_normal(values, mean, std, a, b, generator)
    return tensor


def _wide_matrix(tensor: Tensor, rows: int, cols: int) -> Tensor:
    """Make a matrix for a decomposition of ``tensor``; LAPACK has no 16-bit kernels, so wider there."""
    dtype = tensor.dtype
    if dtype == torch.float16 or dtype == torch.bfloat16:
        dtype = torch.float32
    elif dtype == torch.complex32:
        dtype = torch.complex64
    return tensor.new_empty([rows, cols], dtype=dtype)


def _randn_blocks(tensor: Tensor, blocks: int, cols: int, generator: torch.Generator | None) -> list[Tensor]:
    """Draw normal matrices in turn, that have as many rows together as ``tensor``."""
    # NB: parts of one matrix, since torch.compile takes two draws into new ones of a shape for one and the same.
    whole, rows = _wide_matrix(tensor, tensor.size(0), cols), tensor.size(0) // blocks
    drawn: list[Tensor] = []
    for i in range(blocks):
        part = whole if blocks == 1 else whole.narrow(0, i * rows, rows)
        drawn.append(part.normal_(0.0, 1.0, generator=generator))
    return drawn


def _no_grad_drop_rows_(tensor: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Zero ``count`` random rows of each column of a matrix.

    The rows are the first of one ``randperm`` a column. Without a generator that is drawn on the default device, as
    upstream does; with one, where the generator lives.
    """
    matrix = _unguarded(tensor)
    rows, columns = matrix.shape
    if not is_scripting():
        if is_compiling():
            if columns > 0:
                unusual._drop_rows_(matrix, count, generator)
            return tensor
    # A block of columns at once, whose permutations take at most 1 MiB unless one column alone takes more.
    block = max(1, 131072 // max(1, rows))
    for start in range(0, columns, block):
        size = min(block, columns - start)
        if generator is None:
            order = torch.stack([torch.randperm(rows) for _ in range(size)])
        else:
            device = tensor.device
            order = torch.stack([torch.randperm(rows, generator=generator, device=device) for _ in range(size)])
        dropped = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order.narrow(1, 0, count), 1).t()
        part = matrix if size == columns else matrix.narrow(1, start, size)
        part.masked_fill_(dropped if order.device == part.device else dropped.to(part.device), 0.0)
    return tensor
