"""Parametrized weights: a recipe sees the effective weight, and writes it through the parametrization.

A layer computes such a weight from other parameters, its originals. A rule draws the effective weight into a tensor of
its own. :meth:`Parametrized.solve` finds the originals that give it, and :meth:`Solution.write` stores them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm as SpectralNormHook
from torch.nn.utils.weight_norm import WeightNorm as WeightNormHook

from torchinit._core import compat, dtensor
from torchinit._core.table import first_line
from torchinit.keyed._piece import piece_of, place_, views
from torchinit.recipes._draws import Draws
from torchinit.recipes._expected import Moments, mixed_moments
from torchinit.recipes._fill import Fill
from torchinit.recipes._layers import Layer
from torchinit.recipes._rule import DEFAULT, RecipeError, Rule

# Power iterations: at construction, as torch does (the norm may still be some percent too small), and in other recipes.
_CONSTRUCTED, _ITERATIONS = 15, 100

_LABELS = {compat.WeightNorm: "weight_norm", compat.SpectralNorm: "spectral_norm", compat.Orthogonal: "orthogonal"}


def label_of(step: nn.Module) -> str:
    """Name a registered parametrization as in torch's documentation, or by its type."""
    return _LABELS.get(type(step), type(step).__name__)


@dataclass
class Solution:
    """The values to write so that a layer computes a given weight."""

    tensors: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    attributes: list[tuple[dict[str, Any], str, Any]] = field(default_factory=list)

    def add(self, target: Tensor, value: Tensor) -> None:
        """Write a tensor, unless a file gave its values."""
        if target.shape != value.shape:
            raise ValueError(f"right_inverse gives shape {list(value.shape)} where {list(target.shape)} is stored")
        if not compat.mark_to_keep(target):
            self.tensors.append((target, value.detach()))

    def write(self) -> None:
        for target, value in self.tensors:
            place_(views(target, piece_of(target, None, None)), value)
        for holder, name, value in self.attributes:
            holder[name] = value


@dataclass(eq=False)
class Parametrized:
    """A weight that a layer computes from its originals. This base class knows no way back to them.

    Attributes:
        layer: the layer that uses the weight
        own: the weight's name there
        originals: the parameters that it is computed from, by qualified name
        holder: type name of the module that has them
        label: what computes it, for tables
        rule: the rule that writes it
    """

    layer: Layer
    own: str
    originals: dict[str, nn.Parameter]
    holder: str
    label: str
    rule: Rule | None = None

    @property
    def name(self) -> str:
        """The weight's qualified name."""
        return self.layer.qualified(self.own)

    @property
    def stored(self) -> nn.Parameter:
        """The original that a tied parameter shares: the direction of a weight norm, or the only one."""
        return list(self.originals.values())[-1]

    @property
    def can_fail(self) -> bool:
        """True if some weights may have no originals."""
        return False

    @cached_property
    def weight(self) -> nn.Parameter:
        """A tensor for the effective weight, which shares no memory with the model."""
        like, stored = self._like(), self.stored
        if dtensor.is_dtensor(stored):
            empty = torch.empty(like.shape, dtype=like.dtype, device=stored.device)
        else:
            empty = stored.new_empty(like.shape, dtype=like.dtype)
        weight = nn.Parameter(empty, requires_grad=stored.requires_grad)
        marks = [compat.attributes(original) for original in self.originals.values()]
        vars(weight).update({name: True for name in marks[0] if all(mark.get(name) is True for mark in marks)})
        return weight

    def solve(self, value: Tensor, draws: Draws) -> Solution:
        """Find the originals that give a weight; raise if its parametrization finds none."""
        if isinstance(value, compat.FakeTensor):
            return Solution()
        try:
            return self._solve(value.detach(), draws)
        except Exception as error:
            raised = f"{type(error).__name__}: {first_line(str(error))}"
            raise self._error(f"must take the weight that the rule draws, got {raised}") from None

    def check(self, fills: Sequence[Fill]) -> None:
        """Raise if no weight that these fills draw can be written."""
        missing, normalizing = self._missing(), self._normalizing()
        if missing is not None:
            raise self._error(f"must have a right_inverse to write the weight through, got {missing} without one")
        if normalizing is not None and mixed_moments(fills, self.weight.shape) == (0.0, 0.0):
            raise self._error(f"must take a weight that is not 0, which {normalizing} normalizes, got 0")

    def expected(self, fills: Sequence[Fill]) -> Moments | None:
        """Return the expected mean and standard deviation of the effective weight; None if they are not known."""
        return mixed_moments(fills, list(self.weight.shape), self.weight.is_complex())

    def finish(self) -> None:
        """Update what the layer has computed from its originals."""

    def owned(self) -> tuple[str, ...]:
        """Return the qualified names of the buffers, or of the modules with buffers, of the parametrization."""
        return (f"{self.layer.qualified('parametrizations')}.{self.own}",)

    def _error(self, message: str) -> RecipeError:
        originals = " and ".join(self.originals)
        before = "initialize the model before it is traced, " if type(self) is Parametrized else ""
        text = f"the parametrization of {self.name} {message}; {before}keep the weight, or name {originals} in a rule"
        return RecipeError(text) if self.rule is None else self.rule.error(text)

    def _like(self) -> Tensor:
        """Return a tensor of the effective weight's shape and dtype."""
        return self.stored

    def _missing(self) -> str | None:
        """Name what has no right_inverse."""
        return self.label

    def _normalizing(self) -> str | None:
        """Name what divides the weight by its norm."""
        return None

    def _solve(self, value: Tensor, draws: Draws) -> Solution:
        raise NotImplementedError

    def _iterations(self, constructed: int, draws: Draws) -> int:
        """Return how often to run the power method: as construction does, if its bits are asked for."""
        is_default = self.rule is not None and self.rule.initializer == DEFAULT
        return constructed if is_default and draws.key is None else _ITERATIONS


