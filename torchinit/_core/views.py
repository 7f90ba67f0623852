"""Views of parts of a tensor."""

import torch
from torch import Tensor


def chunks(values: Tensor) -> list[Tensor]:
    """Split a tensor into chunks that stay in a processor's cache."""
    size = 262144 if values.device.type == "cpu" else 4194304
    if values.numel() <= size:
        return [values]
    if values.is_contiguous():
        return list(torch.split(values.view(-1), size))
    longest = max(values.shape)
    return list(torch.split(values, max(1, size * longest // values.numel()), values.shape.index(longest)))


def stream_chunks(values: Tensor) -> list[Tensor]:
    """Split into chunks if drawing them in turn draws the same as the whole: on a CPU, in memory order."""
    return chunks(values) if values.device.type == "cpu" and values.is_contiguous() else [values]


def centre(weight: Tensor) -> Tensor:
    """View the centre tap of a kernel; for an even size, the one past the middle."""
    for size in weight.shape[2:]:
        weight = weight.select(2, size // 2)
    return weight


def by_group(weight: Tensor, groups: int) -> Tensor:
    return weight.view([groups, weight.size(0) // groups] + list(weight.shape[1:]))
