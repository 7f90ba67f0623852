"""Script each function once, without torch.jit's own deprecation warning."""

import functools
import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import torch

import torchinit
from torchinit._core import compat


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


def reloaded(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Save a module and load it, with functions of its own."""
    return run_quietly(torch.jit.load, io.BytesIO(module.save_to_buffer()))


def mobile_bytes(module: torch.jit.ScriptModule) -> bytes:
    """Save a module for the mobile (lite) interpreter."""
    return run_quietly(compat.save_mobile, module)


def on_mobile(module: torch.jit.ScriptModule) -> Any:
    """Save a module and load it into the mobile (lite) interpreter."""
    return run_quietly(compat.load_mobile, mobile_bytes(module))


def unoptimized() -> Any:
    """Return a context that runs TorchScript as written; optimizing a long method takes seconds.

    NB: only for loaded modules. A function that first runs in this context is never inlined, and saving any module that
    calls it for the mobile interpreter then fails; a loaded module has functions of its own.
    """
    return torch.jit.optimized_execution(False)