@dataclass(eq=False)
class WeightNormed(Parametrized):
    """A weight under the hook of ``torch.nn.utils.weight_norm``."""

    hook: WeightNormHook = field(kw_only=True)

    def finish(self) -> None:
        # NB: the hook cannot compute with DTensors, but FSDP gathers them before the next call.
        if not dtensor.is_dtensor(self.stored):
            setattr(self.layer.module, self.own, self.hook.compute_weight(self.layer.module))

    def _missing(self) -> str | None:
        return None

    def _solve(self, value: Tensor, draws: Draws) -> Solution:
        norms, solution = torch.norm_except_dim(value, 2, self.hook.dim), Solution()
        for target, new in zip(self.originals.values(), (norms, _directed(norms, value, draws)), strict=True):
            solution.add(target, new)
        return solution


@dataclass(eq=False)
class SpectralNormed(Parametrized):
    """A weight under the hook of ``torch.nn.utils.spectral_norm``."""

    hook: SpectralNormHook = field(kw_only=True)
    # The hook's constructor draws, and leaves the power method to the first call.
    constructed: bool = field(default=False, kw_only=True)

    def owned(self) -> tuple[str, ...]:
        return (f"{self.name}_u", f"{self.name}_v")

    def expected(self, fills: Sequence[Fill]) -> Moments | None:
        return _normalized_moments(fills, self.stored.shape, self.hook.dim)

    def finish(self) -> None:
        module = self.layer.module
        if dtensor.is_dtensor(self.stored):
            return
        value = self.stored if self.constructed else self.hook.compute_weight(module, do_power_iteration=False)
        setattr(module, self.own, value.detach())

    def _missing(self) -> str | None:
        return None

    def _normalizing(self) -> str | None:
        return self.label

    def _solve(self, value: Tensor, draws: Draws) -> Solution:
        solution, module = Solution(), self.layer.module
        iterations = self._iterations(0, draws)
        self.constructed = iterations == 0
        vectors = _singular_vectors(_as_matrix(value, self.hook.dim), draws, self.hook.eps, iterations)
        solution.add(self.stored, value)
        for name, vector in zip("uv", vectors, strict=True):
            solution.add(getattr(module, f"{self.own}_{name}"), vector)
        return solution


@dataclass(eq=False)
class Registered(Parametrized):
    """A weight with parametrizations that ``torch.nn.utils.parametrize`` has registered."""

    chain: parametrize.ParametrizationList = field(kw_only=True)

    @property
    def can_fail(self) -> bool:
        return not all(type(step) in (compat.WeightNorm, compat.SpectralNorm) for step in self.chain)

    def expected(self, fills: Sequence[Fill]) -> Moments | None:
        shape = list(self.weight.shape)
        for step in reversed(self.chain):
            if type(step) is compat.Orthogonal:
                return 0.0, 1 / math.sqrt(max(shape[-2:]))
            if type(step) is compat.SpectralNorm:
                return _normalized_moments(fills, shape, step.dim)
        return super().expected(fills)

    def finish(self) -> None:
        compat.forget_cached(self.layer.module, self.own)

    def _like(self) -> Tensor:
        def on_meta(tensor: Tensor) -> Tensor:
            return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")

        # Torch's own keep the shape, and take milliseconds on the meta device. Others may not run there at all.
        if all(type(step) in _LABELS for step in self.chain):
            return self.stored
        with suppress(Exception), _copied(self.chain, on_meta):
            like: Tensor = self.chain()
            return like
        return self.stored

    def _missing(self) -> str | None:
        return next((type(step).__name__ for step in self.chain if not hasattr(step, "right_inverse")), None)

    def _normalizing(self) -> str | None:
        return next(
            (_LABELS[type(step)] for step in self.chain if type(step) in (compat.SpectralNorm, compat.Orthogonal)), None
        )

    def _solve(self, value: Tensor, draws: Draws) -> Solution:
        originals = set(map(id, self.originals.values()))

        def copy(tensor: Tensor) -> Tensor:
            if id(tensor) in originals:
                return torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            return tensor.detach().clone()

        with _copied(self.chain, copy) as saved:
            with draws.lent(value.device, "right_inverse"):
                self.chain.right_inverse(value.clone())
            self._reset(draws)
            return _changes(saved, originals)

    def _reset(self, draws: Draws) -> None:
        """Set the state that ``right_inverse`` leaves as it was, such as ``u`` and ``v`` of a spectral norm."""
        inputs: tuple[Tensor, ...] = tuple(self.chain.get_parameter(name.rpartition(".")[2]) for name in self.originals)
        for index, step in enumerate(self.chain):
            if isinstance(step, compat.WeightNorm):
                norms, value = inputs
                value.copy_(_directed(norms, value, draws))
            if isinstance(step, compat.SpectralNorm) and inputs[0].dim() > 1:
                iterations = self._iterations(_CONSTRUCTED + step.n_power_iterations, draws)
                vectors = _singular_vectors(_as_matrix(inputs[0], step.dim), draws, step.eps, iterations)
                step._buffers.update(zip(compat.SINGULAR_VECTORS, vectors, strict=True))
            if index + 1 < len(self.chain):
                inputs = (step(*inputs),)


