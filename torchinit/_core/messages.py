"""Warnings, and values formatted for messages, the same in eager and in TorchScript."""

import sys
import warnings
from types import FrameType

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_scripting


def dtype_name(tensor: Tensor) -> str:
    """Name a dtype that is not floating-point; in TorchScript a dtype is an integer and would print as one."""
    names = {
        torch.bool: "torch.bool",
        torch.uint8: "torch.uint8",
        torch.int8: "torch.int8",
        torch.int16: "torch.int16",
        torch.int32: "torch.int32",
        torch.int64: "torch.int64",
        torch.uint16: "torch.uint16",
        torch.uint32: "torch.uint32",
        torch.uint64: "torch.uint64",
        torch.complex32: "torch.complex32",
        torch.complex64: "torch.complex64",
        torch.complex128: "torch.complex128",
        torch.qint8: "torch.qint8",
        torch.quint8: "torch.quint8",
        torch.qint32: "torch.qint32",
    }
    return names.get(tensor.dtype, "an integer dtype")


def format_float(x: float) -> str:
    """Format a float the same in eager and in TorchScript, whose ``str`` gives ``0.10000000000000001``."""
    if not abs(x) >= 0.0:
        # NB: TorchScript prints the sign of a NaN; its x != x folds to false, and its isnan fails on torch 2.6.
        return "nan"
    if 0.0 < abs(x) < 1e-37:
        # NB: TorchScript's %e prints 0 here.
        exponent = 0
        while abs(x) < 1.0:
            x = x * 10.0
            exponent += 1
        return "%fe-%d" % (x, exponent)  # noqa: UP031
    if 0.0 < abs(x) < 1e-4:
        return "%e" % x  # noqa: UP031
    text = ("%f" % x).rstrip("0").rstrip(".")  # noqa: UP031
    # If six decimals are not enough, eager and TorchScript differ.
    return text if abs(x) < 1e16 and float(text) == x else f"{x}"


def _is_ours(frame: FrameType) -> bool:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] == "torchinit"


def outside_level() -> int:
    """Return the ``stacklevel`` of the first frame outside this package, for a warning of the caller."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    return level


def called_function() -> str:
    """Return the name of the function of this package that the user called."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_back):
        frame = frame.f_back
    return frame.f_code.co_name


def warn_user(message: str) -> None:
    """Warn at the user's line, but not under a compiler: a warning breaks its graph."""
    if is_scripting():
        warnings.warn(message, stacklevel=2)
    elif not is_compiling():
        warnings.warn(message, stacklevel=outside_level())


def warn_deprecated(old: str, new: str) -> None:
    message = f"`torchinit.{old}` is now deprecated in favor of `torchinit.{new}`."
    if is_scripting():
        # NB: TorchScript's warnings.warn takes no category.
        warnings.warn(message, stacklevel=2)
    elif not is_compiling():
        warnings.warn(message, FutureWarning, stacklevel=outside_level())
