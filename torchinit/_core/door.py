"""The one check before a write: is this a plain tensor?

Every function that writes to a tensor begins with it:

    if not is_scripting():
        if not is_plain(tensor) and enter(tensor, fill) is None:
            return tensor

TorchScript and eager Python share the lines below it. Everything else is behind this door: DTensors in ``dtensor``,
symbolic sizes in ``symbolic``, and the writes that compilers, traces and exporters can record in ``tracing``.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.nn import Parameter

from torchinit._core import dtensor
from torchinit._core.checks import check_inference, check_partitioned, check_tensor
from torchinit._core.compat import are_transforms_active, is_tracing
from torchinit._core.computed import warn_of_lost_write


def is_plain(tensor: Tensor) -> bool:
    """True if eager kernels write directly to this tensor.

    False under a compiler, a trace or a transform, for a subclass, for an inference tensor outside inference mode, and
    for an empty parameter, which a partitioner may have emptied. Warns of a plain tensor whose write would be lost.
    """
    kind = type(tensor)
    if (
        is_dynamo_compiling()
        or is_tracing()
        or are_transforms_active()
        or not (kind is Tensor or (kind is Parameter and tensor.numel() > 0))
    ):
        return False
    try:
        # NB: an inference tensor has no version; this costs half as much as is_inference().
        tensor._version  # noqa: B018
    except RuntimeError:
        return torch.is_inference_mode_enabled()
    # NB: not grad_fn, which some views, such as those of chunk(), refuse to show after a write to a sibling.
    if kind is Tensor and tensor.requires_grad:
        warn_of_lost_write(tensor)
    return True


def checked_view(tensor: Tensor) -> Tensor:
    """Return the no-grad view of a tensor that is not plain; raise if the tensor must not be written."""
    check_tensor(tensor)
    distributed = dtensor.is_dtensor(tensor)
    if distributed:
        dtensor.check_placements(tensor)
    if is_dynamo_compiling():
        return tensor.detach()
    check_inference(tensor)
    check_partitioned(tensor)
    if is_tracing() and torch.onnx.is_in_onnx_export():
        raise RuntimeError(
            "an initializer needs an ONNX exporter that keeps a no-grad write, as torch.onnx.export(dynamo=True) does,"
            " got the legacy one, which drops it"
        )
    # NB: inference mode cannot detach a DTensor that was made outside it; it records no gradients anyway.
    return tensor if distributed and torch.is_inference_mode_enabled() else tensor.detach()


def enter(
    tensor: Tensor, fill: Callable[[Tensor], Tensor], broadcast: bool = False, elementwise: bool = False
) -> Tensor | None:
    """Fill a DTensor, or return the no-grad view of another tensor that is not plain.

    Args:
        tensor: the tensor
        fill: fills a plain tensor of the same shape
        broadcast: whether all ranks take the first rank's values, because the values depend on each other
        elementwise: whether the values are independent, so that a DTensor on a GPU can draw for itself

    Returns:
        None if the tensor is filled

    Raises:
        RuntimeError: if the tensor must not be written
    """
    view = checked_view(tensor)
    whole = dtensor.draws_replicated(tensor) if elementwise else dtensor.is_dtensor(tensor)
    # NB: torch warns about a random operator on a CPU mesh, even one that draws nothing.
    if not whole or tensor.is_meta or (tensor.numel() == 0 and not elementwise):
        return view
    dtensor.fill_replicated_(tensor, view, fill, broadcast)
    return None
