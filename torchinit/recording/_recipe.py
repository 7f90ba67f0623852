"""Turns a recording into a recipe: ordered rules for the parameters that a rule can speak of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from torchinit._core.modules import plain_kind, unparametrized
from torchinit._core.registry import INITIALIZERS
from torchinit.recipes import Recipe, Rule
from torchinit.recipes._blocks import Block, block_shape
from torchinit.recipes._defaults import STATISTICS, padding_fills
from torchinit.recipes._fill import ARGUMENTS, FUNCTIONS, Fill, resolve
from torchinit.recipes._keyed_apply import surviving_fills
from torchinit.recipes._layers import Layer, upstream_fans, walk
from torchinit.recipes._match import match
from torchinit.recipes._rule import DEFAULT, KEEP
from torchinit.recipes._steps import make_steps
from torchinit.recording._keyed_program import KeyedProgram
from torchinit.recording._program import Draw, Entry, Operation, Ref, Step
from torchinit.recording._regions import box_of
from torchinit.recording._replay import run
from torchinit.recording._rules import Law, Parameter, find_rules, with_fan_laws

_KEPT: Law = (("initializer", KEEP),)
_COPIES = ("copy_", "clone", "_to_copy")
# The largest tensor on which a library's initializer is compared with torchinit's.
_COMPARED = 1 << 20


@dataclass(frozen=True)
class Write:
    """An initializer with its arguments, and the block that it fills, or None for the whole.

    With a batch dimension the block is one matrix of a stack, drawn by itself.
    """

    initializer: str
    args: Mapping[str, Any]
    block: Block | None = None
    batch_dims: int = 0

    def fill(self, ref: Ref) -> Fill:
        """Return the plain fill that it resolves to, in this tensor."""
        fans = upstream_fans(block_shape(ref.size, self.block)[self.batch_dims :])
        found = resolve(self.initializer, self.args, fans, ref.dtype.is_complex)
        return replace(found, block=self.block, batch_dims=self.batch_dims)


def _constant(value: float, dtype: torch.dtype = torch.float64) -> Write:
    if value in (0.0, 1.0):
        return Write("ones_" if value else "zeros_", {})
    # The shortest number that has this value in the dtype.
    exact = torch.tensor(value, dtype=dtype, device="cpu")
    short = (float(f"{value:.{digits}g}") for digits in range(1, 18))
    return Write("constant_", {"val": next(x for x in short if torch.equal(exact.new_tensor(x), exact))})


def _scaled(write: Write, factor: float, ref: Ref) -> Write | None:
    """Return the write of values that are multiplied afterwards, or None if no rule can say it."""
    fill = write.fill(ref)
    names = list(ARGUMENTS[fill.initializer])
    args = [arg * factor if isinstance(arg, float) else arg for arg in fill.args]
    if factor == 1.0 or fill.initializer == "zeros_":
        return write
    if fill.initializer in ("uniform_", "normal_", "trunc_normal_") and factor > 0.0:
        return Write(fill.initializer, dict(zip(names, args)), write.block)
    return _constant(factor) if fill.initializer == "ones_" else None


class _Said:
    """Follows what a rule can say of each tensor through the steps that fill an entry."""

    def __init__(self, entry: Entry) -> None:
        self.ref = entry.ref
        self.known: dict[Ref, list[Write]] = {}

    def follow(self, step: Step) -> bool:
        """Take in one step; return False if no rule can say it."""
        if isinstance(step, Draw):
            return self._put(step.target, [Write(step.initializer, step.args)])
        if step.is_state:
            return False
        made = step.made[0]
        if step.number is not None:
            return self._put(made, [_constant(float(step.number))])
        factor = _factor(step, made)
        if factor is not None:
            return self._scale(made, factor)
        source = next((x for x in step.args[::-1] if isinstance(x, Ref)), None)
        if step.operator in _COPIES and source is not None and source.size == made.size:
            return source in self.known and self._put(made, self.known[source])
        return False

    def _scale(self, target: Ref, factor: float) -> bool:
        scaled = [_scaled(write, factor, target) for write in self.known.get(target, ())]
        if not scaled or None in scaled:
            return False
        self.known[target] = [write for write in scaled if write is not None]
        return True

    def _put(self, target: Ref, writes: list[Write]) -> bool:
        whole = next((ref for ref in (self.ref, *self.known) if ref.storage == target.storage), target)
        if (target.size, target.stride, target.offset) == (whole.size, whole.stride, whole.offset):
            self.known[target] = list(writes)
            return True
        block = _block(whole, target)
        if block is None or len(writes) != 1 or writes[0].block is not None:
            return False
        batch_dims = 0 if _is_elementwise(writes[0]) else len(whole.size) - len(target.size)
        self.known.setdefault(whole, []).append(Write(writes[0].initializer, writes[0].args, block, batch_dims))
        # Only the first dimension may number matrices.
        return batch_dims == 0 or (batch_dims, block.dim) == (1, 0)


def _factor(step: Step, target: Ref) -> float | None:
    """Return the number that a step multiplies a tensor by, or None."""
    if isinstance(step, Operation) and step.writes == (target,) and step.label is None:
        number = step.args[-1]
        if isinstance(number, (int, float)) and number and step.operator in ("mul_", "div_"):
            return float(number) if step.operator == "mul_" else 1.0 / number
    return None


def _block(whole: Ref, part: Ref) -> Block | None:
    """Return the block that a part is, if it is cut along one dimension."""
    box = box_of(whole, part)
    if box is None or any(indices.step != 1 for indices in box):
        return None
    cut = [d for d, indices in enumerate(box) if len(indices) != whole.size[d]]
    return Block(cut[0], box[cut[0]].start, len(box[cut[0]])) if len(cut) == 1 else None


class Laws:
    """Says of each entry which rule it needs, or why none will do.

    Args:
        keyed: what fills each entry by its last writes alone
        skeleton: the model with fake tensors, if it is at hand; without it, no rule says "default"
    """

    def __init__(self, keyed: KeyedProgram, skeleton: nn.Module | None) -> None:
        self.keyed, self.program = keyed, keyed.program
        self.layers: dict[str, Layer] = {}
        self.defaults: dict[str, list[Fill]] = {}
        self._same: dict[Any, bool] = {}
        if skeleton is not None:
            self.layers = {layer.plain: layer for layer in walk(skeleton)}
            found = match([Rule(DEFAULT, optional=True), Rule(KEEP, optional=True)], skeleton)
            steps, plain = make_steps(found), found.plain
            copies = {step.plain: plain[step.source] for step in steps if step.source is not None}
            self.defaults = {plain[name]: fills for name, (_, fills) in surviving_fills(steps).items()}
            self.defaults |= {name: self.defaults[source] for name, source in copies.items() if source in self.defaults}

    def of(self, entry: Entry) -> Law | None:
        """Return what a rule must say of an entry, or None if no rule can."""
        writes = self.writes(entry)
        if writes is None:
            return None
        if self._is_default(entry, writes):
            return (("initializer", DEFAULT),)
        padding = [Write("zeros_", {}, fill.block) for fill in self._padding(entry)]
        if padding and writes[-len(padding) :] == padding:
            writes = writes[: -len(padding)]
        return self._law(entry, writes)

    def writes(self, entry: Entry) -> list[Write] | None:
        """Return what fills an entry, as initializers of torchinit; None if they cannot say it."""
        steps = self.keyed.steps_of([entry.name])
        said = _Said(entry)
        if all(said.follow(step) for step in steps):
            return said.known.get(entry.ref)
        return self._constant(entry, steps) or self._librarys(entry, steps)

    def _constant(self, entry: Entry, steps: Sequence[Step]) -> list[Write] | None:
        """Run steps without a draw; return their value if it is one number."""
        operations = [step for step in steps if isinstance(step, Operation) and not step.random]
        if entry.ref.numel > _COMPARED or len(operations) < len(steps):
            return None
        values = run(self.program, operations).tensor(entry.ref)
        first = values.flatten()[:1]
        return [_constant(first.item(), entry.ref.dtype)] if bool((values == first).all()) else None

    def _librarys(self, entry: Entry, steps: Sequence[Step]) -> list[Write] | None:
        """Return the one call of a library's own initializer, if torchinit's function of its name does the same."""
        factor = 1.0
        while steps and (last := _factor(steps[-1], entry.ref)) is not None:
            steps, factor = steps[:-1], factor * last
        labels = {step.label for step in steps if isinstance(step, Operation)}
        number = labels.pop() if len(labels) == 1 else None
        if number is None or self.program.calls[number].target != entry.ref:
            return None
        call = self.program.calls[number]
        args = {name: value for name, value in call.args.items() if name in ARGUMENTS[call.function]}
        key = (call.module, call.function, tuple(sorted(args.items())), len(entry.ref.size))
        if key not in self._same:
            self._same[key] = self._does_the_same(number, call.function, args, entry.ref)
        scaled = _scaled(Write(call.function, args), factor, entry.ref) if self._same[key] else None
        return None if scaled is None else [scaled]

    def _does_the_same(self, number: int, function: str, args: Mapping[str, Any], ref: Ref) -> bool:
        """Run a library's call and torchinit's from one seed; compare the values up to rounding."""
        if ref.numel > _COMPARED:
            return False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            actual = run(self.program, self.program.labeled[number]).tensor(ref)
            torch.manual_seed(0)
            whole = torch.empty_strided(ref.size, ref.stride, dtype=ref.dtype, device="cpu")
            try:
                expected = FUNCTIONS[function](whole, **args)
            except ValueError:
                # A recording holds no lists; without its factors rotary_inv_freq_ refuses the others.
                return False
        return torch.allclose(actual, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))

    def _is_default(self, entry: Entry, writes: Sequence[Write]) -> bool:
        fills = [_plain(write.fill(entry.ref)) for write in writes]
        expected = [_plain(fill) for fill in self.defaults.get(entry.name, ())]
        # A norm of another library has no default that its type tells; its own number says more.
        return (
            bool(expected and self.standard(entry))
            and len(fills) == len(expected)
            and all(map(_equal, fills, expected))
        )

    def _padding(self, entry: Entry) -> list[Fill]:
        layer = self._layer(entry)
        is_weight = entry.name.rpartition(".")[2] == "weight"
        return padding_fills(layer) if layer is not None and is_weight else []

    def _law(self, entry: Entry, writes: Sequence[Write]) -> Law | None:
        writes = _without_covered(writes, entry.ref.size)
        first = writes[0]
        if any(
            (w.initializer, w.args, w.batch_dims) != (first.initializer, first.args, first.batch_dims) for w in writes
        ):
            return None
        defaults = ARGUMENTS[first.initializer]
        args = {name: value for name, value in first.args.items() if value != defaults[name].default}
        law: dict[str, Any] = {"initializer": first.initializer}
        if args:
            law["args"] = tuple(args.items())
        if not self._has_layers_fans(entry, first):
            law["fans"] = "upstream"
        if first.batch_dims > 0:
            if len(writes) != entry.ref.size[0]:
                return None
            law["batch_dims"] = first.batch_dims
        elif first.block is not None and not _is_elementwise(first):
            lengths = [w.block[2] for w in writes if w.block is not None]
            law["blocks"] = len(lengths) if len(set(lengths)) == 1 else tuple(lengths)
            law |= {"dim": first.block[0]} if first.block[0] else {}
        return tuple(law.items())

    def _layer(self, entry: Entry) -> Layer | None:
        return self.layers.get(entry.name.rpartition(".")[0])

    def standard(self, entry: Entry) -> str:
        """Return the layer of ``torch.nn`` that an entry's module inherits from; empty without one."""
        layer = self._layer(entry)
        return "" if layer is None else layer.standard

    def fans(self, entry: Entry, batch_dims: int = 0) -> tuple[int, int] | None:
        """Return the fans that a rule counts for an entry; None if it has none, or the layer is not known."""
        layer, shape = self._layer(entry), list(entry.ref.size)[batch_dims:]
        return layer.fans(shape) if layer is not None and (batch_dims or layer.knows_fans(shape)) else None

    def _has_layers_fans(self, entry: Entry, write: Write) -> bool:
        """True if a rule may count fans by the layer, because they are those of the shape, or it needs none."""
        initializer, shape = INITIALIZERS[write.initializer], list(entry.ref.size)[write.batch_dims :]
        fans = self.fans(entry, write.batch_dims)
        if not initializer.needs_fans:
            return not initializer.flattens or len(shape) <= 2 or fans is not None
        return fans == upstream_fans(shape) if self.layers else len(shape) == 2


