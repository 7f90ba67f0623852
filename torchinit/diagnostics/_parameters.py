"""The parameters of a module or a state dict, tied ones once, each with its layer."""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchinit._core.table import first_line
from torchinit.recipes._layers import Layer, storage_key, walk

# Buffers of normalization layers; no initializer fills them.
_RUNNING = ("running_mean", "running_var")

# Integers that are weights by name, and tables that are not; int64 is for indices.
_PACKED = re.compile(r"(^|_)q?weight$|(^|_)qzeros$|packed$")
_TABLE = re.compile(r"mask|bias$|ind(ex|ices)|(^|_)ids?$")

# Deeper names would exhaust Python's stack when the modules are walked.
_MAX_DEPTH = 100


@dataclass
class Parameter:
    """A parameter, the layer that it belongs to, its name there, and its other qualified names."""

    name: str
    layer: Layer
    own: str
    tensor: Tensor
    tied: list[str] = field(default_factory=list)

    def fans(self) -> tuple[int, int] | None:
        """Count fan_in and fan_out by what the layer does; None for fewer than two dimensions or no elements."""
        fans = self.layer.fans(list(self.tensor.shape))
        return fans if fans is not None and min(fans) > 0 else None


def parameters(model: nn.Module) -> list[Parameter]:
    """List the parameters in the order of ``named_parameters``, tied ones once."""
    layers = {layer.qualified(own): (layer, own) for layer in walk(model) for own, _ in layer.parameters()}
    found: dict[Hashable, Parameter] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        key = storage_key(tensor)
        if key in found:
            found[key].tied.append(name)
        else:
            found[key] = Parameter(name, *layers[name], tensor)
    return list(found.values())


def fault_of(state_dict: Mapping[Any, Any]) -> str | None:
    """Describe the first entry that is not a dotted name with a tensor, or None; ``_extra_state`` may be anything."""
    for name, value in state_dict.items():
        if not isinstance(name, str) or "" in name.split(".") or name.count(".") >= _MAX_DEPTH:
            return f"{first_line(repr(name))[:80]} for a dotted name"
        if not isinstance(value, Tensor) and not name.endswith("_extra_state"):
            return f"{type(value).__name__} for a tensor at {first_line(repr(name))}"
    return None


def is_parameter(leaf: str, tensor: Tensor) -> bool:
    """True if a tensor of this name in its layer is to be measured: not for running statistics, masks or indices."""
    if isinstance(tensor, nn.Parameter):
        return True
    if tensor.is_floating_point() or tensor.is_complex():
        return leaf not in _RUNNING
    if _PACKED.search(leaf):
        return True
    return tensor.dim() >= 2 and tensor.dtype not in (torch.bool, torch.int64) and not _TABLE.search(leaf)


def module_of(state_dict: Mapping[str, Any]) -> nn.Module:
    """Build a tree of plain modules that has the parameters and buffers of a state dict.

    Raises:
        ValueError: if a name is not dotted or a value is not a tensor
    """
    fault = fault_of(state_dict)
    if fault is not None:
        raise ValueError(f"a state dict must map dotted names to tensors, got {fault}")
    root, known = nn.Module(), dict[Hashable, nn.Parameter]()
    for name, tensor in state_dict.items():
        if not isinstance(tensor, Tensor):
            continue
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        *path, leaf = name.split(".")
        module = root
        for part in path:
            # NB: register_module refuses names that a module has as attributes, such as "type".
            module = module._modules.setdefault(part, nn.Module())  # type: ignore[assignment]
        if is_parameter(leaf, tensor):
            fresh = nn.Parameter(tensor.detach(), requires_grad=False)
            module._parameters[leaf] = known.setdefault((storage_key(tensor), tensor.shape, tensor.stride()), fresh)
        else:
            module._buffers[leaf] = tensor
    return root
