"""Tensors in every shape and layout that an initializer accepts."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

SHAPES = (
    (),
    (0,),
    (1,),
    (15,),
    (16,),
    (17,),
    (3001,),
    (0, 0),
    (0, 4),
    (4, 0),
    (1, 1),
    (3, 5),
    (17, 4),
    (64, 50),
    (6, 4, 5),
    (2, 3, 0),
    (6, 4, 3, 3),
    (6, 1, 3, 2),
    (6, 3, 2, 2, 3),
)
FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COMPLEX = (torch.complex64, torch.complex128)
INTEGER = (torch.uint8, torch.int32, torch.int64, torch.bool)


# The device of the tensors; CUDA tests set it.
DEVICE = "cpu"


def _contiguous(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    # Small and distinct values, so that an element left unwritten shows.
    return torch.arange(math.prod(shape), device=DEVICE).remainder_(5).to(dtype).view(shape)


def _transposed(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return _contiguous(shape[::-1], dtype).permute(tuple(reversed(range(len(shape)))))


def _sliced(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return _contiguous(tuple(2 * n + 1 for n in shape), dtype)[tuple(slice(1, None, 2) for _ in shape)]


def _channels_last(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    tensor = _contiguous(shape, dtype)
    return tensor.contiguous(memory_format=formats[len(shape)]) if len(shape) in formats else tensor


def _parameter(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.nn.Parameter(_contiguous(shape, dtype), requires_grad=dtype in FLOATING + COMPLEX)


def _data(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return _parameter(shape, dtype).data


def _non_leaf(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return _parameter(shape, dtype).clone()


def _meta(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


LAYOUTS: dict[str, Callable[[tuple[int, ...], torch.dtype], Tensor]] = {
    "contiguous": _contiguous,
    "transposed": _transposed,
    "sliced": _sliced,
    "channels_last": _channels_last,
    "parameter": _parameter,
    "data": _data,
    "non_leaf": _non_leaf,
    "meta": _meta,
}
