"""Types and attributes of modules: eager, scripted, traced, loaded or exported."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from torchinit._core.compat import forward_operators, qualified_type

_ALIASES = {
    # The output projection of attention has its own class only for quantization.
    "NonDynamicallyQuantizableLinear": "Linear",
    # Bases of the layers for one, two and three dimensions, which do not differ in their parameters.
    "_BatchNorm": "BatchNorm2d",
    "_InstanceNorm": "InstanceNorm2d",
}

# The name of a parametrized module's type begins with this.
_PARAMETRIZED = "Parametrized"


def full_type(module: nn.Module) -> str:
    """Return the name of a module's type with its package, such as ``timm.layers.norm.LayerNorm2d``."""
    if isinstance(module, torch.jit.ScriptModule):
        package = re.sub(r"\.___torch_mangle_\d+", "", qualified_type(module).rpartition(".")[0])
        return f"{package}.{unparametrized(str(module.original_name), package)}".lstrip(".")
    kind = own_class(module)
    return f"{kind.__module__}.{kind.__name__}".lstrip(".")


def own_class(module: nn.Module) -> type:
    """Return the class that a module was made from."""
    types = type(module).__mro__
    # NB: fully_shard gives a module a new type that inherits from FSDPModule and the original type, and a
    # parametrization one that inherits from the original type alone.
    while types[1].__name__ == "FSDPModule" or _is_parametrized(types[0]):
        types = types[1 if _is_parametrized(types[0]) else 2 :]
    return types[0]


def unparametrized(name: str, package: str) -> str:
    """Return the name of the type that a parametrization has replaced; ``package`` is the type's module."""
    return name.removeprefix(_PARAMETRIZED) if package.startswith(parametrize.__name__) else name


def _is_parametrized(kind: type) -> bool:
    return kind.__module__ == parametrize.__name__ and kind.__name__.startswith(_PARAMETRIZED)


def shown_kind(module: nn.Module) -> str:
    """Return the name of a module's type as the module prints it, also if a parametrization has made the type."""
    own = str(module.original_name) if isinstance(module, torch.jit.ScriptModule) else type(module).__name__
    return own if own == f"{_PARAMETRIZED}{full_type(module).rpartition('.')[2]}" else kind_of(module)


def kind_of(module: nn.Module) -> str:
    """Return the name of a module's type, with aliases resolved."""
    return plain_kind(full_type(module))


def plain_kind(name: str) -> str:
    """Return the name of a type without its package, with aliases resolved."""
    name = name.rpartition(".")[2]
    return _ALIASES.get(name, name)


def torch_class(module: nn.Module) -> type | None:
    """Return the layer of ``torch.nn`` that a module is or inherits from; None without one."""
    own = (kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.modules."))
    found = next(own, nn.Module)
    return None if found is nn.Module else found


def attribute(module: nn.Module, name: str, default: Any = None) -> Any:
    """Return an attribute of a module; a traced one has it only as an argument in its graph."""
    if hasattr(module, name):
        return getattr(module, name)
    if isinstance(module, torch.jit.ScriptModule):
        for kind in ("aten::_convolution", "aten::_convolution_mode", "aten::embedding", "aten::embedding_bag"):
            for node, arguments in forward_operators(module, kind):
                if name in arguments:
                    return node.inputsAt(arguments.index(name)).toIValue()
    return default


def orientation(kind: str, attribute: Callable[[str], Any], shape: list[int]) -> tuple[int, bool]:
    """Return the groups of a layer with a weight of this shape, and whether it is transposed.

    Args:
        kind: the name of its type
        attribute: returns an attribute of the layer by name, None if it has none
        shape: the shape of the weight
    """
    if len(shape) == 2:
        # The linear layer of transformers' GPT-2 computes x @ weight.
        return 1, kind == "Conv1D"
    groups = attribute("groups")
    divides = isinstance(groups, int) and not isinstance(groups, bool) and groups > 0 and shape[0] % groups == 0
    return groups if divides else 1, attribute("transposed") is True
