"""Types and attributes of modules: eager, scripted, traced or loaded."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from torchinit._core.compat import forward_operators, qualified_type

# The output projection of attention has its own class only for quantization.
_ALIASES = {"NonDynamicallyQuantizableLinear": "Linear"}

# The name of a parametrized module's type begins with this.
_PARAMETRIZED = "Parametrized"


def package_of(module: nn.Module) -> tuple[str, str]:
    """Return the name of a module's type, and its qualified module."""
    if isinstance(module, torch.jit.ScriptModule):
        package = qualified_type(module)
        return unparametrized(str(module.original_name), package), package
    types = type(module).__mro__
    # NB: fully_shard gives a module a new type that inherits from FSDPModule and the original type, and a
    # parametrization one that inherits from the original type alone.
    while types[1].__name__ == "FSDPModule" or _is_parametrized(types[0]):
        types = types[1 if _is_parametrized(types[0]) else 2 :]
    return types[0].__name__, f"{types[0].__module__}."


def unparametrized(name: str, package: str) -> str:
    """Return the name of the type that a parametrization has replaced; ``package`` begins with the type's module."""
    return name.removeprefix(_PARAMETRIZED) if package.startswith(f"{parametrize.__name__}.") else name


def _is_parametrized(kind: type) -> bool:
    return kind.__module__ == parametrize.__name__ and kind.__name__.startswith(_PARAMETRIZED)


def shown_kind(module: nn.Module) -> str:
    """Return the name of a module's type as the module prints it, also if a parametrization has made the type."""
    own = str(module.original_name) if isinstance(module, torch.jit.ScriptModule) else type(module).__name__
    return own if own == f"{_PARAMETRIZED}{package_of(module)[0]}" else kind_of(module)


def kind_of(module: nn.Module) -> str:
    """Return the name of a module's type, with aliases resolved."""
    return plain_kind(package_of(module)[0])


def plain_kind(name: str) -> str:
    """Resolve the alias of a type's name."""
    return _ALIASES.get(name, name)


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


def orientation(module: nn.Module, shape: list[int]) -> tuple[int, bool]:
    """Return the groups of a module with a weight of this shape, and whether it is transposed."""
    if len(shape) == 2:
        # The linear layer of transformers' GPT-2 computes x @ weight.
        return 1, kind_of(module) == "Conv1D"
    groups = attribute(module, "groups")
    divides = isinstance(groups, int) and not isinstance(groups, bool) and groups > 0 and shape[0] % groups == 0
    return groups if divides else 1, attribute(module, "transposed") is True
