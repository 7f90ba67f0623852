"""Compares a model with a narrower one: which fans of each parameter grew, and what muP makes of it."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torchinit._core import modules
from torchinit._core.table import few
from torchinit.recipes._layers import Layer
from torchinit.recipes._match import Match
from torchinit.recipes._parametrized import Parametrized
from torchinit.recipes._rule import RecipeError, Rule

TIED = "input, output"

# Globs for the parameters that are inputs, and for those that are outputs.
Globs = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Growth:
    """How a parameter grew from the base model.

    Attributes:
        kind: see :class:`Multiplier`
        base_shape: shape in the base model
        fan_in: how many times its inputs grew
        fan_out: how many times its outputs grew
        readout: the output layer, if the parameter is an embedding that is tied to it
    """

    kind: str
    base_shape: tuple[int, ...]
    fan_in: float = 1.0
    fan_out: float = 1.0
    readout: str | None = None

    @property
    def width(self) -> float:
        """How many times fan_in grew, or fan_out where only that did."""
        return self.fan_in if self.kind in ("hidden", "output") else self.fan_out

    @property
    def std(self) -> float:
        """The factor on the base standard deviation: variance 1 / fan_in if hidden, 1 / fan_in**2 if an output."""
        return {"hidden": 1 / math.sqrt(self.fan_in), "output": 1 / self.fan_in}.get(self.kind, 1.0)

    def learning_rate(self, optimizer: str) -> float:
        """Return the factor on the learning rate."""
        if optimizer == "sgd":
            return self.fan_out / self.fan_in
        return 1 / self.fan_in


def compare(found: Match, base: Match, named: Globs) -> dict[str, Growth]:
    """Return how each parameter grew, by its first name."""
    _check_same_names(found, base)
    for kind, globs in named.items():
        for glob in globs:
            if not any(_matches(name, glob) for name in found.tensors):
                raise RecipeError(f"{kind}s of mup must name parameters of the model, got {glob!r}")
    shapes = {base.plain[name]: tuple(tensor.shape) for name, tensor in base.tensors.items()}
    uses: dict[str, list[tuple[Layer, Growth]]] = defaultdict(list)
    for matched in found.layers:
        for name, tensor in matched.parameters:
            qualified = matched.layer.qualified(name)
            rule = found.rules.get(found.tied.get(qualified, qualified))
            growth = _growth(matched.layer, name, tuple(tensor.shape), shapes[found.plain[qualified]], rule)
            growth = _as_named(named, qualified, growth)
            uses[found.tied.get(qualified, qualified)].append((matched.layer, growth))
    return {name: _joined(several) for name, several in uses.items()}


def _matches(name: str, glob: str) -> bool:
    return fnmatchcase(name, glob) or fnmatchcase(f".{name}", glob)


def _check_same_names(found: Match, base: Match) -> None:
    """Raise unless both models have the same parameters, tied in the same way."""
    names, base_names = (list(one.plain.values()) for one in (found, base))
    for some, others, where in ((names, base_names, "the model"), (base_names, names, "the base model")):
        known = set(others)
        only = [name for name in some if name not in known]
        if only:
            raise RecipeError(
                "the base model of mup must have the same layers as the model and differ only in width, got parameters"
                f" that only {where} has: {few(only, 3)}"
            )
    tied, base_tied = ({one.plain[a]: one.plain[b] for a, b in one.tied.items()} for one in (found, base))
    differing = [name for name in names if tied.get(name) != base_tied.get(name)]
    if differing:
        raise RecipeError(
            f"the base model of mup must tie the same parameters as the model, got {differing[0]} tied in one"
        )


def stored_growths(through: Parametrized, growth: Growth) -> dict[str, Growth]:
    """Return how the originals of a parametrized weight grew; one of another shape, such as norms, is a vector."""
    return {
        name: growth if original.shape == through.weight.shape else replace(growth, kind="vector", fan_in=1.0)
        for name, original in through.originals.items()
    }


def _growth(
    layer: Layer, name: str, shape: tuple[int, ...], base_shape: tuple[int, ...], rule: Rule | None = None
) -> Growth:
    """Return how a parameter grew, as the layer uses it, or each matrix of a stack."""
    described = f"{layer.qualified(name)} of {list(shape)} for {list(base_shape)} in the base model"
    stack = 0 if rule is None else rule.batch_dims
    if len(shape) != len(base_shape) or any(size < base for size, base in zip(shape, base_shape, strict=True)):
        raise RecipeError(f"the base model of mup must be narrower in every dimension, got {described}")
    factors = [size / max(base, 1) for size, base in zip(shape, base_shape, strict=True)]
    grew = [dim - stack for dim, size in enumerate(shape) if size != base_shape[dim]]
    embedding = "Embedding" in (layer.standard or layer.kind)
    kernel = "Conv" in layer.kind and any(dim >= 2 for dim in grew)
    if len(grew) > 2 or min(grew, default=0) < 0 or kernel or (embedding and len(shape) == 2 and 0 in grew):
        right = "kernels, vocabularies, stacks and all but two dimensions of a parameter are equal"
        raise RecipeError(f"the base model of mup may differ only in width, so that {right}, got {described}")
    matrices = rule is not None and (stack > 0 or rule.transposed)
    transposed = modules.orientation(layer.kind, layer.attribute, list(shape[stack:]))[1] or (
        rule is not None and rule.transposed
    )
    if len(grew) == 2:
        outer, inner = reversed(grew) if transposed else grew
        return Growth("hidden", base_shape, factors[stack + inner], factors[stack + outer])
    if not grew:
        return Growth("fixed", base_shape)
    factor = factors[stack + grew[0]]
    # Other parameters, such as a table of positions, have no inputs of the model's width.
    weight = len(shape) > 1 and (matrices or "weight" in name.split("_")) and not embedding
    if weight and grew[0] == (0 if transposed else 1):
        return Growth("output", base_shape, fan_in=factor)
    return Growth("input" if len(shape) > 1 else "vector", base_shape, fan_out=factor)


def _as_named(named: Globs, name: str, growth: Growth) -> Growth:
    """Return the growth with the kind that the user gives the parameter, if any."""
    for kind, globs in named.items():
        if growth.kind not in (kind, "vector", "fixed") and any(_matches(name, glob) for glob in globs):
            if growth.kind == "hidden":
                raise RecipeError(f"{kind}s of mup must grow in one dimension, got {name}, which grew in two")
            return replace(growth, kind=kind, fan_in=growth.fan_out, fan_out=growth.fan_in)
    return growth


def _joined(uses: Sequence[tuple[Layer, Growth]]) -> Growth:
    """Join the growths of a parameter under its names: an input that is also an output is scaled as an input."""
    outputs = [layer.path for layer, growth in uses if growth.kind == "output"]
    inputs = [growth for _, growth in uses if growth.kind == "input"]
    return replace(inputs[0], kind=TIED, readout=outputs[0]) if inputs and outputs else uses[0][1]
