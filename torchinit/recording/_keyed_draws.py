"""The steps of a keyed program: draws from a key, and recorded operators.

A key gives uniform and normal values only, so the operators of other distributions become steps that compute from these.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch

from torchinit.recording._program import Draw, Operation, Ref, Step

# Makes a temporary tensor of a size and a dtype.
_New: TypeAlias = Callable[[tuple[int, ...], torch.dtype], Ref]


class _Steps:
    """Writes the steps that replace one operator."""

    def __init__(self, operation: Operation, new: _New) -> None:
        self.operation, self.new = operation, new
        self.out = operation.made[0]
        self.args = (*operation.args, *(x for name, x in operation.kwargs.items() if name in _NUMBERS))
        self.work = torch.float64 if self.out.dtype == torch.float64 else torch.float32

    def draw(self, initializer: str, target: Ref, *args: float) -> Draw:
        names = ("a", "b") if initializer == "uniform_" else ("mean", "std")
        return Draw(initializer, target, dict(zip(names, args)), place=self.operation.place)

    def run(self, name: str, target: Ref, *args: Any) -> Operation:
        """Run an in-place operator."""
        return Operation(f"aten.{name}", (target, *args), writes=(target,), place=self.operation.place)

    def make(self, name: str, fresh: tuple[Ref, ...], *args: Any, **kwargs: Any) -> Operation:
        """Run an operator that makes tensors."""
        return Operation(f"aten.{name}", args, kwargs, fresh=fresh, place=self.operation.place)

    def temporary(self, dtype: torch.dtype | None = None) -> Ref:
        return self.new(self.out.size, self.work if dtype is None else dtype)

    def number(self, index: int, default: float) -> float:
        """Return a number among the arguments after the tensor."""
        return self.args[index] if index < len(self.args) else default

    def computed(self, draw: Draw, *changes: tuple[Any, ...]) -> Iterator[Step]:
        """Draw into a temporary, change it in place, and copy it to the output."""
        yield draw
        for name, *args in changes:
            yield self.run(name, draw.target, *args)
        yield self.run("copy_.default", self.out, draw.target)


# Keyword arguments that are numbers of a distribution.
_NUMBERS = ("from", "to", "mean", "std", "lambd", "median", "sigma", "p")


def _uniform(steps: _Steps) -> Iterator[Step]:
    yield steps.draw("uniform_", steps.out, steps.number(1, 0.0), steps.number(2, 1.0))


def _normal(steps: _Steps) -> Iterator[Step]:
    yield steps.draw("normal_", steps.out, steps.number(1, 0.0), steps.number(2, 1.0))


def _normal_of_tensors(steps: _Steps) -> Iterator[Step]:
    """``torch.normal``, with a mean and a standard deviation that are numbers or tensors."""
    yield steps.draw("normal_", steps.out, 0.0, 1.0)
    yield steps.run("mul_.Tensor", steps.out, steps.number(1, 1.0))
    yield steps.run("add_.Tensor", steps.out, steps.number(0, 0.0))


def _bernoulli(steps: _Steps) -> Iterator[Step]:
    chance = steps.args[1] if len(steps.args) > 1 else 0.5 if steps.operation.writes else steps.args[0]
    drawn, hit = steps.temporary(torch.float32), steps.temporary(torch.bool)
    yield steps.draw("uniform_", drawn, 0.0, 1.0)
    yield steps.make(f"lt.{'Tensor' if isinstance(chance, Ref) else 'Scalar'}", (hit,), drawn, chance)
    yield steps.run("copy_.default", steps.out, hit)


def _exponential(steps: _Steps) -> Iterator[Step]:
    draw = steps.draw("uniform_", steps.temporary(), 0.0, 1.0)
    # -log(1 - u) / rate, where 1 - u is never 0.
    yield from steps.computed(
        draw, ("neg_.default",), ("log1p_.default",), ("div_.Scalar", -float(steps.number(1, 1.0)))
    )


def _geometric(steps: _Steps) -> Iterator[Step]:
    draw = steps.draw("uniform_", steps.temporary(), 0.0, 1.0)
    rate = math.log1p(-steps.args[1])
    changes = (("neg_.default",), ("log1p_.default",), ("div_.Scalar", rate), ("ceil_.default",))
    yield from steps.computed(draw, *changes, ("clamp_min_.default", 1))


def _cauchy(steps: _Steps) -> Iterator[Step]:
    draw = steps.draw("uniform_", steps.temporary(), -0.5, 0.5)
    median, sigma = steps.number(1, 0.0), steps.number(2, 1.0)
    changes = (("mul_.Scalar", math.pi), ("tan_.default",), ("mul_.Scalar", sigma), ("add_.Scalar", median))
    yield from steps.computed(draw, *changes)


def _log_normal(steps: _Steps) -> Iterator[Step]:
    draw = steps.draw("normal_", steps.temporary(), steps.number(1, 1.0), steps.number(2, 2.0))
    yield from steps.computed(draw, ("exp_.default",))


def _integers(steps: _Steps, low: int, high: int) -> Iterator[Step]:
    draw = steps.draw("uniform_", steps.temporary(torch.float64), 0.0, 1.0)
    yield from steps.computed(draw, ("mul_.Scalar", high - low), ("floor_.default",), ("add_.Scalar", low))


def _random(steps: _Steps) -> Iterator[Step]:
    """``random_``: without bounds, all integers that the dtype holds."""
    dtype, numbers = steps.out.dtype, steps.args[1:]
    largest = round(2 / torch.finfo(dtype).eps) if dtype.is_floating_point else torch.iinfo(dtype).max + 1
    low = numbers[0] if len(numbers) > 1 else 0
    high = numbers[-1] if numbers else None
    yield from _integers(steps, low, largest if high is None else high)


def _randint(steps: _Steps) -> Iterator[Step]:
    numbers = [x for x in steps.args if isinstance(x, int)]
    yield from _integers(steps, numbers[0] if len(numbers) > 1 else 0, numbers[-1])


def _randperm(steps: _Steps) -> Iterator[Step]:
    drawn, ordered, order = (steps.temporary(dtype) for dtype in (torch.float64, torch.float64, torch.int64))
    yield steps.draw("uniform_", drawn, 0.0, 1.0)
    # Stable, so that ties break the same way everywhere.
    yield steps.make("sort.stable", (ordered, order), drawn, stable=True)
    yield steps.run("copy_.default", steps.out, order)


_DECOMPOSITIONS: dict[str, Callable[[_Steps], Iterator[Step]]] = {
    **dict.fromkeys(["uniform_", "rand", "rand_like"], _uniform),
    **dict.fromkeys(["normal_", "randn", "randn_like"], _normal),
    "normal": _normal_of_tensors,
    **dict.fromkeys(["bernoulli_", "bernoulli"], _bernoulli),
    "exponential_": _exponential,
    "geometric_": _geometric,
    "cauchy_": _cauchy,
    "log_normal_": _log_normal,
    "random_": _random,
    **dict.fromkeys(["randint", "randint_like"], _randint),
    "randperm": _randperm,
}


def decompose(operation: Operation, new: _New) -> list[Step]:
    """Return the steps that draw by key what a random operator draws; the operator itself if there are none."""
    found = _DECOMPOSITIONS.get(operation.operator)
    if found is None or "out" in operation.kwargs:
        return [operation]
    return list(found(_Steps(operation, new)))
