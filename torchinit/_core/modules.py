"""What a module says of itself, alike for eager, scripted, traced and loaded ones."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from torchinit._core.compat import schema_arguments

# Attention's output projection has a class of its own for the sake of quantization alone.
_ALIASES = {"NonDynamicallyQuantizableLinear": "Linear"}


def package_of(module: nn.Module) -> tuple[str, str]:
    """Return the name of a module's type, which a scripted one keeps as ``original_name``, and that of its package."""
    if isinstance(module, torch.jit.ScriptModule):
        return str(module.original_name), str(module._c._type().qualified_name()).removeprefix("__torch__.")
    # NB: fully_shard gives a module a type of its own, of FSDPModule and the type that it had.
    types = type(module).__mro__
    kind = types[2 if types[1].__name__ == "FSDPModule" else 0]
    return kind.__name__, f"{kind.__module__}."


def kind_of(module: nn.Module) -> str:
    """Return the name of a module's type as one would write it."""
    name, _ = package_of(module)
    return _ALIASES.get(name, name)


def attribute(module: nn.Module, name: str, default: Any = None) -> Any:
    """Return what a module says of itself; a traced one has forgotten, but its graph has not."""
    if hasattr(module, name):
        return getattr(module, name)
    if isinstance(module, torch.jit.ScriptModule):
        for node in _nodes(module):
            names = schema_arguments(node.schema())
            if name in names:
                return node.inputsAt(names.index(name)).toIValue()
    return default


def orientation(module: nn.Module, shape: list[int]) -> tuple[int, bool]:
    """Return the groups that a module divides its weight of this shape into, and whether it is transposed."""
    if len(shape) == 2:
        # The linear layer of transformers' GPT-2 computes x @ weight.
        return 1, kind_of(module) == "Conv1D"
    groups = attribute(module, "groups")
    divides = isinstance(groups, int) and not isinstance(groups, bool) and groups > 0 and shape[0] % groups == 0
    return groups if divides else 1, attribute(module, "transposed") is True


def _nodes(module: torch.jit.ScriptModule) -> Iterator[Any]:
    """Find the operators of a traced module's own graph that tell how the layer was made."""
    if not module._c._has_method("forward"):
        return
    for kind in ("aten::_convolution", "aten::_convolution_mode", "aten::embedding", "aten::embedding_bag"):
        yield from module._c._get_method("forward").graph.findAllNodes(kind)
