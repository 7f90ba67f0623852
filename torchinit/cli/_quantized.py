"""Find the quantized weights of a model, and describe rows of integers."""

import re
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from torchinit.diagnostics import ParameterStatistics
from torchinit.diagnostics._parameters import is_parameter

# Where torch's quantized layers and cells keep a weight, or a weight and a bias.
_PACKED = re.compile(r"(?:_packed_params\.)?_packed_(?:params|weight)(_ih|_hh)?$")
_ATTRIBUTES = ("_packed_params", "_packed_weight", "_packed_weight_ih", "_packed_weight_hh")

# Names of what scales or maps integers: GPTQ, AWQ, compressed-tensors, bitsandbytes, DeepSeek's float8.
SCALE = re.compile(r"(^|[._])(scales?(_inv|_\d)?|absmax|SCB|zero_?points?|zeros|(nested_)?quant_map)$")


def _unpacked(name: str, packed: Any) -> dict[str, Tensor]:
    """Name the weight and the bias of a quantized layer after it; empty if ``packed`` is something else."""
    match = _PACKED.search(name)
    if match is None:
        return {}
    both = zip(("weight", "bias"), packed if isinstance(packed, tuple) else (packed,), strict=False)
    layer, cell = name[: match.start()], match[1] or ""
    return {f"{layer}{own}{cell}": tensor for own, tensor in both if isinstance(tensor, Tensor)}


def tensors_of(state_dict: Mapping[Any, Any]) -> dict[Any, Tensor]:
    """Keep the tensors of a state dict, those of packed parameters as well."""
    tensors: dict[Any, Tensor] = {}
    for name, value in state_dict.items():
        unpacked = _unpacked(name, value) if isinstance(name, str) and "_packed_" in name else {}
        if not unpacked and isinstance(value, Tensor):
            unpacked = {name: value}
        tensors |= unpacked
    return tensors


def _packed_in(layer: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the packed parameters that a scripted layer holds, each with its name there."""
    for name in _ATTRIBUTES:
        yield name, getattr(layer, name, None)
    cell = getattr(layer, "param", None)
    if isinstance(cell, torch.ScriptObject) and not hasattr(cell, "unpack"):
        # The state of a dynamically quantized LSTM or GRU ends with its packed parameters.
        state: Any = cell.__getstate__()
        if isinstance(state, tuple) and str(state[-1]).endswith(".rnn.CellParamsBase"):
            yield from zip(_ATTRIBUTES[2:], state[0][-1], strict=False)


def unlisted(module: torch.jit.ScriptModule) -> dict[str, Tensor]:
    """Find weights that are no parameters of a TorchScript module: packed ones, and buffers of integers."""
    found = {
        name: buffer
        for name, buffer in module.named_buffers()
        if not buffer.is_floating_point() and is_parameter(name.rpartition(".")[2], buffer)
    }
    for path, layer in module.named_modules():
        for name, packed in _packed_in(layer):
            if isinstance(packed, torch.ScriptObject) and hasattr(packed, "unpack"):
                found |= _unpacked(f"{path}.{name}" if path else name, packed.unpack())
    return found


def _is_integer(row: ParameterStatistics) -> bool:
    return not (row.dtype.is_floating_point or row.dtype.is_complex)


def _stored_verdict(row: ParameterStatistics, names: Collection[str]) -> str | None:
    """Say what the numbers of a quantized model are, if they are not its weights."""
    if SCALE.search(row.name):
        return "scale"
    return "to be scaled" if is_scaled(row.name, row, names) else None


def is_scaled(name: str, weight: ParameterStatistics | Tensor, names: Container[str]) -> bool:
    """True for values of one byte that a scale beside them multiplies."""
    scales = (f"{name}{suffix}" for suffix in ("_scale", "_scale_inv", ".scale", "_scales"))
    return weight.dtype.itemsize == 1 and any(scale in names for scale in scales)


def described(rows: Sequence[ParameterStatistics], dtypes: Mapping[str, torch.dtype]) -> list[ParameterStatistics]:
    """Show the dtypes of a file, and never mark integers, the scales beside them, and values that those scale.

    Args:
        rows: statistics of dequantized tensors
        dtypes: the dtypes that quantized tensors have in the file, by name
    """
    names = {row.name for row in rows}
    quantized = dtypes or any(len(row.shape) >= 2 and (_is_integer(row) or row.dtype.itemsize == 1) for row in rows)
    shown = []
    for row in rows:
        said = "integers" if _is_integer(row) else _stored_verdict(row, names) if quantized else None
        if row.name in dtypes:
            row = replace(row, dtype=dtypes[row.name])
        elif said is not None:
            row = replace(row, verdict=said, bad=False, fan_in=None, fan_out=None, he=None, xavier=None)
        shown.append(row)
    return shown
