"""How much memory do initializers take besides the tensor they fill?"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import torchinit
from tools.bench.measure import peak_extra_bytes

SIDE = 2048
TARGET = 4 * SIDE * SIDE  # bytes of a float32 target


def _dense(dtype: torch.dtype) -> Tensor:
    return torch.zeros(SIDE, SIDE, dtype=dtype)


def _strided(dtype: torch.dtype) -> Tensor:
    return torch.zeros(SIDE, 2 * SIDE, dtype=dtype)[:, ::2]


def _row(dtype: torch.dtype) -> Tensor:
    return torch.zeros(1, 2 * SIDE * SIDE, dtype=dtype)[:, ::2]


@pytest.mark.parametrize(
    ("make", "dtype", "arguments", "most"),
    [
        (_dense, torch.float32, {}, 1024),
        (_dense, torch.float64, {}, 1024),
        (_strided, torch.float32, {}, 1024),
        (_dense, torch.bfloat16, {}, TARGET),
        (_strided, torch.float16, {}, TARGET + 1024),
        (_dense, torch.float32, {"a": 3.0, "b": 10.0}, TARGET),
        (_strided, torch.float32, {"a": 3.0, "b": 10.0}, TARGET),
        (_row, torch.float32, {"a": 3.0, "b": 10.0}, TARGET),
        (_dense, torch.bfloat16, {"a": 3.0, "b": 10.0}, TARGET),
    ],
)
def test_trunc_normal_takes_no_more_than_promised(
    make: Callable[[torch.dtype], Tensor], dtype: torch.dtype, arguments: dict[str, Any], most: int
) -> None:
    assert peak_extra_bytes(lambda t: torchinit.trunc_normal_(t[0], **arguments), [make(dtype)]) <= most


@pytest.mark.parametrize("name", ["uniform_", "normal_", "zeros_", "eye_", "xavier_uniform_", "kaiming_normal_"])
def test_direct_fill_takes_no_memory(name: str) -> None:
    assert peak_extra_bytes(lambda t: getattr(torchinit, name)(t[0]), [_dense(torch.float32)]) <= 1024


def test_dirac_takes_no_memory() -> None:
    assert peak_extra_bytes(lambda t: torchinit.dirac_(t[0], 4), [torch.zeros(256, 64, 3, 3)]) <= 1024


@pytest.mark.parametrize("columns", [1024, 4096])
def test_memory_of_sparse_does_not_grow_with_the_columns(columns: int) -> None:
    assert peak_extra_bytes(lambda t: torchinit.sparse_(t[0], 0.9), [torch.zeros(1024, columns)]) <= 4 * 2**20


def test_measure_sees_a_temporary() -> None:
    assert peak_extra_bytes(lambda t: t[0] + 1, [_dense(torch.float32)]) >= TARGET