def _is_elementwise(write: Write) -> bool:
    """True if a block of a tensor gets the same values' law as the whole."""
    entry = INITIALIZERS[write.initializer]
    return not (entry.needs_fans or entry.structured)


def _without_covered(writes: Sequence[Write], shape: Sequence[int]) -> list[Write]:
    """Drop what later blocks cover together; return the blocks in their order along the dimension."""
    blocks = sorted((w for w in writes if w.block is not None), key=lambda w: w.block or ())
    whole = [w for w in writes if w.block is None]
    dim = blocks[0].block[0] if blocks and blocks[0].block else 0
    end = 0
    for write in blocks:
        if write.block is not None and write.block[:2] == (dim, end):
            end += write.block[2]
    return blocks if blocks and end == shape[dim] else [*whole, *blocks]


def _plain(fill: Fill) -> Fill:
    if fill.initializer == "constant_" and fill.args[0] in (0.0, 1.0):
        return Fill("ones_" if fill.args[0] else "zeros_", (), fill.block)
    return fill


def _equal(a: Fill, b: Fill) -> bool:
    return (a.initializer, a.block, len(a.args)) == (b.initializer, b.block, len(b.args)) and all(
        x == y or (isinstance(x, float) and isinstance(y, float) and math.isclose(x, y, rel_tol=1e-12))
        for x, y in zip(a.args, b.args)
    )


