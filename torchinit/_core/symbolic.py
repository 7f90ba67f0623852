"""Numbers that follow from a size which a compiler or exporter leaves open.

``float()`` and ``math`` would make constants of them, and no kernel takes them as arguments.
"""

import math

import torch
from torch import SymFloat, Tensor
from torch.compiler import is_dynamo_compiling
from torch.jit import is_scripting

from torchinit._core.compat import is_symbolic


def sqrt(x: float) -> float:
    if not is_scripting():
        if (type(x) is SymFloat or is_dynamo_compiling()) and is_symbolic(x):  # type: ignore[comparison-overlap]
            # NB: the ONNX exporter has no symbolic root; the power is off by an ulp in one value of a thousand.
            root: float = x**0.5 if torch.onnx.is_in_onnx_export() else torch.sym_sqrt(x)
            return root
    return math.sqrt(x)


def depends_on_shape(scale: float, tensor: Tensor) -> bool:
    """True for a scale that is symbolic because a size is, and not because a caller's own number is."""
    return is_symbolic(scale) and any(is_symbolic(size) for size in tensor.shape)
