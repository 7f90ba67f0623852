"""The inputs that a command runs a model on: noise of a shape, integers, or a file."""

import os
import re
import warnings

import torch
from torch import Tensor, nn

_SHAPE = re.compile(r"(\d+(?:[x,]\d+)*)(?::(\d+))?")
_INPUT = "a shape such as 8x3x32x32, of integers below 1000 such as 2x16:1000, or a file of torch.save with a tensor"


def _tensor(path: str) -> Tensor:
    """Read a tensor that torch.save wrote."""
    if not os.path.exists(path):
        raise RuntimeError(f"--input takes {_INPUT}, got {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # NB: torch.load raises many types of errors, of several lines.
        raise RuntimeError(f"--input takes {_INPUT}, got {path}, which torch.load does not read") from error
    if not isinstance(loaded, Tensor):
        raise RuntimeError(f"--input takes {_INPUT}, got {path} with {type(loaded).__name__}")
    return loaded


def read_input(text: str, module: nn.Module, generator: torch.Generator) -> Tensor:
    """Draw standard normal noise in the dtype of the parameters, or integers, or read a file."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        return _tensor(text)
    shape = [int(size) for size in re.split("[x,]", match[1])]
    bound = int(match[2] or 1)
    if not all(0 < number < 1 << 63 for number in [*shape, bound]):
        raise RuntimeError(f"the numbers of an input must be from 1 to 2**63 - 1, got {text}")
    if match[2] is not None:
        return torch.randint(bound, shape, generator=generator)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return torch.randn(shape, generator=generator, dtype=dtype)
