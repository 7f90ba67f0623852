"""The default initialization of each layer of ``torch.nn``: what its ``reset_parameters`` draws.

Source: the modules of ``torch.nn.modules`` in torch 2.13, whose initialization is the same from 2.6 to 2.15.
"""

import math

from torch import Tensor

from torchinit.recipes._blocks import Block
from torchinit.recipes._fill import Fill, resolve, uniform_within
from torchinit.recipes._layers import Layer, upstream_fans
from torchinit.recipes._norms import neutral_value
from torchinit.recipes._roles import is_lora_end, is_lora_table, role_of
from torchinit.recipes._structure import DENSE, EMBEDDINGS, GATES, STATISTICAL

# The running statistics of a normalization layer, and their initial values.
STATISTICS = {"running_mean": Fill("zeros_"), "running_var": Fill("ones_"), "num_batches_tracked": Fill("zeros_")}


def _dense(layer: Layer, name: str) -> list[Fill] | None:
    weight = layer.named().get("weight")
    fans = None if weight is None else upstream_fans(list(weight.shape))
    if name not in ("weight", "bias") or fans is None:
        return None
    if name == "bias":
        return [uniform_within(1 / math.sqrt(fans[0]) if fans[0] > 0 else 0.0)]
    return [resolve("kaiming_uniform_", {"a": math.sqrt(5)}, fans)] if fans[0] > 0 else []


def _recurrent(layer: Layer, kind: str, name: str) -> list[Fill] | None:
    weights = [p for n, p in layer.named().items() if n.startswith("weight_hh")]
    if not weights or not name.startswith(("weight_", "bias_")):
        return None
    hidden = weights[0].size(0) // GATES[kind]
    return [uniform_within(1.0 / math.sqrt(hidden) if hidden > 0 else 0.0)]


def padding_fills(layer: Layer) -> list[Fill]:
    """Return the fill that zeroes an embedding's padding row; empty if it has none."""
    padding = layer.attribute("padding_idx") if layer.standard in EMBEDDINGS else None
    # A traced embedding without padding has -1.
    return [Fill("zeros_", (), Block(0, padding, 1))] if isinstance(padding, int) and padding >= 0 else []


def _attention(name: str, shape: list[int]) -> list[Fill] | None:
    if name == "in_proj_bias":
        return [Fill("zeros_")]
    fans = upstream_fans(shape)
    if fans is None:
        return None
    return [resolve("xavier_normal_" if name in ("bias_k", "bias_v") else "xavier_uniform_", {}, fans)]


def default_fills(layer: Layer, name: str, parameter: Tensor) -> list[Fill] | None:
    """Return the fills that the layer draws for its own parameter; None if torch's layer has no such parameter.

    A subclass draws as the layer of ``torch.nn`` that it inherits from, unless it has its own ``reset_parameters``.
    """
    kind = layer.standard
    if kind in STATISTICAL and name in STATISTICS:
        return [STATISTICS[name]]
    role = role_of(layer, name, parameter.dim())
    if role == "norm":
        value = neutral_value(layer, name)
        return None if value is None else [Fill("ones_" if value else "zeros_")]
    if is_lora_end(layer):
        return [Fill("zeros_")]
    if layer.resets_itself:
        return None
    if kind in DENSE:
        return _dense(layer, name)
    if kind in GATES:
        return _recurrent(layer, kind, name)
    if role == "embedding" and (kind in EMBEDDINGS or is_lora_table(layer)):
        return [Fill("normal_", (0.0, 1.0))]
    if kind == "Bilinear" and name in ("weight", "bias"):
        weight = layer.named().get("weight")
        return None if weight is None else [uniform_within(1 / math.sqrt(weight.size(1)))]
    if kind == "PReLU" and name == "weight":
        return [Fill("constant_", (float(layer.attribute("init", 0.25)),))]
    if kind == "MultiheadAttention":
        return _attention(name, list(parameter.shape))
    return None


def parent_fills(layer: Layer) -> list[tuple[str, Fill]]:
    """Return the fills that a layer writes to its children's parameters after the children drew them."""
    if layer.standard == "MultiheadAttention":
        return [("out_proj.bias", Fill("zeros_"))]
    if layer.standard == "Transformer":
        shapes = {name: list(p.shape) for name, p in layer.module.named_parameters()}
        fans = {name: upstream_fans(shape) for name, shape in shapes.items()}
        return [(name, resolve("xavier_uniform_", {}, f)) for name, f in fans.items() if f is not None]
    return []


def statistics(layer: Layer) -> list[tuple[str, Tensor]]:
    """Return the running statistics of a normalization layer, which its ``reset_parameters`` resets."""
    if layer.standard not in STATISTICAL:
        return []
    return [
        (name, buffer) for name, buffer in layer.module._buffers.items() if name in STATISTICS and buffer is not None
    ]
