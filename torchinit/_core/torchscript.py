"""TorchScript without its deprecation warnings, and a generator from a seed."""

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def silenced() -> Iterator[None]:
    """Silence the deprecation warnings of TorchScript and its mobile interpreter; the caller has asked for them."""
    with warnings.catch_warnings():
        # A DeprecationWarning in torch 2.13, a FutureWarning in 2.15.
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message="`torch.jit|Lite Interpreter", category=category)
        yield


def seeded(tensor: Tensor, seed: int | None) -> torch.Generator | None:
    """Make a generator on the tensor's device; scriptable."""
    if seed is None or tensor.is_meta:
        return None
    # NB: with only constant arguments, TorchScript folds this into one generator that all calls share.
    generator = torch.Generator(device=tensor.device)
    generator.manual_seed(seed)
    return generator


@functools.cache
def dtype_code(dtype: torch.dtype) -> int:
    """Return the integer that is a dtype in TorchScript."""
    unit = torch.jit.CompilationUnit("def code(x: Tensor) -> int:\n    return x.dtype\n")
    return int(unit.code(torch.empty(0, dtype=dtype, device="cpu")))
