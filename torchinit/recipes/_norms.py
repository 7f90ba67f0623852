"""Finds at which value of its parameters a normalization layer keeps the scale of its input, by running it."""

import copy
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from torchinit._core.compat import no_dispatch_modes
from torchinit._core.modules import own_class
from torchinit._core.writes import no_grad_copy_
from torchinit.recipes._layers import Layer
from torchinit.recipes._structure import NORMS

# Names of parameters that are added, not multiplied.
_ADDED = ("bias", "beta", "offset", "shift", "b")

# The values found, by type, then by shapes and settings.
_KNOWN: WeakKeyDictionary[type, dict[Any, float | None]] = WeakKeyDictionary()

# A norm with a rectifier behind it has the scale 0.7; weights of twice the right size give 2.
_SOUND = (0.55, 1.5)


def neutral_value(layer: Layer, name: str) -> float | None:
    """Return the value of a norm's parameter at which the output has the input's scale; None if it is not known.

    It is 1 for a layer of ``torch.nn``, and 0 for one that multiplies by ``1 + weight``, as Gemma's does. A layer of
    another class is run with candidate values on a copy; nothing is drawn or written.
    """
    if name in _ADDED:
        return 0.0
    known = 1.0 if layer.standard in NORMS else None
    if layer.is_torchs or (known is not None and not _overrides_forward(layer.module)):
        return known
    found = _found_value(layer.module)
    return known if found is None else found


def _found_value(module: nn.Module) -> float | None:
    """Run a norm with candidate values; norms of one type, shape and settings are run once."""
    plain = {name: value for name, value in vars(module).items() if isinstance(value, (bool, int, float, str))}
    shapes = [tuple(parameter.shape) for parameter in module.parameters()]
    key = (*shapes, *sorted(plain.items()))
    # All TorchScript modules have the same type.
    known = {} if isinstance(module, torch.jit.ScriptModule) else _KNOWN.setdefault(type(module), {})
    if key not in known:
        found = [value for value in (1.0, 0.0) if _keeps_scale(module, value)]
        known[key] = found[0] if len(found) == 1 else None
    return known[key]


def _overrides_forward(module: nn.Module) -> bool:
    # A TorchScript module does not say; it is one of another class here.
    scripted = isinstance(module, torch.jit.ScriptModule)
    return scripted or not type(module).forward.__module__.startswith("torch.nn.modules.")


def _inputs(shape: torch.Size) -> Iterator[Tensor]:
    """Yield inputs of mean 0 and scale 1 in the shapes that norms take: channels last, an image, a sequence."""
    generator = torch.Generator("cpu").manual_seed(0)
    # A norm of channels may keep its weights as (n, 1, 1).
    wide = [size for size in shape if size > 1]
    shapes = [(4, *wide)]
    if len(wide) == 1:
        shapes += [(2, *wide, 4, 4), (2, *wide, 8)]
    for size in shapes:
        values = torch.randn(size, generator=generator, device="cpu")
        yield values / values.square().mean().sqrt()


def _substitutes(module: nn.Module, value: float) -> dict[str, Tensor] | None:
    """Return plain float32 tensors for a norm's parameters and buffers; None if it has others than a norm has."""
    found: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        found[name] = torch.full(parameter.shape, 0.0 if name in _ADDED else value, device="cpu")
    for name, buffer in module.named_buffers():
        if not (name.startswith("running_") or name == "num_batches_tracked"):
            return None
        found[name] = torch.full(buffer.shape, float(name == "running_var"), device="cpu", dtype=buffer.dtype)
    return found


def _keeps_scale(module: nn.Module, value: float) -> bool:
    with no_dispatch_modes(), torch.device("cpu"):
        tensors = _substitutes(module, value)
        if tensors is None:
            return False
        for x in _inputs(next(module.parameters()).shape):
            try:
                y = _run(module, tensors, (x, *_gate(module, x)))
                if isinstance(y, Tensor) and y.shape == x.shape and y.numel():
                    scale = math.sqrt(y.detach().float().square().mean().item())
                    return _SOUND[0] < scale < _SOUND[1]
            except Exception:
                # The code of a layer may refuse a shape with any error, and a TorchScript module may have no values.
                continue
    return False


def _gate(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the gate that a gated norm needs, at which silu(gate) is 1; empty for another."""
    eager = not isinstance(module, torch.jit.ScriptModule)
    gated = eager and "gate" in inspect.signature(module.forward).parameters
    return [torch.full_like(x, 1.2784645)] if gated else []


def _run(module: nn.Module, tensors: Mapping[str, Tensor], arguments: tuple[Tensor, ...]) -> object:
    if isinstance(module, torch.jit.ScriptModule):
        other = copy.deepcopy(module).float()
        for name, tensor in [*other.named_parameters(), *other.named_buffers()]:
            no_grad_copy_(tensor, tensors[name])
    else:
        # A twin without the hooks of the original, which may gather shards or count calls.
        other = object.__new__(own_class(module))
        own = {
            where: {name: tensors.get(name) for name in getattr(module, where)} for where in ("_parameters", "_buffers")
        }
        other.__dict__.update(vars(module), **own)
    return other.forward(*arguments)
