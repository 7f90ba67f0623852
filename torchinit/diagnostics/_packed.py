"""The weights that torch's quantized layers pack into objects, in a state dict and in a module."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# Where torch's quantized layers and cells keep a weight, or a weight and a bias.
_PACKED = re.compile(r"(?:_packed_params\.)?_packed_(?:params|weight)(_ih|_hh)?$")
_ATTRIBUTES = ("_packed_params", "_packed_weight", "_packed_weight_ih", "_packed_weight_hh")


def _unpacked(name: str, packed: Any) -> dict[str, Tensor]:
    """Name the weight and the bias of a quantized layer after it; empty if ``packed`` is something else."""
    match = _PACKED.search(name)
    if match is None:
        return {}
    both = zip(("weight", "bias"), packed if isinstance(packed, tuple) else (packed,), strict=False)
    layer, cell = name[: match.start()], match[1] or ""
    return {f"{layer}{own}{cell}": tensor for own, tensor in both if isinstance(tensor, Tensor)}


def unpacked(state_dict: Mapping[Any, Any]) -> dict[Any, Any]:
    """Replace the packed parameters of a state dict by the weights and biases in them."""
    found: dict[Any, Any] = {}
    for name, value in state_dict.items():
        own = _unpacked(name, value) if isinstance(name, str) and "_packed_" in name else {}
        if not own and not _says_nothing(name, value):
            own = {name: value}
        found |= own
    return found


def _says_nothing(name: Any, value: Any) -> bool:
    """True for the type beside packed values, and for a quantized convolution's bias that is None."""
    if not isinstance(name, str):
        return False
    return (isinstance(value, torch.dtype) and "_packed_" in name) or (value is None and name.endswith(".bias"))


def tensors_of(state_dict: Mapping[Any, Any]) -> dict[Any, Tensor]:
    """Keep the tensors of a state dict, those of packed parameters as well."""
    return {name: value for name, value in unpacked(state_dict).items() if isinstance(value, Tensor)}


def _packed_in(layer: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the packed parameters that a layer holds, each with its name there."""
    for name in _ATTRIBUTES:
        yield name, getattr(layer, name, None)
    cell = getattr(layer, "param", None)
    if isinstance(cell, torch.ScriptObject) and not hasattr(cell, "unpack"):
        # The state of a dynamically quantized LSTM or GRU ends with its packed parameters.
        state: Any = cell.__getstate__()
        if isinstance(state, tuple) and str(state[-1]).endswith(".rnn.CellParamsBase"):
            yield from zip(_ATTRIBUTES[2:], state[0][-1], strict=False)


def packed_weights(module: nn.Module) -> dict[str, Tensor]:
    """Find the weights and biases that the quantized layers of a module pack, by the names of these layers."""
    found: dict[str, Tensor] = {}
    for path, layer in module.named_modules():
        for name, packed in _packed_in(layer):
            if isinstance(packed, torch.ScriptObject) and hasattr(packed, "unpack"):
                found |= _unpacked(f"{path}.{name}" if path else name, packed.unpack())
    return found
