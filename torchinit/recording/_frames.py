"""Who called an operator: the line of the user's code, and the initializers that it is part of."""

import dis
import functools
import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from torch import Tensor

from torchinit._core.compat import is_transformed
from torchinit._core.registry import INITIALIZERS

# Upstream's old names, such as normal, are not initializers of their own: each calls the new one.
_NAMES = frozenset(INITIALIZERS)
_VALUES = (bool, int, float, str, type(None))


def outer_frames(stop: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of the current thread from inside to outside, up to ``stop``."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame is not stop:
        yield frame
        frame = frame.f_back


def module_of(frame: FrameType) -> str:
    """Return the name of the module whose code a frame runs."""
    return str(frame.f_globals.get("__name__", ""))


def _is_internal(module: str) -> bool:
    return module.partition(".")[0] in ("torch", "torchinit", "contextlib", "copy")


def place_of(frames: list[FrameType], initializer: FrameType | None = None) -> str:
    """Return the innermost line outside torch, this package and an initializer's call, as ``file:line``."""
    if initializer is not None:
        frames = frames[frames.index(initializer) + 1 :]
    for frame in frames:
        if not _is_internal(module_of(frame)):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return ""


def _is_initializer(frame: FrameType) -> bool:
    """True if a frame's function has an initializer's name, and a tensor as its first argument."""
    code = frame.f_code
    if code.co_name not in _NAMES:
        return False
    first = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
    return isinstance(first, Tensor) and not is_transformed(first)


def initializer_frames(frames: list[FrameType]) -> tuple[FrameType | None, FrameType | None]:
    """Find the outermost frame of upstream's or this package's initializers, and that of any initializer.

    A library's own ``lecun_normal_`` is an initializer by its name and its first argument.
    """
    own = any_frame = None
    for frame in frames:
        if _is_initializer(frame):
            any_frame = frame
            module = module_of(frame)
            if module == "torch.nn.init" or module.startswith("torchinit."):
                own = frame
    return own, any_frame


@functools.cache
def _reassigned(code: CodeType) -> frozenset[str]:
    """Return the variables that a function assigns; such an argument is no longer what the caller gave."""
    stores = (x.argval for x in dis.get_instructions(code) if "STORE_FAST" in x.opname)
    # From Python 3.13 on, one instruction may have two variables.
    return frozenset(name for found in stores for name in (found if isinstance(found, tuple) else (found,)))


def arguments(frame: FrameType) -> tuple[Tensor, dict[str, Any], dict[str, Any]]:
    """Return the tensor that an initializer fills, its other arguments, and their defaults.

    Arguments that the function has assigned, and those that are no plain values, are left out.
    """
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    values = frame.f_locals
    known = [name for name in names[1:] if name in values and name not in _reassigned(code)]
    given = {name: values[name] for name in known if isinstance(values[name], _VALUES)}
    given.pop("generator", None)
    function = frame.f_globals.get(code.co_name)
    defaults = {}
    if callable(function):
        parameters = inspect.signature(function).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return values[names[0]], given, {name: value for name, value in defaults.items() if isinstance(value, _VALUES)}
