"""Numbers that depend on a symbolic size, under a compiler or an exporter.

``float()`` and ``math`` would turn them into constants, and no kernel takes them as arguments.
"""

import math

import torch
from torch import SymFloat, SymInt, Tensor
from torch.compiler import is_dynamo_compiling
from torch.jit import is_scripting

from torchinit._core.compat import is_symbolic
from torchinit._core.messages import format_float


def as_float(n: int) -> float:
    """Convert an integer, and leave a symbolic one symbolic."""
    if not is_scripting():
        if type(n) is SymInt or is_dynamo_compiling():  # type: ignore[comparison-overlap]
            return 1.0 * n
    # NB: under torch.jit.trace a size is a tensor, whose quotient would be of 32 bits.
    return float(n)


def sqrt(x: float) -> float:
    if not is_scripting():
        if (type(x) is SymFloat or is_dynamo_compiling()) and is_symbolic(x):  # type: ignore[comparison-overlap]
            # NB: the ONNX exporter has no symbolic root; the power is off by an ulp in one value of a thousand.
            root: float = x**0.5 if torch.onnx.is_in_onnx_export() else torch.sym_sqrt(x)
            return root
    return math.sqrt(x)


def depends_on_shape(scale: float, tensor: Tensor) -> bool:
    """True for a scale that is symbolic because a size is, not because the caller's own number is."""
    return is_symbolic(scale) and any(is_symbolic(size) for size in tensor.shape)


def check_gain(gain: float, fans: int) -> None:
    """Refuse a negative gain if the fans are symbolic; otherwise the kernel refuses its bounds."""
    if not is_scripting():
        if (type(fans) is SymInt or is_dynamo_compiling()) and is_symbolic(fans):  # type: ignore[comparison-overlap]
            raise RuntimeError(f"xavier_* expects gain >= 0.0, but found gain {format_float(gain)}")
