"""The device that the tests of tests/gpu fill tensors on, and how close a value must be to the CPU's."""

import os
from typing import Any

import torch
from torch import Tensor

from tests.support.keyed_records import KeyedCall

# TORCHINIT_DEVICE=cpu runs the tests without a GPU, to check the tests themselves.
DEVICE = os.environ.get("TORCHINIT_DEVICE", "cuda")
ON_GPU = DEVICE != "cpu"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def blank(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: str = DEVICE) -> Tensor:
    """Make a tensor of NaN, so that an element left unwritten shows."""
    return torch.full(shape, float("nan"), dtype=dtype, device=device)


def device_generator(seed: int) -> torch.Generator:
    return torch.Generator(DEVICE).manual_seed(seed)


def tolerance(call: KeyedCall, dtype: torch.dtype) -> dict[str, Any]:
    """Return how far a keyed value may lie from one that other kernels computed from the same words.

    Uniform values are equal. The others differ by the logarithm, cosine, sine and inverse of the platform: 4 ulp, or
    after rounding to 16 bits 1 ulp. A sum with a mean cancels, so its error is one of the largest value.
    """
    info = torch.finfo(dtype)
    wide = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32)
    # The spacing of subnormal numbers.
    step = info.smallest_normal * info.eps
    if "orthogonal" in call.name:
        return {"rtol": info.eps, "atol": 100 * wide.eps}
    if not call.continuous:
        return {"rtol": 0.0, "atol": 0.0}
    # Docs: the Newton steps in a tail are off by up to 70 ulp.
    ulps = 70 if call.arguments.get("a", 0.0) >= 3.0 or call.arguments.get("mean", 0.0) >= 3.0 else 4
    # No call draws values beyond 4 around its mean.
    shift = 4 * 4 * wide.eps if call.arguments.get("mean") else 0.0
    return {"rtol": max(info.eps, ulps * wide.eps), "atol": step + shift}
