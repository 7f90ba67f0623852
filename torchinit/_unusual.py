"""Writes that are more than an operator on a plain tensor: eager code alone comes here, through ``_primitives``.

A tensor of a type of its own, a DTensor above all; a call that a compiler or an exporter records.
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor
from torch._C import _is_tracing
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.nn import Parameter

from torchinit._checks import _check_inference, _check_partitioned


def _is_distributed(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor, without importing what defines one: where nothing has, there is none."""
    if type(tensor) in (Tensor, Parameter):
        return False
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def _view(tensor: Tensor) -> Tensor:
    """Check what neither TorchScript nor Dynamo can ask and return the no-grad view."""
    if is_dynamo_compiling():
        return tensor.detach()
    _check_inference(tensor)
    _check_partitioned(tensor)
    if _is_tracing() and torch.onnx.is_in_onnx_export():
        raise RuntimeError(
            "an initializer needs an ONNX exporter that keeps a no-grad write, as torch.onnx.export(dynamo=True) does,"
            " got the legacy one, which drops it"
        )
    if _is_distributed(tensor):
        placements = tensor.placements  # type: ignore[attr-defined]
        if any(placement.is_partial() for placement in placements):
            # What each rank writes would be added up.
            raise RuntimeError(f"a DTensor with a Partial placement cannot be initialized, got {placements}")
        # NB: a DTensor cannot be detached in inference mode, which records no gradient anyway.
        if torch.is_inference_mode_enabled():
            return tensor
    return tensor.detach()


def _spread_(tensor: Tensor, fill: Callable[[Tensor], Tensor], broadcast: bool = False) -> Tensor:
    """Fill a DTensor: each rank fills a plain tensor of the whole shape and keeps its own part of it.

    Ranks of one seed draw the same whole, which is a single process's, and draw equally much, so that they stay of one
    seed. Where the parts must fit each other whatever the seeds, ``broadcast`` takes the first rank's whole; nothing is
    communicated otherwise.
    """
    from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

    values = _view(tensor)
    whole = fill(torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device))
    mesh = tensor.device_mesh  # type: ignore[attr-defined]
    if broadcast:
        copies = distribute_tensor(whole, mesh)
    else:
        copies = DTensor.from_local(whole, mesh, [Replicate()] * mesh.ndim, run_check=False)
    # NB: redistributed by hand; copy_ refuses to split what has fewer rows than there are ranks.
    values.copy_(copies.redistribute(placements=tensor.placements))  # type: ignore[attr-defined]
    return tensor


def _is_drawn_whole(tensor: Tensor) -> bool:
    """Whether a DTensor's own draw would give every rank the same values: a processor's stream has no offset to set."""
    return _is_distributed(tensor) and tensor.device.type == "cpu"


def _is_symbolic(x: float) -> bool:
    """Say whether a compiler knows a number only as an expression of sizes, which no kernel takes for an argument."""
    # Imported late: it brings a computer algebra system along.
    from torch.fx.experimental import symbolic_shapes

    # torch 2.6 has no such question; there the size becomes a constant of the graph.
    return hasattr(symbolic_shapes, "has_static_value") and not symbolic_shapes.has_static_value(x)


def _record_uniform_(values: Tensor, a: float, b: float, generator: torch.Generator | None) -> Tensor:
    if _is_symbolic(a) or _is_symbolic(b):
        # For a = -b the same bits in 32 and 64 bits: 2x - 1 is exact for a draw x.
        return values.uniform_(-1.0, 1.0, generator=generator).mul_((b - a) / 2).add_((a + b) / 2)
    if generator is None and torch.onnx.is_in_onnx_export():
        # NB: the exporter has a translation for rand_like, RandomUniformLike, and none for uniform_.
        return values.copy_(torch.rand_like(values) * (b - a) + a)
    if a == 0.0 and b == 1.0:
        # NB: torch.export cannot load a call back that has every default (its "from" is a keyword of Python), and the
        # least positive number changes no draw but 0, in 64 bits, into itself.
        a = 5e-324
    return values.uniform_(a, b, generator=generator)


def _uniform_(tensor: Tensor, a: float, b: float, generator: torch.Generator | None) -> Tensor:
    if is_compiling():
        _record_uniform_(_view(tensor), a, b, generator)
        return tensor
    if _is_drawn_whole(tensor):
        return _spread_(tensor, lambda whole: whole.uniform_(a, b, generator=generator))
    _view(tensor).uniform_(a, b, generator=generator)
    return tensor


def _normal_(tensor: Tensor, mean: float, std: float, generator: torch.Generator | None) -> Tensor:
    if is_compiling() and _is_symbolic(std):
        # The same bits in 32 and 64 bits from 16 elements on; below, the kernel rounds once less.
        _view(tensor).normal_(0.0, 1.0, generator=generator).mul_(std).add_(mean)
        return tensor
    if _is_drawn_whole(tensor):
        return _spread_(tensor, lambda whole: whole.normal_(mean, std, generator=generator))
    _view(tensor).normal_(mean, std, generator=generator)
    return tensor


def _drop_rows_(matrix: Tensor, count: int, generator: torch.Generator | None) -> None:
    """Record what ``_no_grad_drop_rows_`` does, in one block: a trace would keep the number of blocks."""
    rows, columns = matrix.shape
    if generator is None:
        order = torch.stack([torch.randperm(rows) for _ in range(columns)])
    else:
        device = matrix.device
        order = torch.stack([torch.randperm(rows, generator=generator, device=device) for _ in range(columns)])
    # Slower for a small count than a narrow, which would compare a symbolic count with the size.
    first = (torch.arange(rows, device=order.device) < count).expand_as(order)
    dropped = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order, first).t()
    matrix.masked_fill_(dropped.to(matrix.device), 0.0)
