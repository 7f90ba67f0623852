"""Checks of arguments, made before any draw or write.

``function`` is the name of the called function, for the message.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_scripting
from torch.nn import Module, Parameter

from torchinit._core.compat import partitioned_shape
from torchinit._core.messages import called_function, dtype_name, format_float


def check_tensor(tensor: Any) -> None:
    """Refuse a module, an array or anything else that is no tensor."""
    if not isinstance(tensor, Tensor):
        hint = "; pass its weight or bias" if isinstance(tensor, Module) else ""
        raise TypeError(f"{called_function()} needs a tensor, got {type(tensor).__name__}{hint}")


def check_inference(tensor: Tensor) -> None:
    """Refuse an inference tensor outside inference mode, which ``detach()`` would let through."""
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed"
            f", got an inference tensor of shape {list(tensor.shape)}"
        )


def check_partitioned(tensor: Tensor) -> None:
    """Refuse a parameter that a partitioner (ZeRO stage 3, FSDP) has emptied."""
    if not is_scripting():
        check_tensor(tensor)
        if not is_compiling():
            by, shape = partitioned_shape(tensor)
            if by and tensor.numel() == 0:
                raise RuntimeError(
                    f"a parameter that {by} has partitioned must be gathered before it is initialized, got an empty one"
                    f" in place of shape {shape}"
                )


def refuse_dimensions(tensor: Tensor, allowed: str, full_size: list[int] | None = None) -> None:
    """Raise for a wrong number of dimensions; ``full_size`` is the shape of the whole if ``tensor`` is a piece."""
    check_partitioned(tensor)
    shape = list(tensor.shape) if full_size is None else full_size
    raise ValueError(f"Only tensors with {allowed} dimensions are supported, got shape {shape}")


# NB: these call tensor.dim(), where a lazy parameter raises its own error, and not len() of a size.


def check_matrix(tensor: Tensor, full_size: list[int] | None = None) -> None:
    if tensor.dim() != 2:
        refuse_dimensions(tensor, "2", full_size)


def check_matrix_like(tensor: Tensor, full_size: list[int] | None = None) -> None:
    if tensor.dim() < 2:
        refuse_dimensions(tensor, "2 or more", full_size)


def check_kernel(tensor: Tensor, full_size: list[int] | None = None) -> None:
    if tensor.dim() not in [3, 4, 5]:
        refuse_dimensions(tensor, "3, 4, or 5", full_size)


def check_divisible(size: list[int], parts: int, name: str) -> None:
    if parts < 1:
        raise ValueError(f"{name} must be at least 1, got {parts}")
    # NB: near 2**63 TorchScript's remainder overflows.
    if 0 < size[0] < parts or size[0] % parts != 0:
        raise ValueError(f"dim 0 must be divisible by {name}, got shape {size} and {name}={parts}")


def check_overlap(tensor: Tensor) -> None:
    """Refuse an expanded tensor before the draw.

    A random kernel refuses one by itself; ``copy_`` refuses it only after the draw, and ``fill_`` never.
    """
    if 0 not in tensor.stride():
        return
    for size, stride in zip(tensor.shape, tensor.stride()):
        if size > 1 and stride == 0 and tensor.numel() > 0:
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory"
                f" location, got shape {list(tensor.shape)} with strides {list(tensor.stride())}"
            )


def check_inexact(function: str, tensor: Tensor) -> None:
    """Refuse integers and booleans."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise NotImplementedError(f"{function} needs a floating-point or complex tensor, got {dtype_name(tensor)}")


def check_uniform(function: str, tensor: Tensor, a: float, b: float) -> None:
    if not tensor.is_floating_point():
        check_inexact(function, tensor)
    if not b - a < math.inf:
        raise RuntimeError(
            f"{function} expects finite bounds, but found from={format_float(a)} and to={format_float(b)}"
        )


def check_trunc_normal(function: str, tensor: Tensor, mean: float, std: float, a: float, b: float) -> None:
    if not is_scripting():
        # NB: cheaper than isinstance() by itself; functions that take less time have none of it.
        if type(tensor) is not Parameter and type(tensor) is not Tensor:
            check_tensor(tensor)
    if not tensor.is_floating_point():
        raise NotImplementedError(f"{function} needs a floating-point tensor, got {dtype_name(tensor)}")
    # Near the largest finite value. float16 holds less, but is computed in float32.
    limit = 1e307 if tensor.dtype == torch.float64 else 1e38
    if not abs(mean) <= limit:
        raise RuntimeError(f"{function} expects a finite mean, but found mean {format_float(mean)}")
    if not 0.0 <= std <= limit:
        raise RuntimeError(f"{function} expects a finite std >= 0.0, but found std {format_float(std)}")
    if not (a <= b and a <= limit and b >= -limit):
        raise RuntimeError(
            f"{function} expects a <= b around a finite value, but found a={format_float(a)} and b={format_float(b)}"
        )
