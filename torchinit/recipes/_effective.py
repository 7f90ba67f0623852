"""The layers of a model as a recipe sees them: with effective weights in place of what parametrizations store."""

import re
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm as SpectralNormHook
from torch.nn.utils.weight_norm import WeightNorm as WeightNormHook

from torchinit._core import modules
from torchinit.recipes._layers import Layer, walk
from torchinit.recipes._parametrized import Parametrized, Registered, SpectralNormed, WeightNormed, label_of
from torchinit.recipes._roles import role_of
from torchinit.recipes._rule import KEEP, Rule

_FirstMatch = Callable[[Sequence[Rule], Layer, str, Tensor], Rule | None]

_TRACED = "a TorchScript or exported module"

# The order in which torch's layers register their parameters; a parametrized one is no longer in its place.
_ORDER = (
    *("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "bias_k", "bias_v"),
    *("weight", "bias", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"),
)


def recipe_layers(
    rules: Sequence[Rule], module: nn.Module, first_match: _FirstMatch
) -> tuple[list[Layer], dict[str, Parametrized]]:
    """List the layers, and the parametrized weights by name, without those whose originals a rule names first."""
    layers = list(walk(module))
    # A state dict that is read as a tree of modules keeps the names of its originals.
    known = Registered if type(module) is nn.Module else Parametrized
    found = {layer.path: own for layer in layers if (own := [p for p in _find(layer) if isinstance(p, known)])}
    chosen: dict[str, Parametrized] = {}
    if not found:
        return layers, chosen
    layers = [
        layer.with_weights(effective=tuple((each.own, each.weight) for each in found.get(layer.path, [])))
        for layer in layers
    ]
    for layer in layers:
        for each in found.get(layer.path, []):
            each.rule = first_match(rules, layer, each.own, each.weight)
            if not _names_originals(rules, each):
                chosen[each.name] = each
                if type(each) is Parametrized and (each.rule is None or each.rule.initializer != KEEP):
                    each.check([])
    hidden = {name for each in chosen.values() for name in each.originals}
    return [_as_seen(layer, set(chosen), hidden) for layer in layers], chosen


def _as_seen(layer: Layer, chosen: set[str], hidden: set[str]) -> Layer:
    """Replace originals by the chosen effective weights, in the order of an unparametrized layer."""
    own = [(name, p) for name, p in layer.parameters() if layer.qualified(name) not in hidden]
    shown = [(name, weight) for name, weight in layer.effective if layer.qualified(name) in chosen]
    if not shown and len(own) == len(layer.parameters()):
        return layer
    return layer.with_weights(seen=tuple(sorted([*shown, *own], key=lambda item: _place(item[0]))))


def _place(name: str) -> tuple[int, bool, int]:
    """Return what sorts a layer's parameters: the layer and direction of an RNN, then the order of registration."""
    matched = re.fullmatch(r"(.*?)(?:_l(\d+)(_reverse)?)?", name)
    stem, number, reverse = matched.groups() if matched else (name, None, None)
    return int(number or 0), reverse is not None, _ORDER.index(stem) if stem in _ORDER else len(_ORDER)


def _names_originals(rules: Sequence[Rule], each: Parametrized) -> bool:
    """True if a rule matches an original, and not the weight, before the weight has a rule."""
    for rule in rules:
        if rule is each.rule:
            return False
        for name, original in each.originals.items():
            ndim, role = original.dim(), role_of(each.layer, each.own, each.weight.dim())
            if rule.matches((each.holder,), (name,), ndim) and not rule.matches(
                each.layer.kinds, (each.name,), ndim, role
            ):
                return True
    return False


def _find(layer: Layer) -> Iterator[Parametrized]:
    """Find the parametrized weights of a layer."""
    children = layer.module._modules
    lists = children["parametrizations"] if "parametrizations" in children else None  # noqa: SIM401
    for own, chain in [] if lists is None else lists.named_children():
        stored = {name: p for name, p in chain.named_parameters(recurse=False) if re.fullmatch(r"original\d*", name)}
        originals = {layer.qualified(f"parametrizations.{own}.{name}"): p for name, p in stored.items()}
        holder = modules.kind_of(chain)
        if originals and isinstance(chain, parametrize.ParametrizationList):
            label = ", ".join(map(label_of, chain))
            yield Registered(layer, own, originals, holder, label, chain=chain)
        elif originals:
            yield Parametrized(layer, own, originals, holder, _TRACED)
    yield from _traced(layer) if isinstance(layer.module, torch.jit.ScriptModule) else _hooked(layer)


def _hooked(layer: Layer) -> Iterator[Parametrized]:
    """Find the weights that the hooks of the older functions compute before each call."""
    for hook in layer.module._forward_pre_hooks.values():
        if isinstance(hook, WeightNormHook):
            originals = _stored(layer, hook.name, "_g", "_v")
            yield WeightNormed(layer, hook.name, originals, layer.kind, "weight_norm", hook=hook)
        elif isinstance(hook, SpectralNormHook):
            originals = _stored(layer, hook.name, "_orig")
            yield SpectralNormed(layer, hook.name, originals, layer.kind, "spectral_norm", hook=hook)


def _traced(layer: Layer) -> Iterator[Parametrized]:
    """Find by their names the weights whose hooks a trace has not kept."""
    own, buffers = layer.module._parameters.keys(), layer.module._buffers
    for name in own:
        stem, _, ending = name.rpartition("_")
        if ending == "v" and f"{stem}_g" in own and stem not in own:
            yield Parametrized(layer, stem, _stored(layer, stem, "_g", "_v"), layer.kind, _TRACED)
        elif ending == "orig" and f"{stem}_u" in buffers and f"{stem}_v" in buffers:
            yield Parametrized(layer, stem, _stored(layer, stem, "_orig"), layer.kind, _TRACED)


def _stored(layer: Layer, name: str, *endings: str) -> dict[str, nn.Parameter]:
    """Return the parameters that an older function has registered in place of a weight, by qualified name."""
    own = dict(layer.parameters())
    return {layer.qualified(f"{name}{ending}"): own[f"{name}{ending}"] for ending in endings}
