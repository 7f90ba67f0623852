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

from torchinit._core.checks import _check_inference, _check_partitioned


def _is_distributed(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor, without importing what defines one: where nothing has, there is none."""
    if type(tensor) in (Tensor, Parameter):
        return False
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def _view(tensor: Tensor) -> Tensor:
    """Check what TorchScript cannot ask and return the no-grad view."""
    if _is_distributed(tensor):
        placements = tensor.placements  # type: ignore[attr-defined]
        if any(placement.is_partial() for placement in placements):
            # What each rank writes would be added up.
            raise RuntimeError(f"a DTensor with a Partial placement cannot be initialized, got {placements}")
    if is_dynamo_compiling():
        return tensor.detach()
    _check_inference(tensor)
    _check_partitioned(tensor)
    if _is_tracing() and torch.onnx.is_in_onnx_export():
        raise RuntimeError(
            "an initializer needs an ONNX exporter that keeps a no-grad write, as torch.onnx.export(dynamo=True) does,"
            " got the legacy one, which drops it"
        )
    # NB: a DTensor made outside inference mode cannot be detached in it, where no gradient is recorded anyway.
    if _is_distributed(tensor) and torch.is_inference_mode_enabled():
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
    """Say whether a compiler knows a number only as an expression, which no kernel takes for an argument."""
    # Imported late: it brings a computer algebra system along.
    from torch.fx.experimental import symbolic_shapes

    # torch 2.6 has no such question; there the size becomes a constant of the graph.
    return hasattr(symbolic_shapes, "has_static_value") and not symbolic_shapes.has_static_value(x)


def _follows_a_size(std: float, tensor: Tensor) -> bool:
    """Say whether a deviation is symbolic because a size is, and not because a caller's float is."""
    return _is_symbolic(std) and any(_is_symbolic(size) for size in tensor.shape)


def _sqrt(x: float) -> float:
    """Take the root of a symbolic number, of which float() and math would make a constant."""
    # NB: the ONNX exporter has no symbolic root; the power is off by an ulp in one value of a thousand.
    root: float = x**0.5 if torch.onnx.is_in_onnx_export() else torch.sym_sqrt(x)
    return root


def _recorded_bounds(a: float, b: float) -> tuple[float, float]:
    """Change a recorded ``uniform_(0, 1)``, whose arguments all are defaults.

    NB: torch.export cannot load that back, "from" being a keyword of Python. The least positive number changes no draw
    but 0, in 64 bits, into itself.
    """
    return (5e-324, b) if a == 0.0 and b == 1.0 else (a, b)


def _uniform_(tensor: Tensor, a: float, b: float, generator: torch.Generator | None) -> Tensor:
    if _is_drawn_whole(tensor):
        return _spread_(tensor, lambda whole: whole.uniform_(a, b, generator=generator))
    values = _view(tensor)
    if is_compiling():
        if generator is None and torch.onnx.is_in_onnx_export():
            # NB: the exporter has a translation for rand_like, RandomUniformLike, and none for uniform_.
            values.copy_(torch.rand_like(values) * (b - a) + a)
            return tensor
        a, b = _recorded_bounds(a, b)
    values.uniform_(a, b, generator=generator)
    return tensor


def _normal_(tensor: Tensor, mean: float, std: float, generator: torch.Generator | None) -> Tensor:
    if _is_drawn_whole(tensor):
        return _spread_(tensor, lambda whole: whole.normal_(mean, std, generator=generator))
    _view(tensor).normal_(mean, std, generator=generator)
    return tensor


def _eye_(tensor: Tensor) -> Tensor:
    rows, columns = tensor.shape
    if _is_distributed(tensor):
        return _spread_(tensor, lambda whole: torch.eye(rows, columns, out=whole))
    # NB: the ONNX exporter has no rule for a write to a diagonal.
    _view(tensor).copy_(torch.eye(rows, columns, device=tensor.device))
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
