"""Methods defined on a copy of a TorchScript module, as recipes and recordings attach them."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from torchinit._core import compat, torchscript
from torchinit._core.table import first_line

METHOD = "reset_parameters"
KEYED_METHOD = "reset_parameters_keyed"


def unwrap_optional(parameter: Tensor | None) -> Tensor:
    """Tell TorchScript that an optional parameter, such as a bias, is not None."""
    assert parameter is not None
    return parameter


def expression(name: str) -> str:
    """Write a qualified name as TorchScript; its parts need not be identifiers."""
    if not name.isascii():
        # NB: TorchScript writes such a name, but cannot read it back.
        raise RuntimeError(f"a name that is not ASCII, {name}")
    text = "self"
    for part in name.split("."):
        text = f"getattr({text}, {part!r})"
    return f"unwrap_optional({text})"


def signature(mobile: bool) -> str:
    """Write the first line of the method that draws from a generator, or for ``mobile`` from a seed."""
    argument = "seed: Optional[int]" if mobile else "generator: Optional[Generator]"
    return f"def {METHOD}(self, {argument} = None) -> None:\n"


def check_module(module: torch.jit.ScriptModule) -> None:
    """Raise if the methods cannot be attached to a module."""
    if not isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            f"a method can be attached to a TorchScript module only, got {type(module).__name__};"
            " script or trace it first"
        )
    for method in (METHOD, KEYED_METHOD):
        if hasattr(module, method):
            raise RuntimeError(f"the module must not have a {method} yet, got {module.original_name}, which has one")


def refuse_frozen(module: torch.jit.ScriptModule) -> None:
    """Raise if a module has no parameters."""
    if not list(module.named_parameters()):
        raise RuntimeError(
            f"the module must have parameters, got {module.original_name} without any; a frozen module has none left:"
            f' attach first, then freeze with preserved_attrs=["{METHOD}"]'
        )


@contextmanager
def readable_back() -> Iterator[None]:
    """Silence TorchScript in a block, and say in one line why it cannot save a module or read it back."""
    try:
        with torchscript.silenced():
            yield
    except (RuntimeError, UnicodeDecodeError) as error:
        # torch puts the reason below a blank line.
        reason = first_line(str(error))
        raise RuntimeError(f"the module must survive being saved and read back, got {reason}") from error


def with_methods(
    module: torch.jit.ScriptModule,
    source: str,
    names: Mapping[str, Any],
    attributes: Mapping[str, tuple[Any, Any]] | None = None,
) -> torch.jit.ScriptModule:
    """Define methods on a copy read from a file; modules scripted from one class share one type.

    Args:
        module: the module
        source: the methods as TorchScript
        names: the functions that they call, besides :func:`unwrap_optional`
        attributes: what they read from the module: a type and a value for each name
    """
    copy: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(module.save_to_buffer()))  # type: ignore[no-untyped-call]
    for name, (kind, value) in (attributes or {}).items():
        compat.add_attribute(copy, name, kind, value)
    compat.define(copy, source, {"unwrap_optional": unwrap_optional, **names})
    return copy
