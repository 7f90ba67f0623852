"""Find the quantized weights of a model, and describe rows of integers."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torchinit.diagnostics import ParameterStatistics
from torchinit.diagnostics._parameters import is_parameter

# Where torch's quantized layers keep a weight and a bias.
_PACKED = "_packed_params"

# Names of what scales or maps integers: GPTQ, AWQ, compressed-tensors, bitsandbytes, DeepSeek's float8.
_SCALE = re.compile(r"(^|[._])(scales?(_inv|_\d)?|absmax|SCB|zero_?points?|zeros|(nested_)?quant_map)$")


def _unpacked(name: str, packed: Iterable[Any]) -> dict[str, Tensor]:
    """Name the weight and the bias of a quantized layer after it."""
    layer = name.removesuffix(f"{_PACKED}.{_PACKED}").removesuffix(_PACKED)
    both = zip(("weight", "bias"), packed, strict=False)
    return {f"{layer}{own}": tensor for own, tensor in both if isinstance(tensor, Tensor)}


def tensors_of(state_dict: Mapping[Any, Any]) -> dict[Any, Tensor]:
    """Keep the tensors of a state dict, those of packed parameters as well."""
    tensors: dict[Any, Tensor] = {}
    for name, value in state_dict.items():
        if isinstance(value, Tensor):
            tensors[name] = value
        elif isinstance(name, str) and name.endswith(_PACKED) and isinstance(value, tuple):
            tensors |= _unpacked(name, value)
    return tensors


def unlisted(module: torch.jit.ScriptModule) -> dict[str, Tensor]:
    """Find weights that are no parameters of a TorchScript module: packed ones, and buffers of integers."""
    found = {
        name: buffer
        for name, buffer in module.named_buffers()
        if not buffer.is_floating_point() and is_parameter(name.rpartition(".")[2], buffer)
    }
    for path, layer in module.named_modules():
        packed = getattr(layer, _PACKED, None)
        if isinstance(packed, torch.ScriptObject):
            found |= _unpacked(f"{path}.{_PACKED}" if path else _PACKED, packed.unpack())  # type: ignore[attr-defined]
    return found


def _is_integer(row: ParameterStatistics) -> bool:
    return not (row.dtype.is_floating_point or row.dtype.is_complex)


def _stored_verdict(row: ParameterStatistics, names: Collection[str]) -> str | None:
    """Say what the numbers of a quantized model are, if they are not its weights."""
    if _SCALE.search(row.name):
        return "scale"
    scales = (f"{row.name}{suffix}" for suffix in ("_scale", "_scale_inv", ".scale", "_scales"))
    return "to be scaled" if row.dtype.itemsize == 1 and any(name in names for name in scales) else None


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
