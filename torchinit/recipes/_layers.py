"""The layers of a model, seen the same way in eager, scripted, traced and loaded modules."""

from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchinit._core import compat, modules
from torchinit._core.fans import fans

# Stacks that torch fills with deep copies of one layer.
_CLONING = ("TransformerEncoder", "TransformerDecoder")


@dataclass(frozen=True)
class Layer:
    """A module, its qualified name, the name of the layer that it clones, and the type whose default a rule gives it.

    ``seen`` are its parameters as a recipe sees them, if those differ from the module's own, and ``effective`` its
    parametrized weights. ``owner`` is the module whose weights they are, if a parametrization stores them.
    """

    path: str
    module: nn.Module
    source: str | None = None
    like: str = ""
    seen: tuple[tuple[str, nn.Parameter], ...] | None = None
    effective: tuple[tuple[str, nn.Parameter], ...] = ()
    owner: nn.Module | None = None

    @cached_property
    def kind(self) -> str:
        """Return the name of the module's type."""
        return modules.kind_of(self.module)

    @cached_property
    def standard(self) -> str:
        """Return the type of ``torch.nn`` whose default the layer has; empty if it has none."""
        return self.like or (self.kind if modules.package_of(self.module)[1].startswith("torch.nn.") else "")

    def qualified(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Return the module's own parameters, without those of its children."""
        if self.seen is not None:
            return list(self.seen)
        own = [(name, p) for name, p in self.module._parameters.items() if p is not None]
        for name, parameter in own:
            if is_lazy(parameter):
                raise RuntimeError(
                    "a lazy module must have seen an input before it is initialized"
                    f", got an uninitialized {self.qualified(name)}"
                )
        return own

    def named(self) -> dict[str, nn.Parameter]:
        """Return the parameters by name, with the effective weights, whatever rules name them by."""
        return {**dict(self.effective), **dict(self.parameters())}

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute of the module, even if it was traced."""
        return modules.attribute(self.module, name, default)

    def fans(self, shape: list[int]) -> tuple[int, int] | None:
        """Count the fans by what the layer does; None for fewer than two dimensions."""
        return fans(shape, *modules.orientation(self.owner or self.module, shape)) if len(shape) >= 2 else None


def storage_key(tensor: Tensor) -> Hashable:
    """Return a key that tied parameters share; a loaded file has a tensor object for each name."""
    if type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and tensor.numel() > 0:
        # A tensor that torch.func wraps has no storage.
        with suppress(NotImplementedError):
            return (compat.storage_id(tensor), tensor.storage_offset(), tensor.numel())
    return id(tensor)


def upstream_fans(shape: list[int]) -> tuple[int, int] | None:
    """Count the fans as ``torch.nn.init`` does, by the shape alone; None for fewer than two dimensions."""
    return fans(shape) if len(shape) >= 2 else None


def walk(
    module: nn.Module,
    path: str = "",
    source: str | None = None,
    owner: nn.Module | None = None,
    parametrized: nn.Module | None = None,
) -> Iterator[Layer]:
    """Yield the layers as ``Module.apply`` visits them, children before their parent: the order of construction.

    ``owner`` is the layer's; ``parametrized`` is that of the layer's children.
    """
    stores = owner is not None and not {"original", "original0"}.isdisjoint(module._parameters.keys())
    layer = Layer(path, module, source, owner=owner if stores else None)
    for name, child in module._modules.items():
        if child is not None:
            below = layer.qualified(name)
            if layer.standard in _CLONING and name == "layers":
                for index, clone in child._modules.items():
                    origin = None if index == "0" else f"{below}.0"
                    if clone is not None:
                        yield from walk(clone, f"{below}.{index}", origin)
                yield Layer(below, child)
            else:
                origin = None if source is None else f"{source}.{name}"
                yield from walk(child, below, origin, parametrized, module if name == "parametrizations" else None)
    yield layer
