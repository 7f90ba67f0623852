"""The records of upstream's initializers, and what builds a record's refusals."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.support.record import Record, Refusal


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], Tensor]:
    return lambda: torch.zeros(shape, dtype=dtype)


def refuse(
    tensor: Callable[[], Tensor],
    error: type[Exception],
    scripts: bool = True,
    differs: str = "",
    **arguments: Any,
) -> Refusal:
    return Refusal(tensor, arguments, error, scripts, differs)


_KERNEL = "upstream's message names a kernel, not a rule"
_NO_VALUE = "upstream's message has no value"
_SAMPLER = "upstream's sampler loops without end, divides by zero or names an inner call"
_SILENT = "upstream accepts it silently"

NAN = float("nan")
INTEGER = zeros(4, 3, dtype=torch.int32)
BOOL = zeros(4, 3, dtype=torch.bool)
_NO_FANS = refuse(zeros(3), ValueError)
_NOT_DRAWN = (
    refuse(INTEGER, NotImplementedError, differs=_KERNEL),
    refuse(BOOL, NotImplementedError, differs=_KERNEL),
)
_KAIMING = (
    *_NOT_DRAWN,
    _NO_FANS,
    refuse(zeros(), ValueError),
    refuse(zeros(4, 3), ValueError, mode="fan_avg"),
    refuse(zeros(4, 3), ValueError, nonlinearity="maxout"),
    refuse(zeros(4, 3), ValueError, nonlinearity="gelu", a=0.5, differs="upstream has no gelu"),
    refuse(zeros(4, 3), ValueError, scripts=False, a=True),
    refuse(zeros(4, 3), ValueError, scripts=False, a="0.1"),
)

CURRENT = (
    Record(
        "uniform_",
        ({}, {"a": -2.0, "b": 3.0}),
        (5, 7),
        (
            *_NOT_DRAWN,
            refuse(zeros(4, 3), RuntimeError, a=1.0, b=0.0),
            refuse(zeros(4, 3), RuntimeError, a=NAN, differs=_NO_VALUE),
            refuse(zeros(4, 3), RuntimeError, b=float("inf"), differs=_NO_VALUE),
        ),
    ),
    Record(
        "normal_",
        ({}, {"mean": 1.0, "std": 0.02}, {"std": 0.0}),
        (5, 7),
        (
            *_NOT_DRAWN,
            refuse(zeros(4, 3), RuntimeError, std=-0.5),
            refuse(zeros(0, 3), RuntimeError, std=-0.5),
            refuse(zeros(4, 3), RuntimeError, std=NAN),
        ),
    ),
    Record(
        "trunc_normal_",
        (
            {},
            {"std": 0.02},
            {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 4.0},
            {"a": 0.3, "b": 0.3},
            {"a": 0.0, "b": float("inf")},
        ),
        (5, 7),
        (
            *_NOT_DRAWN,
            refuse(zeros(4, 3, dtype=torch.complex64), NotImplementedError, differs=_KERNEL),
            refuse(zeros(4, 3), RuntimeError, std=-0.5, differs=_SAMPLER),
            refuse(zeros(4, 3), RuntimeError, std=NAN, differs=_SAMPLER),
            refuse(zeros(4, 3), RuntimeError, std=float("inf"), differs=_SAMPLER),
            refuse(zeros(4, 3), RuntimeError, mean=NAN, differs=_SAMPLER),
            refuse(zeros(4, 3), RuntimeError, a=2.0, b=-2.5, differs=_SAMPLER),
            refuse(zeros(4, 3), RuntimeError, a=NAN, differs=_SAMPLER),
            refuse(zeros(4, 3), RuntimeError, a=float("inf"), b=float("inf"), differs=_SAMPLER),
        ),
        ({"a": 3.0, "b": 10.0}, {"mean": 30.0, "std": 2.0}),
    ),
    Record(
        "constant_",
        ({"val": 0.3}, {"val": -2.0}, {"val": 1.0}),
        (5, 7),
        (refuse(zeros(4, 3, dtype=torch.int8), RuntimeError, val=300.0),),
    ),
    Record("ones_", ({},), (5, 7)),
    Record("zeros_", ({},), (5, 7)),
    Record("eye_", ({},), (5, 7), (refuse(zeros(3), ValueError), refuse(zeros(4, 3, 2), ValueError))),
    Record(
        "dirac_",
        ({}, {"groups": 2}, {"groups": 3}),
        (6, 4, 3, 3),
        (
            refuse(zeros(4, 3), ValueError),
            refuse(zeros(4, 3, 3, 3, 3, 3), ValueError),
            refuse(zeros(4, 3, 3), ValueError, groups=3),
            refuse(zeros(4, 3, 3), ValueError, groups=0, differs="upstream divides by zero"),
            refuse(zeros(4, 3, 3), ValueError, groups=-2, differs=_SILENT),
            refuse(zeros(4, 3, 3), TypeError, scripts=False, groups=2.0, differs="upstream's is its loop's"),
        ),
    ),
    Record(
        "xavier_uniform_",
        ({}, {"gain": 0.3}),
        (5, 7),
        (
            *_NOT_DRAWN,
            _NO_FANS,
            refuse(zeros(4, 3), RuntimeError, gain=-1.0),
            refuse(zeros(4, 3), RuntimeError, gain=NAN, differs=_NO_VALUE),
        ),
    ),
    Record(
        "xavier_normal_",
        ({}, {"gain": 0.3}),
        (5, 7),
        (
            *_NOT_DRAWN,
            _NO_FANS,
            refuse(zeros(4, 3), RuntimeError, gain=-1.0),
            refuse(zeros(4, 3), RuntimeError, gain=NAN),
        ),
    ),
    Record(
        "kaiming_uniform_",
        ({}, {"a": 5**0.5}, {"mode": "FAN_OUT", "nonlinearity": "relu"}, {"nonlinearity": "linear"}),
        (5, 7),
        (*_KAIMING, refuse(zeros(4, 3), RuntimeError, a=NAN, differs=_NO_VALUE)),
    ),
    Record(
        "kaiming_normal_",
        ({}, {"a": 0.2}, {"mode": "fan_out", "nonlinearity": "tanh"}, {"nonlinearity": "selu"}),
        (5, 7),
        (*_KAIMING, refuse(zeros(4, 3), RuntimeError, a=NAN)),
    ),
    Record("orthogonal_", ({}, {"gain": 0.3}), (5, 7), (*_NOT_DRAWN, refuse(zeros(3), ValueError))),
    Record(
        "sparse_",
        ({"sparsity": 0.1}, {"sparsity": 0.65, "std": 0.5}, {"sparsity": 0.0}, {"sparsity": 1.0}),
        (5, 7),
        (
            refuse(INTEGER, NotImplementedError, sparsity=0.5, differs=_KERNEL),
            refuse(zeros(4, 3, 2), ValueError, sparsity=0.5),
            refuse(zeros(4, 3), ValueError, sparsity=-0.5, differs=_SILENT),
            refuse(zeros(4, 3), ValueError, sparsity=1.25, differs=_SILENT),
            refuse(zeros(4, 3), ValueError, sparsity=NAN, differs="upstream fails to make it an integer"),
            refuse(zeros(4, 3), RuntimeError, sparsity=0.5, std=-1.0),
        ),
    ),
)
