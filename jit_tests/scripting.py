"""Script each function once, without torch.jit's own deprecation warning."""

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any

import torch

import torchinit


@functools.cache
def scripted(name: str) -> Any:
    """Script a function of torchinit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(getattr(torchinit, name))


def graph_text(function: Any, inlined: bool = True) -> str:
    """Print a graph without source locations, dead code removed."""
    graph = (function.inlined_graph if inlined else function.graph).copy()
    torch._C._jit_pass_dce(graph)
    torch._C._jit_pass_canonicalize(graph)
    return re.sub(r" # .*$|warn_id=\d+", "", graph.str(False), flags=re.MULTILINE)


def last_line(error: Exception) -> str:
    """Extract the eager message from a TorchScript error."""
    return re.sub(r"^(builtins\.)?\w+: ", "", str(error).strip().splitlines()[-1])


def rounded(message: str) -> str:
    """Round numbers to six digits: eager and TorchScript print different numbers of digits."""
    return re.sub(r"\d+\.\d{6,}", lambda number: f"{float(number[0]):.6g}", message)


def run_quietly(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **keywords)