def _is_statistic(entry: Entry) -> bool:
    return entry.kind == "buffer" and entry.name.rpartition(".")[2] in STATISTICS


def recipe_of(keyed: KeyedProgram, skeleton: nn.Module | None) -> tuple[Recipe, list[str]]:
    """Return the rules for a recording's parameters, and the names of the tensors that no rule can say."""
    program = keyed.program
    laws = Laws(keyed, skeleton)
    entries = [entry for entry in program.entries if entry.tied is None and not _is_statistic(entry)]
    found = {entry.name: laws.of(entry) for entry in entries if entry.kind == "parameter"}
    # The variance of a complex draw is not that of its parts.
    real = [entry for entry in entries if not entry.ref.dtype.is_complex]
    found = with_fan_laws(found, {entry.name: fans for entry in real if (fans := laws.fans(entry)) is not None})
    parameters = [
        Parameter(
            entry.name,
            plain_kind(unparametrized(entry.module.rpartition(".")[2], entry.module)),
            laws.standard(entry),
            len(entry.ref.size),
            found[entry.name] or _KEPT,
        )
        for entry in entries
        if entry.kind == "parameter"
    ]
    left = [entry.name for entry in entries if found.get(entry.name) is None]
    return Recipe(find_rules(parameters), "recorded"), left
