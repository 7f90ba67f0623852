"""Writes that compilers, traces, transforms and exporters can record.

Each takes the no-grad view and writes the same values as its namesake in ``writes``, which serves plain tensors.
"""

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_scripting

from torchinit._core import trunc_normal
from torchinit._core.checks import check_overlap
from torchinit._core.dtensor import is_dtensor
from torchinit._core.views import by_group, centre


def _loadable_bounds(a: float, b: float) -> tuple[float, float]:
    """Change the bounds of a ``uniform_(0, 1)``, which equal the operator's defaults.

    NB: torch.export cannot load such a call, since its argument "from" is a Python keyword. The smallest positive
    number changes only a float64 draw of 0, to itself.
    """
    return (5e-324, b) if a == 0.0 and b == 1.0 else (a, b)


def uniform_(values: Tensor, a: float, b: float, generator: torch.Generator | None) -> None:
    if is_compiling():
        if generator is None and torch.onnx.is_in_onnx_export():
            # NB: the exporter translates rand_like, to RandomUniformLike, but not uniform_.
            values.copy_(torch.rand_like(values) * (b - a) + a)
            return
        a, b = _loadable_bounds(a, b)
    values.uniform_(a, b, generator=generator)


def trunc_normal_(
    values: Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None
) -> None:
    """Draw and invert the whole at once; a trace would fix the number of chunks."""
    if std == 0.0:
        values.fill_(trunc_normal.nearest(mean, a, b))
        return
    wide = values
    if values.dtype == torch.float16 or values.dtype == torch.bfloat16:
        check_overlap(values)
        wide = torch.empty_like(values, dtype=torch.float32)
    low, high = trunc_normal.uniform_bounds(mean, std, a, b, wide.dtype)
    if is_compiling():
        low, high = _loadable_bounds(low, high)
    wide.uniform_(low, high, generator=generator)
    # NB: on torch 2.6 DTensor has no rule for erfcx; the inverse is elementwise, so the local shard serves.
    trunc_normal.invert_(wide.to_local() if is_dtensor(wide) else wide, mean, std, a, b)  # type: ignore[attr-defined]
    if wide is not values:
        values.copy_(wide)


def eye_(values: Tensor) -> None:
    # NB: transforms have no rule for out=, and the ONNX exporter has none for a write to a diagonal.
    values.copy_(torch.eye(values.size(0), values.size(1), device=values.device))


def dirac_(values: Tensor, groups: int, gain: float) -> None:
    check_overlap(values)
    if values.numel() == 0:
        values.zero_()
        return
    taps = by_group(centre(values), groups)
    eye = torch.eye(taps.size(1), taps.size(2), dtype=taps.dtype, device=taps.device)
    if gain != 1.0:
        # Not a product: with a negative gain it would write -0. NB: 8-bit floats have no masked_fill.
        wide = eye.to(torch.float32) if eye.is_floating_point() and eye.element_size() == 1 else eye
        eye = wide.masked_fill(wide != 0, gain)
    values.zero_()
    taps.copy_(eye.expand(taps.shape))


def kernel_(values: Tensor, groups: int, kernel: Tensor) -> None:
    check_overlap(values)
    taps = by_group(values, groups)
    eye = torch.eye(taps.size(1), taps.size(2), dtype=kernel.dtype, device=taps.device)
    eye = eye.view(list(eye.shape) + [1] * kernel.dim()) * kernel
    values.zero_()
    taps.copy_(eye.expand(taps.shape))


def permutations(rows: int, columns: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Draw a permutation of the rows for each column; also for a plain tensor.

    Without a generator they are drawn on the default device, as upstream does; with one, on ``device``.
    """
    if generator is None:
        order = torch.stack([torch.randperm(rows) for _ in range(columns)])
        if not is_scripting():
            # The default device "meta" draws nothing.
            if order.is_meta:
                order = torch.stack([torch.randperm(rows, device="cpu") for _ in range(columns)])
        return order
    return torch.stack([torch.randperm(rows, generator=generator, device=device) for _ in range(columns)])


def drop_rows_(matrix: Tensor, count: int, generator: torch.Generator | None) -> None:
    """Zero the rows of all columns at once; a trace would fix the number of column blocks."""
    rows, columns = matrix.shape
    if columns == 0:
        return
    order = permutations(rows, columns, generator, matrix.device)
    # NB: not narrow(), which would compare a symbolic count with the size.
    first = (torch.arange(rows, device=order.device) < count).expand_as(order)
    dropped = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order, first).t()
    matrix.masked_fill_(dropped.to(matrix.device), 0.0)
