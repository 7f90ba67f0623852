"""muP: scale a recipe's standard deviations and the learning rates so that a model behaves alike at every width.

Source: Yang et al., "Tensor Programs V: Tuning large neural networks via zero-shot hyperparameter transfer" (2022),
https://arxiv.org/abs/2203.03466: table 3, and table 8 for tied embeddings.
"""

import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from torchinit._core.rows import Rows
from torchinit._core.table import counted
from torchinit.recipes._expected import moments
from torchinit.recipes._fill import Fill, scale_residual
from torchinit.recipes._match import Match, match
from torchinit.recipes._plan import Plan, make_plan, make_rows
from torchinit.recipes._recipe import Recipe
from torchinit.recipes._rule import RecipeError, Rule
from torchinit.recipes._shipped import load
from torchinit.recipes._steps import Step, make_steps
from torchinit.recipes._widths import Growth, compare, stored_growths

OPTIMIZERS = ("adam", "sgd")


@dataclass(frozen=True)
class Multiplier:
    """The multipliers of one parameter under muP.

    Attributes:
        name: qualified name; a tied parameter has its first
        kind: ``"hidden"`` if both fans grew with the width, ``"output"`` if only fan_in did, ``"input"`` if only
            fan_out did, ``"vector"`` for a bias or a gain that grew, ``"fixed"`` for a parameter that did not, and
            ``"input, output"`` for an embedding that is tied to the output
        base_shape: shape in the base model
        shape: shape in the model
        width_mult: how many times fan_in grew, or fan_out where fan_in did not
        base_std: standard deviation that the recipe gives the parameter in the base model; None if it is kept
        std: standard deviation that it gets in the model
        lr_mult: factor on the learning rate
        output_mult: factor on the input of ``readout``, which is for ``forward`` to apply
        readout: the output layer, if the parameter is tied to an embedding
    """

    name: str
    kind: str
    base_shape: tuple[int, ...]
    shape: tuple[int, ...]
    width_mult: float
    base_std: float | None
    std: float | None
    lr_mult: float
    output_mult: float = 1.0
    readout: str | None = None


class Multipliers(Rows[Multiplier]):
    """The rows of a model under muP; ``print`` shows them as an aligned table, and what ``forward`` has to multiply."""

    columns = (
        *("name", "kind", "base_shape", "shape", "width_mult", "base_std", "std", "lr_mult"),
        *("output_mult", "readout"),
    )
    hidden = ("output_mult", "readout")
    least = ("base_shape", "base_std", "shape", "kind", "width_mult")

    @property
    def summary(self) -> str:
        """How many parameters and values there are, and what ``forward`` has to multiply."""
        values = sum(math.prod(row.shape) for row in self)
        notes = [f"in forward, multiply the input of {r.readout} by {r.output_mult:g}" for r in self if r.readout]
        return "; ".join([f"{counted(len(self), 'tensor')}, {counted(values, 'value')}", *notes])

    @property
    def output_multiplier(self) -> float:
        """The factor on the input of the output layer in ``forward``: 1 / width multiplier if it is tied, else 1.

        Raises:
            RecipeError: if several tied outputs have different ones; the rows have them all
        """
        found = {row.output_mult for row in self.rows if row.readout} or {1.0}
        if len(found) > 1:
            raise RecipeError(f"output_multiplier needs outputs of one width, got the multipliers {sorted(found)}")
        return found.pop()


