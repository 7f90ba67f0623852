"""Finds the rule of each parameter."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from torchinit._core.compat import is_loaded
from torchinit.recipes._defaults import default_fills, statistics
from torchinit.recipes._effective import recipe_layers
from torchinit.recipes._layers import Layer, storage_key
from torchinit.recipes._parametrized import Parametrized
from torchinit.recipes._rule import DEFAULT, KEEP, RecipeError, Rule


@dataclass(frozen=True)
class MatchedLayer:
    """A layer with its own parameters and the running statistics that are reset with them."""

    layer: Layer
    parameters: list[tuple[str, nn.Parameter]]
    statistics: list[tuple[str, Tensor]] = field(default_factory=list)


@dataclass(frozen=True)
class Match:
    """The rule of each parameter; tied parameters go by their first name."""

    layers: list[MatchedLayer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    parametrized: dict[str, Parametrized] = field(default_factory=dict)

    def writer(self, name: str) -> Rule | None:
        """Return the rule that writes a parameter, given any of its names; None if it is kept."""
        name = self.tied.get(name, name)
        rule = self.rules.get(name)
        return None if rule is None or rule.initializer == KEEP or is_loaded(self.tensors[name]) else rule


def _like(layer: Layer, rule: Rule) -> Layer:
    """Return the layer with the type of torch.nn whose default the rule gives it, if any."""
    like = str(rule.args.get("layer", ""))
    return replace(layer, like=like) if rule.initializer == DEFAULT and like else layer


def _first_match(rules: Sequence[Rule], layer: Layer, name: str, tensor: Tensor) -> Rule | None:
    kind, qualified, ndim = layer.kind, layer.qualified(name), tensor.dim()
    for rule in rules:
        if rule.matches(kind, qualified, ndim) and (
            rule.initializer != DEFAULT or default_fills(_like(layer, rule), name, tensor) is not None
        ):
            return rule
    return None


def match(rules: Sequence[Rule], module: nn.Module) -> Match:
    """Find the rule of each parameter: the first that matches its first name, or keep if any of its names is kept."""
    layers, parametrized = recipe_layers(rules, module, _first_match)
    found = Match(parametrized=parametrized)
    first: dict[Hashable, str] = {}
    uncovered: dict[str, str] = {}
    for layer in layers:
        parameters = layer.parameters()
        for name, parameter in parameters:
            qualified = layer.qualified(name)
            found.tensors[qualified] = parameter
            stored = parametrized[qualified].stored if qualified in parametrized else parameter
            owner = first.setdefault(storage_key(stored), qualified)
            rule = _first_match(rules, layer, name, parameter)
            if owner != qualified:
                found.tied[qualified] = owner
                if rule is None or rule.initializer != KEEP:
                    continue
            if rule is not None:
                found.used.add(id(rule))
                found.rules[owner] = rule
                layer = _like(layer, rule)
            elif not is_loaded(parameter):
                uncovered[qualified] = layer.kind
        found.layers.append(MatchedLayer(layer, parameters))
    listed = [f"{name} ({kind})" for name, kind in uncovered.items() if name not in found.rules]
    if listed:
        number = f"{len(listed)} parameter{'s' * (len(listed) != 1)}"
        raise RecipeError(
            f'no rule matches {number}: {", ".join(listed)}; add a rule ("keep" leaves parameters as they are)'
        )
    for matched in found.layers:
        matched.statistics.extend(_match_statistics(rules, matched, found))
    return found


def _match_statistics(rules: Sequence[Rule], matched: MatchedLayer, found: Match) -> list[tuple[str, Tensor]]:
    """Choose the statistics to reset: those of a layer that is written or has no parameters, unless kept."""
    layer, parameters = matched.layer, matched.parameters
    written = not parameters or any(found.writer(layer.qualified(name)) is not None for name, _ in parameters)
    chosen = []
    for name, buffer in statistics(layer):
        rule = _first_match(rules, layer, name, buffer)
        if rule is not None and rule.initializer in (KEEP, DEFAULT):
            found.used.add(id(rule))
        # A catch-all keep does not keep the statistics of a layer whose parameters are written.
        explicit = rule is not None and (not parameters or (rule.name and "*" not in rule.name))
        kept = rule is not None and rule.initializer == KEEP and explicit
        if written and not kept and not is_loaded(buffer):
            chosen.append((name, buffer))
    return chosen
