"""The no-grad writes: the package writes to a caller's tensor only through these.

``tensor.detach()`` shares storage and version counter with ``tensor`` and has no autograd history, so an in-place write
to it records no gradient. Unlike ``torch.no_grad()`` it is a plain operator, which every runtime accepts, even the
mobile interpreter.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.jit import is_scripting

from torchinit._core import tracing, trunc_normal
from torchinit._core.checks import check_overlap
from torchinit._core.door import checked_view, enter, is_plain
from torchinit._core.views import by_group, centre

# Called with the name of a tensor and itself after it is written.
Done: TypeAlias = Callable[[str, Tensor], object]


def ignore(name: str, tensor: Tensor) -> None:
    """Do nothing after a write."""


def no_grad_view(tensor: Tensor) -> Tensor:
    """Return the view to write through; raise if the tensor must not be written."""
    if not is_scripting():
        if not is_plain(tensor):
            return checked_view(tensor)
    return tensor.detach()


def _no_grad_uniform_(tensor: Tensor, a: float, b: float, generator: torch.Generator | None = None) -> Tensor:
    if not is_scripting():
        if not is_plain(tensor):
            values = enter(tensor, partial(_no_grad_uniform_, a=a, b=b, generator=generator), elementwise=True)
            if values is not None:
                tracing.uniform_(values, a, b, generator)
            return tensor
    tensor.detach().uniform_(a, b, generator=generator)
    return tensor


def _no_grad_normal_(tensor: Tensor, mean: float, std: float, generator: torch.Generator | None = None) -> Tensor:
    if not is_scripting():
        if not is_plain(tensor):
            values = enter(tensor, partial(_no_grad_normal_, mean=mean, std=std, generator=generator), elementwise=True)
            if values is not None:
                values.normal_(mean, std, generator=generator)
            return tensor
    tensor.detach().normal_(mean, std, generator=generator)
    return tensor


def _no_grad_trunc_normal_(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None = None
) -> Tensor:
    if not is_scripting():
        if not is_plain(tensor):
            fill = partial(_no_grad_trunc_normal_, mean=mean, std=std, a=a, b=b, generator=generator)
            values = enter(tensor, fill, elementwise=True)
            if values is not None:
                tracing.trunc_normal_(values, mean, std, a, b, generator)
            return tensor
    if std == 0.0:
        tensor.detach().fill_(trunc_normal.nearest(mean, a, b))
    else:
        trunc_normal.draw_(tensor.detach(), mean, std, a, b, generator)
    return tensor


def _no_grad_fill_(tensor: Tensor, val: float) -> Tensor:
    if not is_scripting():
        if not is_plain(tensor):
            checked_view(tensor).fill_(val)
            return tensor
    tensor.detach().fill_(val)
    return tensor


def _no_grad_zero_(tensor: Tensor) -> Tensor:
    values = no_grad_view(tensor)
    # NB: detach() of a sparse tensor shares the values, but not their number, which zero_() resets.
    if values.is_sparse:
        values._values().zero_()
    else:
        values.zero_()
    return tensor


def no_grad_mul_(tensor: Tensor, factor: float) -> Tensor:
    no_grad_view(tensor).mul_(factor)
    return tensor


def no_grad_copy_(tensor: Tensor, source: Tensor) -> Tensor:
    no_grad_view(tensor).copy_(source)
    return tensor


def no_grad_eye_(tensor: Tensor) -> Tensor:
    if not is_scripting():
        if not is_plain(tensor):
            values = enter(tensor, no_grad_eye_)
            if values is not None:
                tracing.eye_(values)
            return tensor
    rows, columns = tensor.shape
    if 0 in tensor.stride():
        check_overlap(tensor)
    if tensor.is_floating_point() and tensor.element_size() > 1:
        if is_scripting():
            torch.eye(rows, columns, out=tensor.detach())
        else:
            # NB: the device is named, for a default device would be one that out= is not on.
            torch.eye(rows, columns, out=tensor.detach(), device=tensor.device)
    else:
        # NB: not out=, which writes zeros before it fails for want of a kernel. float32 holds 0 and 1 exactly.
        tensor.detach().copy_(torch.eye(rows, columns, device=tensor.device))
    return tensor


def scalar_like(tensor: Tensor, value: float) -> Tensor:
    """Make a scalar of the tensor's dtype; raise as ``fill_`` does if the dtype cannot hold the value."""
    # NB: fill two elements; filling one gives infinity instead of an error.
    return tensor.new_empty([2]).fill_(value)[0]