class MuP(Recipe):
    """A recipe under muP, made by :func:`mup`; it plans, applies and attaches like any recipe."""

    def __init__(
        self,
        recipe: Recipe,
        base_model: nn.Module,
        optimizer: str = "adam",
        inputs: str | Sequence[str] = (),
        outputs: str | Sequence[str] = (),
    ) -> None:
        if not isinstance(recipe, Recipe):
            raise TypeError(f"mup needs a recipe or the name of one, got {type(recipe).__name__}")
        super().__init__(recipe.rules, recipe.name, recipe.constants)
        if not isinstance(base_model, nn.Module):
            raise TypeError(f"mup needs a base model, a torch.nn.Module, got {type(base_model).__name__}")
        if optimizer not in OPTIMIZERS:
            raise RecipeError(f"optimizer of mup must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
        self.base_model, self.optimizer = base_model, optimizer
        self.named = {"input": _globs(inputs), "output": _globs(outputs)}

    def __repr__(self) -> str:
        return f"MuP({super().__repr__()}, {type(self.base_model).__name__}(...), optimizer={self.optimizer!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MuP) and super().__eq__(other) and self._options() == other._options()

    def __hash__(self) -> int:
        return super().__hash__()

    def _options(self) -> tuple[Any, ...]:
        return id(self.base_model), self.optimizer, self.named

    def _remade(self, rules: Sequence[Rule], constants: Mapping[str, int | float | str]) -> "MuP":
        base = Recipe(rules, self.name, constants)
        return MuP(base, self.base_model, self.optimizer, self.named["input"], self.named["output"])

    def to_toml(self) -> str:
        """Raise a RecipeError: TOML cannot hold the base model."""
        raise RecipeError(
            "a recipe under muP cannot be written as TOML, which holds no base model; write its base recipe"
        )

    def plan(self, module: nn.Module) -> Plan:
        """Plan what :meth:`Recipe.apply_` would do, like :meth:`Recipe.plan`."""
        return make_plan(self.rules, module, self._scale)

    def multipliers(self, module: nn.Module) -> Multipliers:
        """Compare a model with the base model.

        Args:
            module: an eager, scripted, traced or loaded module; it may be on the meta device

        Returns:
            a row for each parameter; it prints as a table

        Raises:
            RecipeError: as :func:`mup`
        """
        found = match(self.rules, module)
        base, growths = self._compare(found)
        base_stds = {base.plain[row.name]: row.std for row in make_rows(base, make_steps(base))}
        rows = []
        for row in self.plan(module).rows:
            if row.name in growths:
                growth = growths[row.name]
                width, rate = growth.width, growth.learning_rate(self.optimizer)
                output = 1 / width if growth.readout else 1.0
                stds = base_stds[found.plain[row.name]], row.std
                shapes = growth.base_shape, row.shape
                rows.append(Multiplier(row.name, growth.kind, *shapes, width, *stds, rate, output, growth.readout))
        return Multipliers(rows)

    def parameter_groups(self, module: nn.Module, lr: float, weight_decay: float | None = None) -> list[dict[str, Any]]:
        """Group the trainable parameters of a model by their learning rates, for an optimizer of ``torch.optim``.

        A scheduler that multiplies the learning rates keeps their ratios.

        Args:
            module: the model
            lr: learning rate of the base model
            weight_decay: weight decay of the base model; each group gets the one whose product with its learning rate
                is the same, as in Microsoft's ``MuAdamW``. None leaves it to the optimizer

        Returns:
            a list of groups with ``params``, ``lr`` and, if it is given, ``weight_decay``

        Raises:
            RecipeError: as :func:`mup`
        """
        found = match(self.rules, module)
        _, growths = self._compare(found)
        growths |= {name: growths[owner] for name, owner in found.tied.items()}
        for through in found.parametrized.values():
            growths |= stored_growths(through, growths[through.name])
        groups: dict[float, dict[str, Any]] = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                rate = growths[name].learning_rate(self.optimizer)
                decay = {} if weight_decay is None else {"weight_decay": weight_decay / rate}
                group = groups.setdefault(rate, {"params": [], "lr": lr * rate, **decay})
                group["params"].append(parameter)
        return list(groups.values())

    def _compare(self, found: Match) -> tuple[Match, dict[str, Growth]]:
        """Return what the rules match in the base model, and how each parameter grew from there."""
        base = match(self.rules, self.base_model)
        return base, compare(found, base, self.named)

    def _scale(self, found: Match, steps: Sequence[Step]) -> list[Step]:
        """Replace each fill by that of the base model, scaled to the width of the model."""
        base, growths = self._compare(found)
        base_steps: dict[str, list[Step]] = defaultdict(list)
        for step in reversed(make_steps(base)):
            base_steps[step.plain].append(step)
        scaled = []
        for step in steps:
            growth, same = growths.get(step.target), base_steps[step.plain]
            if growth is not None:
                fills = same.pop().fills if same else ()
                if len(fills) != len(step.fills):
                    raise RecipeError(f"mup must fill {step.target} in the base model too, got one that keeps it there")
                pairs = zip(step.fills, fills, strict=True)
                step = replace(step, fills=tuple(_scaled(own, fill, growth, step) for own, fill in pairs))
            scaled.append(step)
        return scaled


def mup(
    recipe: Recipe | str | os.PathLike[str],
    base_model: nn.Module,
    optimizer: str = "adam",
    inputs: str | Sequence[str] = (),
    outputs: str | Sequence[str] = (),
) -> MuP:
    r"""muP: a recipe and learning rates that are tuned on a narrow model and hold for wide ones.

    Each parameter gets what the recipe gives it in the narrow base model, with a standard deviation that is scaled by
    :math:`m`, the fan over that of the base model:

    .. math::
        \text{std}_\text{hidden} = \frac{\text{base std}}{\sqrt{m_\text{in}}}, \quad
        \text{std}_\text{output} = \frac{\text{base std}}{m_\text{in}}

    Inputs, biases and gains keep the base standard deviation. The learning rates, which :meth:`MuP.parameter_groups`
    gives, are those of the base model times

    .. math::
        \text{Adam: } \frac{1}{m_\text{in}}, \quad \text{SGD: } \frac{m_\text{out}}{m_\text{in}}

    where a fan that does not depend on the width, such as that into an input, has :math:`m = 1`.

    An embedding that is tied to the output counts as an input, and ``forward`` must multiply the input of the output
    layer by :math:`1 / m`; a recipe cannot do that. Neither can it scale attention by 1 / d instead of 1 / sqrt(d),
    which muP needs if the heads grow with the width, rather than their number.

    Source: Yang et al., "Tensor programs V" (2022), https://arxiv.org/abs/2203.03466, table 3; table 8 for tied
    embeddings. A weight is an output if only its fan_in grew, and an embedding or a parameter that is not named a
    weight is an input if one dimension grew.

    Args:
        recipe: the recipe at the base width: a recipe, or what :func:`load` takes
        base_model: a narrower model of the same architecture and depth; it may be on the meta device, and is not
            written. A model of its own width gets the recipe as it is
        optimizer: ``"adam"``, also for AdamW and others that normalize each gradient; or ``"sgd"``
        inputs: globs for parameters that are inputs, although they look like outputs
        outputs: globs for parameters that are outputs, although they look like inputs

    Returns:
        A recipe with two more methods, :meth:`MuP.multipliers` and :meth:`MuP.parameter_groups`.

    Raises:
        RecipeError: if the optimizer is unknown. The methods raise it if the base model differs in more than its
            width or is wider in any dimension, if a glob does not fit, or if the recipe gives a weight whose std is
            to be scaled a mean other than 0
        TypeError: if the recipe or the base model is something else

    Examples:
        >>> from torch import nn
        >>> from torchinit import recipes
        >>> def mlp(width):
        ...     return nn.Sequential(nn.Linear(8, width), nn.Linear(width, width), nn.Linear(width, 2))
        >>> recipe = recipes.mup("xavier", mlp(32))
        >>> model = recipe.apply_(mlp(128), torch.Generator().manual_seed(0))
        >>> print(recipe.multipliers(model))
        name            kind    shape    width_mult  base_std     std  lr_mult
        0.weight        input   128x8             4     0.224   0.224        1
        {0,1}.bias  x2  vector  128               4         0       0        1
        1.weight        hidden  128x128           4     0.177  0.0884     0.25
        2.weight        output  2x128             4     0.243  0.0606     0.25
        2.bias          fixed   2                 1         0       0        1
        <BLANKLINE>
        6 tensors, 17,922 values
        >>> optimizer = torch.optim.Adam(recipe.parameter_groups(model, lr=0.01))
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.01, 0.0025]
    """
    return MuP(
        load(recipe) if isinstance(recipe, (str, os.PathLike)) else recipe, base_model, optimizer, inputs, outputs
    )


def _globs(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _scaled(own: Fill, fill: Fill, growth: Growth, step: Step) -> Fill:
    """Scale a fill of the base model to the block of ``own``, so that its standard deviation grows as muP says."""
    mean, base_std = moments(fill, growth.base_shape)
    fill = replace(fill, block=own.block)
    if abs(mean) > 1e-9 * base_std:
        # An identity passes the signal on as it is, at any width.
        if growth.std != 1.0 and not fill.entry.structured:
            raise RecipeError(
                f"mup scales {growth.kind} weights around 0, got a mean of {mean:g} by {fill.initializer} for {step.target}"
            )
        return fill
    std = moments(fill, step.tensor.shape)[1]
    divisor = std / (base_std * growth.std) if base_std else 1.0
    # An orthogonal hidden weight is right as it is; its std follows from its shape.
    same = math.isclose(divisor, 1.0, rel_tol=1e-9)
    return fill if same else replace(scale_residual(fill, divisor, with_bounds=True), block=own.block)
