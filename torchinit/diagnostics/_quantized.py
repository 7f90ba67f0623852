"""The quantized weights of a model, and the verdicts on integers and the scales beside them."""

import re
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from torchinit.diagnostics._packed import packed_weights, unpacked
from torchinit.diagnostics._parameters import is_parameter, module_of

if TYPE_CHECKING:
    from torchinit.diagnostics._statistics import ParameterStatistics

# Names of what scales or maps integers: GPTQ, AWQ, compressed-tensors, bitsandbytes, DeepSeek's float8.
SCALE = re.compile(r"(^|[._])(scales?(_inv|_\d)?|absmax|SCB|zero_?points?|zeros|(nested_)?quant_map)$")


def unlisted(module: nn.Module) -> dict[str, Tensor]:
    """Find weights that are no parameters of a module: packed ones, and buffers of integers."""
    found = {
        name: buffer
        for name, buffer in module.named_buffers()
        if not buffer.is_floating_point() and is_parameter(name.rpartition(".")[2], buffer)
    }
    return found | packed_weights(module)


def with_unlisted(model: nn.Module | Mapping[str, Any]) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return a module, or that of a state dict, and the tensors that its parameters do not show as they are.

    Those of a module are no parameters of it; those of a state dict are quantized, and dequantized in the module.

    Raises:
        ValueError: if a name of a state dict is not dotted or a value is not a tensor
    """
    if isinstance(model, nn.Module):
        return model, unlisted(model)
    tensors = unpacked(model)
    module = module_of(tensors)
    return module, {name: t for name, t in tensors.items() if isinstance(t, Tensor) and t.is_quantized}


def _is_integer(row: "ParameterStatistics") -> bool:
    if row.not_finite is None or row.dtype is torch.bool:
        return False
    return not (row.dtype.is_floating_point or row.dtype.is_complex)


def _stored_verdict(row: "ParameterStatistics", names: Collection[str]) -> str | None:
    """Say what the numbers of a quantized model are, if they are not its weights."""
    if SCALE.search(row.name):
        return "scale"
    return "to be scaled" if is_scaled(row.name, row, names) else None


def is_scaled(name: str, weight: "ParameterStatistics | Tensor", names: Container[str]) -> bool:
    """True for values of one byte that a scale beside them multiplies."""
    scales = (f"{name}{suffix}" for suffix in ("_scale", "_scale_inv", ".scale", "_scales"))
    return weight.dtype.itemsize == 1 and any(scale in names for scale in scales)


def described(rows: Sequence["ParameterStatistics"], dtypes: Mapping[str, torch.dtype]) -> "list[ParameterStatistics]":
    """Show the dtypes of a model, and never mark integers, the scales beside them, and values that those scale.

    Args:
        rows: statistics of dequantized tensors
        dtypes: the dtypes of its quantized tensors, by name
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