_Saved = list[tuple[nn.Module, dict[str, Any], dict[str, Any], dict[str, Any]]]


@contextmanager
def _copied(module: nn.Module, copy: Callable[[Tensor], Tensor]) -> Iterator[_Saved]:
    """Run code on copies of the parameters and buffers, without gradients; undo at the end what it assigns."""
    saved = [(each, dict(vars(each)), dict(each._parameters), dict(each._buffers)) for each in module.modules()]
    try:
        for each, _, parameters, buffers in saved:
            each._parameters.update(
                {n: nn.Parameter(copy(p), requires_grad=False) for n, p in parameters.items() if p is not None}
            )
            each._buffers.update({n: copy(b) for n, b in buffers.items() if b is not None})
        yield saved
    finally:
        for each, attributes, parameters, buffers in saved:
            for now, before in ((vars(each), attributes), (each._parameters, parameters), (each._buffers, buffers)):
                cast(dict[str, Any], now).clear()
                cast(dict[str, Any], now).update(before)


def _changes(saved: _Saved, originals: set[int]) -> Solution:
    """Collect what differs from the saved state: the originals, and what a right_inverse has set beside them."""
    solution = Solution()
    for each, attributes, parameters, buffers in saved:
        for holder, before in ((each._parameters, parameters), (each._buffers, buffers)):
            for name, value in cast(dict[str, Tensor | None], holder).items():
                old = before.get(name)
                if value is None:
                    continue
                if old is None:
                    solution.attributes.append((cast(dict[str, Any], holder), name, value.detach()))
                elif id(old) in originals or not torch.equal(old, value):
                    solution.add(old, value)
        for name, value in vars(each).items():
            if name not in ("_parameters", "_buffers") and attributes.get(name, solution) is not value:
                solution.attributes.append((vars(each), name, value))
    return solution


def _as_matrix(weight: Tensor, dim: int) -> Tensor:
    return weight.movedim(dim, 0).flatten(1)


def _directed(norms: Tensor, value: Tensor, draws: Draws) -> Tensor:
    """Draw a direction where the norm is 0 and a weight norm would divide 0 by 0."""
    zero = norms == 0
    return torch.where(zero, draws.normal_(torch.empty_like(value), "v"), value) if bool(zero.any()) else value


def _singular_vectors(matrix: Tensor, draws: Draws, eps: float, iterations: int) -> list[Tensor]:
    """Estimate the first singular vectors of a matrix by the power method, in torch's order, from fresh draws."""
    drawn = [draws.normal_(matrix.new_empty(size), name) for name, size in zip("uv", matrix.shape, strict=True)]
    u, v = (normalize(vector, dim=0, eps=eps) for vector in drawn)
    for _ in range(iterations):
        u = normalize(torch.mv(matrix, v), dim=0, eps=eps)
        v = normalize(torch.mv(matrix.H, u), dim=0, eps=eps)
    return [u, v]


def _normalized_moments(fills: Sequence[Fill], shape: Sequence[int], dim: int) -> Moments | None:
    """Return the moments of independent values of mean 0, divided by the norm of the matrix that they form."""
    last = [fill for fill in fills[-1:] if fill.entry.draws and not fill.entry.structured]
    alike = all(
        fill.block is None or (fill.initializer, fill.args) == (fills[-1].initializer, fills[-1].args) for fill in fills
    )
    before = mixed_moments(last, shape) if alike and last else None
    if before is None or before[0] != 0.0:
        return None
    rows = shape[dim]
    # About the norm of a large random matrix of std 1 (Geman, "A limit theorem for the norm of random matrices", 1980).
    norm = math.sqrt(rows) + (math.sqrt(math.prod(shape) / rows) if len(shape) > 1 else 0.0)
    return 0.0, 1 / norm
