"""The layers of a model, seen the same way in eager, scripted, traced, loaded and exported modules."""

import copy
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchinit._core import compat, modules
from torchinit._core.exported import Told, is_exported, told_layers
from torchinit._core.fans import fans
from torchinit._core.wrappers import is_wrapped
from torchinit.recipes._structure import DENSE, type_by_structure

# Stacks that torch fills with deep copies of one layer.
_CLONING = ("TransformerEncoder", "TransformerDecoder")

# Layers of torch with weights of three dimensions that no kernel has.
_FLAT = ("Bilinear", "MultiheadAttention")


@dataclass(frozen=True)
class Layer:
    """A module and its qualified name.

    Args:
        path: its qualified name
        plain: that name without the parts that wrappers such as ``DistributedDataParallel`` add
        module: the module
        source: the name of the layer that it clones
        like: the type of ``torch.nn`` whose default a rule gives it
        told: what the graph of an exported module says of it
        seen: its parameters as a recipe sees them, if those differ from the module's own
        effective: its parametrized weights
        owner: the layer whose weights they are, if a parametrization stores them
    """

    path: str
    module: nn.Module
    source: str | None = None
    like: str = ""
    told: Told | None = None
    plain: str = ""
    seen: tuple[tuple[str, nn.Parameter], ...] | None = None
    effective: tuple[tuple[str, nn.Parameter], ...] = ()
    owner: "Layer | None" = None

    @cached_property
    def full_type(self) -> str:
        """The name of the module's type with its package."""
        return self.told.type if self.told is not None and self.told.type else modules.full_type(self.module)

    @cached_property
    def kind(self) -> str:
        """The name of the module's type."""
        return modules.plain_kind(self.full_type)

    @cached_property
    def standard(self) -> str:
        """The type of ``torch.nn`` that the layer is or inherits from; empty if there is none.

        TorchScript and exported modules forget the bases of their types; there the type's name and the shapes decide.
        """
        if self.like:
            return self.like
        if self.told is None and not isinstance(self.module, torch.jit.ScriptModule):
            base = modules.torch_class(self.module)
            return "" if base is None else modules.plain_kind(base.__name__)
        if self.full_type.startswith("torch.nn."):
            return self.kind
        return type_by_structure(self.kind, self.module)

    @cached_property
    def is_torchs(self) -> bool:
        """True for a layer of ``torch.nn`` itself, and one that a rule takes for it."""
        return bool(self.like) or self.full_type.startswith("torch.nn.")

    @cached_property
    def resets_itself(self) -> bool:
        """True for a subclass of a layer of ``torch.nn`` that has a ``reset_parameters`` of its own."""
        base = None if self.is_torchs else modules.torch_class(self.module)
        own = getattr(type(self.module), "reset_parameters", None)
        return base is not None and own is not getattr(base, "reset_parameters", None)

    @property
    def kinds(self) -> tuple[str, str]:
        """The names of types by which a rule may call the layer."""
        return self.kind, self.standard

    def qualified(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def with_weights(self, **fields: Any) -> "Layer":
        """Return the layer with other ``seen``, ``effective`` or ``owner``, and what it knows of its type already."""
        layer = copy.copy(self)
        vars(layer).update(fields)
        return layer

    def child(self, name: str, module: nn.Module, told: Mapping[str, Told]) -> "Layer":
        """Return the layer of a child module."""
        path = self.qualified(name)
        source = None if self.source is None else f"{self.source}.{name}"
        plain = self.plain if is_wrapped(self.module, name) else f"{self.plain}.{name}".lstrip(".")
        return Layer(path, module, source, told=told.get(path), plain=plain)

    def plain_name(self, name: str) -> str:
        """Return the qualified name of an own tensor without the parts that wrappers add."""
        return f"{self.plain}.{name}".lstrip(".")

    def names(self, name: str) -> tuple[str, ...]:
        """Return the qualified name of a tensor, and the one without wrappers if it differs."""
        return tuple(dict.fromkeys((self.qualified(name), self.plain_name(name))))

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
        """Return an attribute of the module, even if it was traced or exported."""
        if self.told is not None and name in self.told.attributes:
            return self.told.attributes[name]
        return modules.attribute(self.module, name, default)

    def fans(self, shape: list[int], transposed: bool = False) -> tuple[int, int] | None:
        """Count the fans of a weight by what the layer does, or as stored (in, out); None below two dimensions."""
        if len(shape) < 2:
            return None
        if self.owner is not None:
            return self.owner.fans(shape, transposed)
        groups, swapped = modules.orientation(self.kind, self.attribute, shape)
        return fans(shape, groups, transposed or swapped)

    def knows_fans(self, shape: list[int]) -> bool:
        """True if a weight of this shape has the fans of its layer; more than two dimensions may not be a kernel's."""
        if self.owner is not None:
            return self.owner.knows_fans(shape)
        return len(shape) <= 2 or self.is_convolution or self.standard in _FLAT

    @cached_property
    def is_convolution(self) -> bool:
        """True for a layer that looks like a convolution, whose weight ends in the sizes of a kernel."""
        return (
            "conv" in self.kind.lower()
            or self.standard in DENSE
            or any(self.attribute(name) is not None for name in ("kernel_size", "groups"))
        )


def storage_key(tensor: Tensor) -> Hashable:
    """Return a key that tied parameters share; a loaded file has a tensor object for each name."""
    if type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and tensor.numel() > 0:
        # A tensor that torch.func wraps has no storage.
        with suppress(NotImplementedError):
            return (compat.storage_id(tensor), tensor.storage_offset(), tensor.numel())
    return id(tensor)


def upstream_fans(shape: list[int], transposed: bool = False) -> tuple[int, int] | None:
    """Count the fans as ``torch.nn.init`` does, by the shape alone; None for fewer than two dimensions."""
    return fans(shape, 1, transposed) if len(shape) >= 2 else None


def walk(module: nn.Module) -> Iterator[Layer]:
    """Yield the layers as ``Module.apply`` visits them, children before their parent: the order of construction."""
    yield from _walk(Layer("", module), told_layers(module) if is_exported(module) else {})


def _walk(layer: Layer, told: Mapping[str, Told], parametrized: Layer | None = None) -> Iterator[Layer]:
    """Yield the layers below a layer, then itself; ``parametrized`` is the layer that a parametrization is for."""
    for name, child in layer.module._modules.items():
        if child is None:
            continue
        below = layer.child(name, child, told)
        if parametrized is not None and not {"original", "original0"}.isdisjoint(child._parameters.keys()):
            below = below.with_weights(owner=parametrized)
        if layer.standard in _CLONING and name == "layers":
            for index, clone in child._modules.items():
                if clone is not None:
                    source = None if index == "0" else below.qualified("0")
                    yield from _walk(replace(below.child(index, clone, told), source=source), told)
            yield below
        else:
            yield from _walk(below, told, layer if name == "parametrizations" else None)
    yield layer
