"""The two sides of a comparison: by name, the values of tensors, what fills them, or their statistics."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from torchinit._core.wrappers import plain_names
from torchinit.diagnostics._fills import Filled, of_plan, of_recording
from torchinit.diagnostics._packed import packed_weights, unpacked
from torchinit.diagnostics._parameters import fault_of, module_of
from torchinit.diagnostics._preview import with_rest_kept
from torchinit.diagnostics._statistics import ParameterStatistics, Statistics, statistics
from torchinit.recipes import Plan, Recipe
from torchinit.recipes._layers import storage_key
from torchinit.recording import Recording
from torchinit.recording._targets import named_tensors

Thing: TypeAlias = Tensor | Filled | ParameterStatistics
Comparable: TypeAlias = nn.Module | Mapping[str, Any] | Recording | Plan | Statistics | Recipe


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        things: what it says of each tensor, by name
        tied: the first name of each tied tensor
        optional: names that a file of the same model may lack, of buffers that are not saved
    """

    things: dict[str, Thing]
    tied: dict[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    def names_of(self, name: str) -> set[str]:
        """Return all names of a tensor."""
        first = self.tied.get(name, name)
        return {first, *(other for other, source in self.tied.items() if source == first)}


def _ties(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    first: dict[Any, str] = {}
    tied = {}
    for name, tensor in tensors.items():
        key = (storage_key(tensor), tensor.shape, tensor.stride() if tensor.layout is torch.strided else ())
        if first.setdefault(key, name) != name:
            tied[name] = first[key]
    return tied


def _unsaved(module: nn.Module) -> frozenset[str]:
    """Return the names of the buffers that are no part of the state dict."""
    plain = plain_names(module)
    found = {
        f"{path}.{own}" if path else own
        for path, layer in module.named_modules()
        for own in getattr(layer, "_non_persistent_buffers_set", ())
    }
    return frozenset(plain.get(name, name) for name in found)


def _of_weights(model: nn.Module | Mapping[str, Any]) -> Side:
    if isinstance(model, nn.Module):
        tensors = {**named_tensors(model), **packed_weights(model)}
        return Side(dict(tensors), _ties(tensors), _unsaved(model))
    state = unpacked(model)
    fault = fault_of(state)
    if fault is not None:
        raise ValueError(f"a state dict must map dotted names to tensors, got {fault}")
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return Side(dict(tensors), _ties(tensors))


def _with_ties(found: Mapping[str, Thing], tied: Mapping[str, str]) -> dict[str, Thing]:
    return {**found, **{name: found[first] for name, first in tied.items() if first in found}}


def _of_recording(recording: Recording) -> Side:
    found, tied = of_recording(recording)
    return Side(_with_ties(found, tied), tied, frozenset(x.name for x in recording.program.entries if not x.persistent))


def _of_plan(plan: Plan) -> Side:
    found, tied = of_plan(plan)
    # A plan lists the buffers, which a file may lack, and shows a parametrized weight in place of its originals.
    hidden = {step.target for step in plan.steps if step.through is not None}
    reset = {row.name for row in plan.rows if row.rule in ("buffer", "statistics")}
    return Side(_with_ties(found, tied), tied, frozenset(hidden | reset))


def _of_statistics(found: Statistics) -> Side:
    tied = {name: row.name for row in found for name in row.tied}
    return Side(_with_ties({row.name: row for row in found}, tied), tied)


def planned(recipe: Recipe, other: Comparable) -> Plan:
    """Plan a recipe for the modules of the other side."""
    if isinstance(other, Recording) and other._skeleton is not None:
        return recipe.plan(other._skeleton)
    if isinstance(other, Recording):
        other = {x.name: torch.empty(x.ref.size, dtype=x.ref.dtype, device="meta") for x in other.program.entries}
    if not isinstance(other, (nn.Module, Mapping)):
        raise TypeError(
            f"a recipe is compared with a model, a state dict or a recording, got {type(other).__name__};"
            " plan it for a module first"
        )
    if isinstance(other, nn.Module):
        return recipe.plan(other)
    with warnings.catch_warnings():
        # Rules for types match nothing in a file without modules.
        warnings.simplefilter("ignore")
        return with_rest_kept(recipe).plan(module_of(other))


def _side(given: Comparable) -> Side:
    if isinstance(given, (nn.Module, Mapping)):
        return _of_weights(given)
    if isinstance(given, Recording):
        return _of_recording(given)
    return _of_plan(given) if isinstance(given, Plan) else _of_statistics(given)  # type: ignore[arg-type]


def sides(a: Comparable, b: Comparable) -> tuple[Side, Side]:
    """Read both sides; what is compared with statistics is measured, and a recipe is planned for the other side.

    Raises:
        TypeError: if one is nothing that can be compared
        ValueError: if a state dict has a name that is not dotted or a value that is not a tensor
        RecipeError: if a rule of a recipe does not fit
    """
    for given in (a, b):
        if not isinstance(given, (nn.Module, Mapping, Recording, Plan, Statistics, Recipe)):
            raise TypeError(
                "compare() takes modules, state dicts, recordings, plans, recipes and statistics, got"
                f" {type(given).__name__}"
            )
    pair = [planned(x, other) if isinstance(x, Recipe) else x for x, other in ((a, b), (b, a))]
    if any(isinstance(x, Statistics) for x in pair):
        pair = [statistics(x) if isinstance(x, (nn.Module, Mapping)) else x for x in pair]
    one, other = map(_side, pair)
    # Tracing may make buffers constants, and statistics are those of parameters.
    if any(isinstance(x, (torch.jit.ScriptModule, Statistics)) for x in pair):
        entries = [x.program.entries for x in pair if isinstance(x, Recording)]
        names = frozenset(entry.name for each in entries for entry in each if entry.kind == "buffer")
        one, other = (Side(x.things, x.tied, x.optional | names) for x in (one, other))
    return one, other
