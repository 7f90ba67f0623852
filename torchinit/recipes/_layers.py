"""The layers of a model and what they say of themselves, alike for eager, scripted, traced and loaded modules."""

import math
from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

# Attention's output projection has a class of its own for the sake of quantization alone.
_ALIASES = {"NonDynamicallyQuantizableLinear": "Linear"}

# Stacks that torch fills with deep copies of one layer.
_CLONING = ("TransformerEncoder", "TransformerDecoder")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


@dataclass(frozen=True)
class Layer:
    """A module with its qualified name, that of the layer that it was cloned from, and what a recipe says it is like."""

    path: str
    module: nn.Module
    source: str | None = None
    like: str = ""

    def _type(self) -> tuple[str, str]:
        """The name of the module's type, which a scripted one keeps as ``original_name``, and that of its package."""
        if isinstance(self.module, torch.jit.ScriptModule):
            package = str(self.module._c._type().qualified_name()).removeprefix("__torch__.")
            return str(self.module.original_name), package
        # NB: fully_shard gives a module a type of its own, of FSDPModule and the type that it had.
        types = type(self.module).__mro__
        kind = types[2 if types[1].__name__ == "FSDPModule" else 0]
        return kind.__name__, f"{kind.__module__}."

    @property
    def kind(self) -> str:
        """The name of the module's type."""
        name, _ = self._type()
        return _ALIASES.get(name, name)

    @property
    def standard(self) -> str:
        """The type of ``torch.nn`` whose default the layer has; empty if it has none."""
        return self.like or (self.kind if self._type()[1].startswith("torch.nn.") else "")

    def qualified(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The module's own parameters, without those of its children."""
        own = [(name, p) for name, p in self.module._parameters.items() if p is not None]
        for name, parameter in own:
            if is_lazy(parameter):
                raise RuntimeError(
                    "a lazy module must have seen an input before it is initialized"
                    f", got an uninitialized {self.qualified(name)}"
                )
        return own

    def attribute(self, name: str, default: Any = None) -> Any:
        """What the module says of itself; a traced one has forgotten, but its graph has not."""
        if hasattr(self.module, name):
            return getattr(self.module, name)
        if isinstance(self.module, torch.jit.ScriptModule):
            for node in _nodes(self.module):
                names = [argument.name for argument in torch._C.parse_schema(node.schema()).arguments]
                if name in names:
                    return node.inputsAt(names.index(name)).toIValue()
        return default

    def fans(self, shape: list[int]) -> tuple[int, int] | None:
        """Count the inputs and outputs of each unit: a transposed layer swaps them, a grouped one divides the outer.

        None for a shape of fewer than two dimensions.
        """
        fans = upstream_fans(shape)
        if fans is None:
            return None
        if len(shape) == 2:
            # The linear layer of transformers' GPT-2 computes x @ weight.
            return (fans[1], fans[0]) if self.kind == "Conv1D" else fans
        groups = self.attribute("groups")
        groups = groups if _is_count(groups) else 1
        if self.attribute("transposed") is True:
            return math.ceil(fans[1] / groups), fans[0]
        return fans[0], math.ceil(fans[1] / groups)


def memory(tensor: Tensor) -> Hashable:
    """Identify the elements that tied parameters share, since a loaded file has another tensor for each name."""
    if type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and tensor.numel() > 0:
        # What torch.func wraps has no memory to ask for.
        with suppress(NotImplementedError):
            return (tensor.untyped_storage()._cdata, tensor.storage_offset(), tensor.numel())
    return id(tensor)


def upstream_fans(shape: list[int]) -> tuple[int, int] | None:
    """Count as ``torch.nn.init`` does, which knows nothing of the layer."""
    if len(shape) < 2:
        return None
    field = 1
    for size in shape[2:]:
        field *= size
    return shape[1] * field, shape[0] * field


def _nodes(module: torch.jit.ScriptModule) -> Iterator[Any]:
    """The operators of a traced module's own graph that tell how the layer was made."""
    if not module._c._has_method("forward"):
        return
    for kind in ("aten::_convolution", "aten::_convolution_mode", "aten::embedding", "aten::embedding_bag"):
        yield from module._c._get_method("forward").graph.findAllNodes(kind)


def walk(module: nn.Module, path: str = "", source: str | None = None) -> Iterator[Layer]:
    """Go through a model as ``Module.apply`` does, children before their parent: the order of construction."""
    layer = Layer(path, module, source)
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
                yield from walk(child, below, None if source is None else f"{source}.{name}")
    yield layer
