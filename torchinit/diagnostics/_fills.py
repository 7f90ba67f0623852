"""What fills a tensor, as a recipe's plan or a recording says it: a law to test values against."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchinit import keyed
from torchinit.diagnostics._distribution import sample
from torchinit.diagnostics._laws import Cdf, Law, learnt, normal, point, sphere, truncated, uniform
from torchinit.diagnostics._parameters import module_of
from torchinit.recipes import Plan
from torchinit.recipes._blocks import view_block
from torchinit.recipes._expected import moments, shares
from torchinit.recipes._fill import Fill, write
from torchinit.recipes._keyed_apply import surviving_fills
from torchinit.recipes._rule import KEEP
from torchinit.recording import Recording
from torchinit.recording._describe import Described, describe
from torchinit.recording._recipe import Laws
from torchinit.recording._values import Values
from torchinit.recording._words import called, number

# Initializers that write one number, and those that draw each value by itself as well.
_CONSTANT = ("constant_", "zeros_", "ones_")
_SIMPLE = ("uniform_", "normal_", "trunc_normal_", *_CONSTANT)
# Larger tensors are not drawn to learn the law of what draws them.
_DRAWN = 1 << 20


def is_simple(fill: Fill) -> bool:
    """True if a fill draws each value by itself, or writes one number."""
    return fill.initializer in _SIMPLE and not fill.by_matrix


@dataclass(frozen=True, eq=False)
class Filled:
    """What fills one tensor.

    Attributes:
        shape: its sizes
        dtype: its type; None if nothing is written
        words: what fills it, for people
        draws: whether its values depend on draws
        fills: the plain initializers in order; None if it is filled in another way
        draw: fills a new tensor; None if the tensor is kept as it is
    """

    shape: tuple[int, ...]
    dtype: torch.dtype | None
    words: str
    draws: bool
    fills: tuple[Fill, ...] | None
    draw: Callable[[], Tensor] | None

    @property
    def is_simple(self) -> bool:
        """True if the law of each value is known, and no other value matters to it."""
        return (
            self.fills is not None
            and not (self.dtype is not None and self.dtype.is_complex)
            and all(map(is_simple, self.fills))
        )

    def parts(self, tensor: Tensor) -> Iterator[tuple[Fill, Tensor]]:
        """Yield the values of a tensor that each fill leaves, of fills that are alike together."""
        fills = self.fills or ()
        if len(fills) == 1 and fills[0].block is None:
            yield fills[0], tensor
            return
        kinds = list(dict.fromkeys((fill.initializer, fill.args) for fill in fills))
        numbers = torch.full(tensor.shape, -1, dtype=torch.int16, device="cpu")
        for fill in fills:
            block = numbers if fill.block is None else view_block(numbers, *fill.block)
            block.fill_(kinds.index((fill.initializer, fill.args)))
        for index, (initializer, args) in enumerate(kinds):
            values = tensor[numbers == index]
            if values.numel():
                yield Fill(initializer, args), values


def _cdf(fill: Fill) -> Cdf | None:
    formulas: dict[str, Callable[..., Cdf]] = {"uniform_": uniform, "normal_": normal, "trunc_normal_": truncated}
    formula = formulas.get(fill.initializer)
    return None if formula is None else formula(*(float(arg) for arg in fill.args if isinstance(arg, (int, float))))


def law_of(fill: Fill, shape: Sequence[int]) -> Law:
    """Return the distribution of what a simple fill draws."""
    mean, std = moments(replace(fill, block=None), shape)
    return Law(mean, std, _cdf(fill) if std > 0.0 else None)


def moments_of_all(filled: Filled) -> Law:
    """Return mean and standard deviation of all values together, by the fill or else by a draw."""
    if filled.fills is not None and len(filled.fills) == 1 and filled.is_simple:
        return replace(law_of(filled.fills[0], filled.shape), cdf=None)
    values = filled.draw().double() if filled.draw is not None else torch.zeros(1, device="cpu")
    return Law(float(values.mean()), float(values.std(correction=0)))


def alike(a: Filled, b: Filled) -> bool | None:
    """True if two laws are one, False if they are not; None if their words do not tell."""
    if a.fills is None or b.fills is None:
        return True if a.words == b.words and a.fills is b.fills else None
    if len(a.fills) != len(b.fills):
        return None
    same = all(map(_equal, a.fills, b.fills))
    return same or (False if len(a.fills) == 1 and a.is_simple and b.is_simple else None)


def _equal(a: Fill, b: Fill) -> bool:
    if a.initializer in _CONSTANT and b.initializer in _CONSTANT:
        return a.block == b.block and moments(a, (1,)) == moments(b, (1,))
    if replace(a, args=()) != replace(b, args=()) or len(a.args) != len(b.args):
        return False
    return all(
        x == y or (isinstance(x, (int, float)) and isinstance(y, (int, float)) and math.isclose(x, y, rel_tol=1e-6))
        for x, y in zip(a.args, b.args)
    )


def _words(fills: Sequence[Fill]) -> str:
    kinds = dict.fromkeys(called(fill.initializer, [number(arg) for arg in fill.args]) for fill in fills)
    return ", ".join(kinds)


def _drawn(shape: Sequence[int], dtype: torch.dtype, fills: tuple[Fill, ...]) -> Callable[[], Tensor]:
    return lambda: write(torch.zeros(shape, dtype=dtype, device="cpu"), fills, torch.Generator().manual_seed(0))


def _filled(shape: Sequence[int], dtype: torch.dtype, fills: tuple[Fill, ...]) -> Filled:
    draws = any(fill.entry.draws for fill in fills)
    return Filled(tuple(shape), dtype, _words(fills), draws, fills, _drawn(shape, dtype, fills))


def _kept(shape: Sequence[int], words: str = KEEP) -> Filled:
    return Filled(tuple(shape), None, words, False, None, None)


def of_plan(plan: Plan) -> tuple[dict[str, Filled], dict[str, str]]:
    """Return what a plan does to each tensor, and the first name of each tied one."""
    tied = {row.name: row.initializer.removeprefix("as ") for row in plan.rows if row.rule == "tied"}
    found = {row.name: _kept(row.shape, row.initializer) for row in plan.rows if row.name not in tied}
    fills = surviving_fills([step for step in plan.steps if step.source is None])
    for name, (tensor, own) in fills.items():
        if own:
            found[name] = _filled(tensor.shape, tensor.dtype, tuple(own))
    for step in plan.steps:
        if step.source is not None and step.source in found:
            found[step.target] = found[step.source]
        if step.through is not None:
            # What a parametrization makes of a draw has no law of its own.
            found |= {name: _kept(tensor.shape) for name, tensor in step.through.originals.items()}
    plain = {step.target: step.plain for step in plan.steps}
    return {plain.get(name, name): filled for name, filled in found.items()}, tied


def of_recording(recording: Recording) -> tuple[dict[str, Filled], dict[str, str]]:
    """Return what a recording fills each tensor with, and the first name of each tied one."""
    laws = Laws(recording.keyed_program, None)
    told = describe(Values(recording.program))
    tied = {x.entry.name: x.entry.tied for x in told if x.entry.tied is not None}
    return {x.entry.name: _recorded(recording, laws, x) for x in told if x.entry.name not in tied}, tied


def _recorded(recording: Recording, laws: Laws, x: Described) -> Filled:
    ref = x.entry.ref
    if ref.numel == 0 or any(step.kind in ("unwritten", "given") for step in x.value.steps()):
        return _kept(ref.size, x.own)
    writes = laws.writes(x.entry)
    if writes is not None:
        return _filled(ref.size, ref.dtype, tuple(write.fill(ref) for write in writes))
    # A draw from the model's own generator is one as well.
    draws = x.value.drawn or any(step.seed is not None for step in x.value.steps())
    return Filled(
        ref.size, ref.dtype, x.own, draws, None, lambda: _replayed(recording, x.entry.name, ref.size, ref.dtype)
    )


def _replayed(recording: Recording, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Fill one tensor as recorded: by key, which draws no other one, or from a seed if no key gives it."""
    tensor = torch.zeros(shape, dtype=dtype, device="cpu")
    holder = module_of({name: tensor})
    try:
        recording.materialize_(holder, key=keyed.key(0), strict=False)
    except RuntimeError:
        recording.materialize_(holder, seed=0, strict=False)
    return tensor


def _formula(fill: Fill, shape: Sequence[int]) -> Cdf | None:
    """Return the law of a fill that a formula gives."""
    if fill.initializer == "orthogonal_":
        rows, *columns = fill.matrix_shape(shape)
        size, gain = max(rows, math.prod(columns)), float(fill.args[0])  # type: ignore[arg-type]
        return sphere(size, gain) if size > 3 and gain else None
    if not is_simple(fill):
        return None
    law = law_of(fill, shape)
    return point(law.mean) if law.std == 0.0 else law.cdf


def density_of(filled: Filled) -> Cdf | None:
    """Return the law of what fills a parameter; None if nothing does, or it would take a large draw to know it."""
    # Both parts of a complex value count, so its law is no formula of one number.
    is_complex = filled.dtype is not None and filled.dtype.is_complex
    parts = [(share, _formula(fill, filled.shape)) for share, fill in shares(filled.fills or (), filled.shape)]
    known = [(share, part) for share, part in parts if part is not None and not is_complex]
    if known and len(known) == len(parts):
        return lambda x: sum((share * part(x) for share, part in known), torch.zeros_like(x))
    if filled.draw is not None and math.prod(filled.shape) <= _DRAWN:
        return learnt(sample(filled.draw()))
    return None
