"""Modules whose methods are the initializers, gain, fans and keys, defined from the signatures of the functions."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import torchinit
from torchinit import keyed
from torchinit._core import compat, torchscript
from torchinit._core.registry import EXTRAS, INITIALIZERS, UPSTREAM

# A module is one namespace: a keyed method has this prefix before its sibling's name.
PREFIX = "keyed_"
# TorchScript's spelling of a type. C++ and mobile have no Union: a number is a float.
_SPELLING = {"torch.Tensor": "Tensor", "torch._C.Generator": "Generator", "int | float | None": "float | None"}


def methods() -> dict[str, Callable[..., Any]]:
    """Map each method of a bundle to the function that it calls, in the order of the header's table."""
    own = {entry.name: entry.function for entry in UPSTREAM + EXTRAS if entry.family != "_core.writes"}
    keys: dict[str, Callable[..., Any]] = {
        "key": keyed.key,
        "split": keyed.split,
        "fold_in": keyed.fold_in,
        "fold_in_name": keyed.fold_in,
    }
    drawn = {PREFIX + name: getattr(keyed, name) for name, entry in INITIALIZERS.items() if entry.draws}
    return own | keys | drawn


def _head(method: str, function: Callable[..., Any], mobile: bool) -> str:
    parameters = ", ".join(map(str, inspect.signature(function).parameters.values())).replace("'", '"')
    # fold_in takes a number or a name and becomes two methods.
    spelling = {**_SPELLING, "int | str": "str" if method.endswith("_name") else "int"}
    for python, script in spelling.items():
        parameters = parameters.replace(python, script)
    if mobile:
        parameters = parameters.replace("generator: Generator", "seed: int")
    return f"{method}(self, {parameters})"


def source(method: str, function: Callable[..., Any], mobile: bool = False) -> str:
    """Write a method that calls a function; the mobile interpreter has no generator, so it takes a seed instead."""
    names = ", ".join(inspect.signature(function).parameters)
    passed = names.replace("generator", "seeded(tensor, seed)") if mobile else names
    return f"def {_head(method, function, mobile)}:\n    return {method}({passed})\n"


def interface() -> str:
    """Compute a digest of the release and every signature, by which a header detects an archive of another release."""
    heads = [_head(name, function, mobile) for name, function in methods().items() for mobile in (False, True)]
    return hashlib.sha256("\n".join([torchinit.__version__, *heads]).encode()).hexdigest()[:16]


class Bundle(nn.Module):
    """The methods for C++ and Python."""

    interface: str

    def __init__(self) -> None:
        super().__init__()
        self.interface = interface()


class MobileBundle(Bundle):
    """The methods for the mobile interpreter, with a seed instead of a generator."""


def _scripted(module: Bundle) -> torch.jit.ScriptModule:
    mobile = isinstance(module, MobileBundle)
    with torchscript.silenced():
        made: torch.jit.ScriptModule = torch.jit.script(module)
        # Modules of one class share a type, which has the methods after the first time.
        if not hasattr(made, PREFIX + "uniform_"):
            called = methods()
            text = "".join(source(name, function, mobile) for name, function in called.items())
            compat.define(made, text, {**called, "seeded": torchscript.seeded})
    return made


def bundle() -> torch.jit.ScriptModule:
    """Script a module that exports each initializer, :func:`torchinit.calculate_gain` and the fan functions as methods.

    A method has its function's name, arguments and defaults, except that ``param`` of ``calculate_gain`` is
    ``Optional[float]``. In C++, load the saved file with ``torch::jit::load``, or through ``torchinit/init.h``.

    Returns:
        the scripted module, without parameters

    Examples:
        >>> module = torchinit.deploy.bundle()
        >>> w = module.kaiming_uniform_(torch.empty(3, 5), nonlinearity="relu")
        >>> bool((w.abs() <= (6 / 5) ** 0.5).all())
        True
    """
    return _scripted(Bundle())


def mobile_bundle() -> torch.jit.ScriptModule:
    """Script the same module for the mobile interpreter, which takes no generator.

    The methods take ``seed: Optional[int]`` instead, and draw from a new generator with that seed on the tensor's
    device. Without a seed they draw from the global generator. Save the module with ``_save_for_lite_interpreter``, and
    load the file with ``torch::jit::_load_for_mobile``.

    Returns:
        the scripted module, without parameters

    Examples:
        >>> module = torchinit.deploy.mobile_bundle()
        >>> w = module.normal_(torch.empty(4), seed=5)
        >>> torch.equal(w, torchinit.normal_(torch.empty(4), generator=torch.Generator().manual_seed(5)))
        True
    """
    return _scripted(MobileBundle())