def no_grad_dirac_(tensor: Tensor, groups: int, gain: float = 1.0) -> Tensor:
    """Zero ``tensor`` and write ``gain`` on the diagonal of each group's centre tap, through one strided view."""
    if not is_scripting():
        if not is_plain(tensor):
            values = enter(tensor, partial(no_grad_dirac_, groups=groups, gain=gain))
            if values is not None:
                tracing.dirac_(values, groups, gain)
            return tensor
    check_overlap(tensor)
    weight = tensor.detach()
    if tensor.numel() == 0:
        weight.zero_()
        return tensor
    taps = by_group(centre(weight), groups).diagonal(0, 1, 2)
    value = weight if gain == 1.0 else scalar_like(weight, gain)
    weight.zero_()
    if gain == 1.0:
        taps.fill_(1.0)
    else:
        taps.copy_(value)
    return tensor


def no_grad_kernel_(tensor: Tensor, groups: int, kernel: Tensor) -> Tensor:
    """Zero ``tensor`` and write ``kernel`` where each group's i-th output meets its i-th input."""
    if not is_scripting():
        if not is_plain(tensor):
            values = enter(tensor, partial(no_grad_kernel_, groups=groups, kernel=kernel))
            if values is not None:
                tracing.kernel_(values, groups, kernel)
            return tensor
    check_overlap(tensor)
    weight = tensor.detach()
    taps = by_group(weight, groups).diagonal(0, 1, 2)
    weight.zero_()
    taps.copy_(kernel.unsqueeze(-1))
    return tensor


def no_grad_centre_(tensor: Tensor, matrix: Tensor) -> Tensor:
    """Zero ``tensor`` and write ``matrix`` to its kernel's centre tap."""
    weight = no_grad_view(tensor)
    weight.zero_()
    centre(weight).copy_(matrix)
    return tensor


def no_grad_drop_rows_(tensor: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Zero ``count`` random rows of each column of a matrix.

    One ``randperm`` per column gives the rows. Without a generator it is drawn on the default device, as upstream does;
    with one, on the tensor's device.
    """
    if not is_scripting():
        if not is_plain(tensor):
            tracing.drop_rows_(checked_view(tensor), count, generator)
            return tensor
    matrix = tensor.detach()
    rows, columns = matrix.shape
    # Go by blocks of columns whose permutations take at most 1 MiB, or by single columns.
    block = max(1, 131072 // max(1, rows))
    for start in range(0, columns, block):
        size = min(block, columns - start)
        order = tracing.permutations(rows, size, generator, tensor.device)
        dropped = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order.narrow(1, 0, count), 1).t()
        part = matrix if size == columns else matrix.narrow(1, start, size)
        part.masked_fill_(dropped if order.device == part.device else dropped.to(part.device), 0.0)
    return tensor


def no_grad_segment_(tensor: Tensor, value: float, start: int, length: int) -> Tensor:
    """Fill a vector with a value from ``start`` on for ``length`` elements, and with zeros elsewhere."""
    values = no_grad_view(tensor)
    # The whole first: a value that the dtype cannot hold is refused before anything is written.
    values.fill_(value)
    values.narrow(0, 0, start).zero_()
    values.narrow(0, start + length, values.size(0) - start - length).zero_()
    return tensor
