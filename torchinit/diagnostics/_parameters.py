"""The parameters of a module or a state dict, tied ones once, each with its layer and what it is for."""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from torchinit._core import modules
from torchinit._core.table import first_line
from torchinit.diagnostics._packed import unpacked
from torchinit.recipes._layers import Layer, storage_key, walk
from torchinit.recipes._structure import EMBEDDINGS

# Buffers of normalization layers; no initializer fills them.
_RUNNING = ("running_mean", "running_var")

# Integers that are weights by name, and tables that are not; int64 is for indices.
_PACKED = re.compile(r"(^|_)q?weight$|(^|_)qzeros$|packed$")
_NO_INTEGERS = re.compile(r"mask|bias$|ind(ex|ices)|(^|_)ids?$")

# Tables of rows that no input is multiplied with, such as embeddings, by the names of their layers.
TABLE = re.compile(r"emb|^(wte|wpe|shared)$", re.IGNORECASE)

# Names of what layers multiply their input with: in torch, in parametrizations and weight_norm, in stacks of
# experts. Everything else, such as LayerScale, A_log, a class token, a mask of pruning or the deviations of a Bayesian
# or noisy layer, has a scale of its own.
_WEIGHT = re.compile(r"weight(?!_g)|kernel|proj|expert|^original1?$|^w\d?$", re.IGNORECASE)
_NO_WEIGHT = re.compile(r"bias|scale|norm|sigma|(^|_)(rho|std|var|logvar|mask)$", re.IGNORECASE)

# The last layers of models, whose output may start at nothing.
_HEAD = re.compile(
    r"(^|[._])(heads?|head_dist|classifier|fc|out|output|score|lm_head|logits|predictions?|pred|actor|critic|policy"
    r"|value|bbox|box|cls|delta|flow|offsets?)(_(conv|layer|head|pred|embed))?$",
    re.IGNORECASE,
)

# Marks the parameters that module_of() makes of quantized tensors.
_DEQUANTIZED = "_torchinit_dequantized"

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
    tables: list[bool] = field(default_factory=list)
    depths: list[tuple[int, int]] = field(default_factory=list)

    @cached_property
    def is_table(self) -> bool:
        """True for an embedding, by its layer's type or, in a state dict, by its name; also if it is tied to one."""
        return any(self.tables)

    @cached_property
    def is_weight(self) -> bool:
        """True for a matrix or kernel that the layer multiplies its input with."""
        if self.is_table or self.tensor.dim() < 2 or self.tensor.numel() == 0:
            return False
        if not (self.tensor.is_floating_point() or self.tensor.is_complex()) or _NO_WEIGHT.search(self.own):
            return False
        return bool(_WEIGHT.search(self.own)) and (self.own == "weight" or sum(n > 1 for n in self.tensor.shape) > 1)

    @cached_property
    def is_stack(self) -> bool:
        """True for matrices of several experts in one tensor; kernels are called weight."""
        return self.tensor.dim() == 3 and not re.search(r"weight|kernel|original", self.own)

    @cached_property
    def is_head(self) -> bool:
        """True if the layer's name is that of a model's last one."""
        return bool(_HEAD.search(self.layer.path))

    def has_columns_for_units(self) -> bool:
        """True if each column of the weight is what one output is computed with, as in ``x @ weight``."""
        return modules.orientation(self.layer.kind, self.layer.attribute, list(self.tensor.shape)) == (1, True)

    def fans(self) -> tuple[int, int] | None:
        """Count fan_in and fan_out by what the layer does; None for fewer than two dimensions or no elements."""
        fans = self.layer.fans(list(self.tensor.shape[self.is_stack :]))
        return fans if fans is not None and min(fans) > 0 else None

    def weight_fans(self) -> tuple[int, int]:
        """Count fan_in and fan_out of a weight, which always has them."""
        fans = self.fans()
        assert fans is not None
        return fans


def _is_table(layer: Layer) -> bool:
    by_name = layer.kind == "Module" and bool(TABLE.search(layer.path.rpartition(".")[2]))
    return layer.standard in EMBEDDINGS or layer.kind in EMBEDDINGS or by_name


def _depths(names: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
    """Return, for each number in each name, how many numbers stand in its place, and which of them it is.

    In ``encoder.layer.3.weight`` there are as many as the encoder has layers.
    """
    places: dict[str, list[tuple[str, int]]] = {}
    found: defaultdict[str, set[int]] = defaultdict(set)
    for name in names:
        parts = name.split(".")
        places[name] = [(".".join(parts[:i]), int(part)) for i, part in enumerate(parts) if part.isdecimal()]
        for prefix, number in places[name]:
            found[prefix].add(number)
    return {name: [(len(found[prefix]), number) for prefix, number in each] for name, each in places.items()}


def parameters(model: nn.Module) -> list[Parameter]:
    """List the parameters in the order of ``named_parameters``, tied ones once."""
    layers = {layer.qualified(own): (layer, own) for layer in walk(model) for own, _ in layer.parameters()}
    named = list(model.named_parameters(remove_duplicate=False))
    depths = _depths(name for name, _ in named)
    found: dict[Hashable, Parameter] = {}
    for name, tensor in named:
        key, layer = storage_key(tensor), layers[name][0]
        if key in found:
            found[key].tied.append(name)
        else:
            found[key] = Parameter(name, *layers[name], tensor, depths=depths[name])
        found[key].tables.append(_is_table(layer))
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
    return tensor.dim() >= 2 and tensor.dtype not in (torch.bool, torch.int64) and not _NO_INTEGERS.search(leaf)


def is_dequantized(tensor: Tensor) -> bool:
    """True for the values of a quantized tensor, which lie on a grid."""
    return getattr(tensor, _DEQUANTIZED, False)


def module_of(state_dict: Mapping[str, Any]) -> nn.Module:
    """Build a tree of plain modules that has the parameters and buffers of a state dict.

    Raises:
        ValueError: if a name is not dotted or a value is not a tensor
    """
    state_dict = unpacked(state_dict)
    fault = fault_of(state_dict)
    if fault is not None:
        raise ValueError(f"a state dict must map dotted names to tensors, got {fault}")
    root, known = nn.Module(), dict[Hashable, nn.Parameter]()
    for name, tensor in state_dict.items():
        if not isinstance(tensor, Tensor):
            continue
        quantized = tensor.is_quantized
        if quantized:
            tensor = tensor.dequantize()
        *path, leaf = name.split(".")
        module = root
        for part in path:
            # NB: register_module refuses names that a module has as attributes, such as "type".
            module = module._modules.setdefault(part, nn.Module())  # type: ignore[assignment]
        if is_parameter(leaf, tensor):
            fresh = nn.Parameter(tensor.detach(), requires_grad=False)
            setattr(fresh, _DEQUANTIZED, quantized)
            module._parameters[leaf] = known.setdefault((storage_key(tensor), tensor.shape, tensor.stride()), fresh)
        else:
            module._buffers[leaf] = tensor
    return root
