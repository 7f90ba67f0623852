"""Finds the rule of each parameter."""

import json
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from torchinit._core.compat import mark_to_keep
from torchinit._core.groups import with_stars
from torchinit.recipes._defaults import default_fills, statistics
from torchinit.recipes._effective import recipe_layers
from torchinit.recipes._layers import Layer, storage_key
from torchinit.recipes._parametrized import Parametrized
from torchinit.recipes._roles import role_of
from torchinit.recipes._rule import DEFAULT, KEEP, RecipeError, Rule

# The end of an error about what looks like a stack of matrices.
_STACK = ", or one with batch_dims=1 for each matrix of a stack"


@dataclass(frozen=True)
class MatchedLayer:
    """A layer with its own parameters, the running statistics that are reset with them, and its other buffers."""

    layer: Layer
    parameters: list[tuple[str, nn.Parameter]]
    statistics: list[tuple[str, Tensor]] = field(default_factory=list)
    buffers: list[tuple[str, Tensor]] = field(default_factory=list)


@dataclass(frozen=True)
class Match:
    """The rule of each tensor; tied parameters go by their first name.

    Attributes:
        module: the model
        bound: all rules, with what their globs match in the model
        layers: the layers, in the order of construction
        tensors: parameters and buffers by name
        plain: their names without wrappers
        rules: the rule of each, if there is one
        tied: the first name of each other name of a parameter
        kept: why a parameter is kept whatever its rule says
        trains: whether some parameter has a gradient
        used: ids of the rules that some parameter matches
        parametrized: the parametrized weights
    """

    module: nn.Module
    bound: Sequence[Rule]
    layers: list[MatchedLayer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    trains: bool = False
    used: set[int] = field(default_factory=set)
    parametrized: dict[str, Parametrized] = field(default_factory=dict)

    def writer(self, name: str) -> Rule | None:
        """Return the rule that writes a parameter, given any of its names; None if it is kept."""
        name = self.tied.get(name, name)
        rule = self.rules.get(name)
        return None if rule is None or rule.initializer == KEEP or name in self.kept else rule


def _like(layer: Layer, rule: Rule) -> Layer:
    """Return the layer with the type of torch.nn whose default the rule gives it, if any."""
    like = str(rule.args.get("layer", ""))
    return replace(layer, like=like) if rule.initializer == DEFAULT and like else layer


def _first_match(
    rules: Sequence[Rule], layer: Layer, name: str, tensor: Tensor, role: str | None = None
) -> Rule | None:
    """Return the first rule that matches a tensor, by its name with or without wrappers."""
    if role is None:
        role = role_of(layer, name, tensor.dim())
    names = layer.names(name)
    for rule in rules:
        if rule.matches(layer.kinds, names, tensor.dim(), role) and (
            rule.initializer != DEFAULT or default_fills(_like(layer, rule), name, tensor) is not None
        ):
            return rule
    return None


def _reason_to_keep(layer: Layer, name: str, tensor: Tensor, rule: Rule | None, trains: bool) -> str:
    """Return why a tensor is kept although a rule matches it, or none does; empty if nothing says so."""
    mark = mark_to_keep(tensor)
    if mark:
        return mark
    if not trains or tensor.requires_grad or role_of(layer, name, tensor.dim()) not in ("embedding", ""):
        return ""
    # A table, such as sinusoids or frozen embeddings, was computed or loaded. In a frozen model the flag says nothing.
    return "no gradient" if rule is None or (tensor.dim() >= 2 and not rule.names_exactly) else ""


def _bound(rules: Sequence[Rule], layers: Sequence[Layer]) -> Sequence[Rule]:
    """Count what ``{layer}`` matches in a model, and find the last of ``{last}``, for the rules that have them."""
    if not any(rule.counts for rule in rules):
        return rules
    parameters = [
        (layer.kinds, layer.names(name), parameter.dim(), role_of(layer, name, parameter.dim()))
        for layer in layers
        for name, parameter in layer.parameters()
    ]
    buffers = [
        (layer.kinds, layer.names(name), buffer.dim(), "buffer")
        for layer in layers
        for name, buffer in layer.module._buffers.items()
        if buffer is not None
    ]
    return [rule.in_model([*parameters, *buffers]) for rule in rules]


def match(rules: Sequence[Rule], module: nn.Module) -> Match:
    """Find the rule of each parameter: the first that matches its first name, or keep if any of its names is kept."""
    if not isinstance(module, nn.Module):
        hint = "; take its module()" if isinstance(module, torch.export.ExportedProgram) else ""
        raise TypeError(f"a recipe needs a torch.nn.Module, got {type(module).__name__}{hint}")
    layers, parametrized = recipe_layers(rules, module, _first_match)
    rules = _bound(rules, layers)
    trains = any(parameter.requires_grad for parameter in module.parameters())
    found = Match(module, bound=rules, trains=trains, parametrized=parametrized)
    # peft freezes the whole model around its adapters.
    judged = trains and not any(layer.full_type.startswith("peft.") for layer in layers)
    first: dict[Hashable, str] = {}
    uncovered = [each for layer in layers for each in _match_parameters(rules, layer, found, first, judged)]
    missing = [(name, layer) for name, layer in uncovered if name not in found.rules]
    if missing:
        raise RecipeError(_uncovered(missing))
    # The buffers of a parametrization go with its weight.
    owned = tuple(f"{name}." for through in parametrized.values() for name in through.owned())
    for matched in found.layers:
        matched.statistics.extend(_match_statistics(rules, matched, found))
        matched.buffers.extend(_match_buffers(rules, matched, found, owned))
    return found


def _match_parameters(
    rules: Sequence[Rule], layer: Layer, found: Match, first: dict[Hashable, str], judged: bool
) -> Iterator[tuple[str, Layer]]:
    """Find the rules of a layer's parameters, and yield those without one.

    Args:
        rules: the rules
        layer: the layer
        found: what is found goes here
        first: the first name of each parameter so far, by its storage
        judged: whether a missing gradient can be a reason to keep a parameter
    """
    parameters = layer.parameters()
    for name, parameter in parameters:
        qualified = layer.qualified(name)
        found.tensors[qualified], found.plain[qualified] = parameter, layer.plain_name(name)
        through = found.parametrized.get(qualified)
        owner = first.setdefault(storage_key(parameter if through is None else through.stored), qualified)
        rule = _first_match(rules, layer, name, parameter)
        if owner != qualified:
            found.tied[qualified] = owner
            if rule is None or rule.initializer != KEEP:
                continue
        reason = _reason_to_keep(layer, name, parameter, rule, judged)
        if reason and owner == qualified:
            found.kept[owner] = reason
        if rule is not None:
            found.used.add(id(rule))
            found.rules[owner] = rule
            layer = _like(layer, rule)
        elif not reason:
            yield qualified, layer
    found.layers.append(MatchedLayer(layer, parameters))


def _uncovered(missing: Sequence[tuple[str, Layer]]) -> str:
    """Say which parameters have no rule, repeated blocks once, and which rule would cover them."""
    groups: dict[tuple[str, str], list[str]] = {}
    notes: dict[str, str] = {}
    for name, layer in missing:
        groups.setdefault((with_stars(name), layer.full_type), []).append(name)
        notes[layer.full_type] = ", which has its own reset_parameters" if layer.resets_itself else ""
    # A name that stands alone keeps its numbers.
    globs = [glob if len(names) > 1 else names[0] for (glob, _), names in groups.items()]
    listed = [
        f"{glob} ({kind}{notes[kind]})" + (f", {len(names)} times" if len(names) > 1 else "")
        for glob, ((_, kind), names) in zip(globs, groups.items())
    ]
    one = len(missing) == 1
    shapes = [layer.named()[name.rpartition(".")[2]].shape for name, layer in missing]
    stack = any(len(shape) == 3 and min(shape) > 1 for shape in shapes)
    return (
        f"no rule matches {len(missing)} parameter{'s' * (not one)}: {', '.join(listed)}; add a rule, such as"
        f' Rule("{KEEP}", name={json.dumps(globs[0] if len(globs) == 1 else globs)}) to leave'
        f" {'it as it is' if one else 'them as they are'}{_STACK * stack}"
    )


def _match_statistics(rules: Sequence[Rule], matched: MatchedLayer, found: Match) -> list[tuple[str, Tensor]]:
    """Choose the statistics to reset: those of a layer that is written or has no parameters, unless kept."""
    layer, parameters = matched.layer, matched.parameters
    written = not parameters or any(found.writer(layer.qualified(name)) is not None for name, _ in parameters)
    chosen = []
    for name, buffer in statistics(layer):
        found.plain[layer.qualified(name)] = layer.plain_name(name)
        rule = _first_match(rules, layer, name, buffer)
        if rule is not None and rule.initializer in (KEEP, DEFAULT):
            found.used.add(id(rule))
        # A catch-all keep does not keep the statistics of a layer whose parameters are written.
        explicit = rule is not None and (not parameters or (rule.name and "*" not in rule.name))
        kept = rule is not None and rule.initializer == KEEP and explicit
        if written and not kept and not mark_to_keep(buffer):
            chosen.append((name, buffer))
    return chosen


def _match_buffers(
    rules: Sequence[Rule], matched: MatchedLayer, found: Match, owned: tuple[str, ...]
) -> list[tuple[str, Tensor]]:
    """List the other buffers of a layer but those below ``owned``, and find the rules that speak of buffers."""
    layer, reset = matched.layer, dict(matched.statistics)
    listed = []
    for name, buffer in layer.module._buffers.items():
        qualified = layer.qualified(name)
        if buffer is None or name in reset or f"{qualified}.".startswith(owned):
            continue
        listed.append((name, buffer))
        found.tensors[qualified], found.plain[qualified] = buffer, layer.plain_name(name)
        rule = _first_match(rules, layer, name, buffer, role="buffer")
        if rule is not None:
            found.rules[qualified] = rule
            found.used.add(id(rule))
    return listed
