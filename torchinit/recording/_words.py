"""Says in words what a tensor holds: in those of the function that was called, else in those of the operators.

A comma means "then", and ``x`` stands for the values so far, as in ``arange(0, 128, 2) / 128, 10000 ** x, 1 / x``.
"""

from itertools import groupby
from typing import Any

from torch.utils._pytree import tree_flatten

from torchinit._core.table import dtype_name
from torchinit.recording import _terms
from torchinit.recording._program import Ref
from torchinit.recording._regions import Box, index_text
from torchinit.recording._terms import ATOM, INFIX, called, filling, name_of, number, operands
from torchinit.recording._values import Value, draws_of

# Longer texts give way to the size of a table, or to the draws that a tensor is computed from.
_LONG_TABLE, _LONG_CHAIN, _MOST_STEPS = 60, 100, 48


class _TooLongError(Exception):
    """A text is too long to be read."""


def words(value: Value, numel: int) -> str:
    """Say what a tensor of so many elements holds."""
    steps = value.steps()
    try:
        if len(steps) > _MOST_STEPS:
            raise _TooLongError
        text = _joined(value) if value.kind == "join" else _chain(value)
        if len(text) > (_LONG_CHAIN if value.drawn else _LONG_TABLE):
            raise _TooLongError
    except _TooLongError:
        return _short(value, steps, numel)
    return text


def _short(value: Value, steps: list[Value], numel: int) -> str:
    if not value.drawn:
        return f"table of {numel} values"
    draws = list(dict.fromkeys(words(draw, numel) for draw in draws_of([value])))
    count = sum(step.kind == "operator" and not step.draws for step in steps)
    listed = ", ".join(draws) if len(draws) <= 3 else f"{len(draws)} kinds of draws"
    return f"{count} operators on {listed}" if count else f"{listed}, in parts"


def parts(value: Value) -> list[tuple[str, Value]]:
    """Return the writes of a tensor in order, each with the index of the part that it fills, empty for the whole."""
    if value.kind != "join" or value.ref is None:
        return [("", value)]
    return [(_place(value.ref, box), x) for box, x in zip(value.boxes, value.inputs)]


def _place(whole: Ref, box: Box | None) -> str:
    """Say which part of a tensor a box is."""
    index = "in part" if box is None else index_text(whole, box)
    return f"row {index[1:-1]}" if len(whole.size) == 2 and index[1:-1].isdecimal() else index


def _joined(value: Value) -> str:
    """Write the parts of a tensor in order, several alike as one; what it held before comes last."""
    told: list[str] = []
    written = [(index, _chain(part)) for index, part in parts(value) if part.kind not in _BEFORE]
    for text, alike in groupby(written, key=lambda part: part[1]):
        places = [index for index, _ in alike]
        listed = [f"{places[0]} to {places[-1]}"] if len(places) > 3 and all(places) else places
        told += [f"{place} {text}".strip() for place in listed]
    return ", ".join(told + [f"rest {_BEFORE[part.kind]}" for part in value.inputs if part.kind in _BEFORE])


_BEFORE = {"unwritten": "never written", "given": "as it was"}


def _chain(value: Value) -> str:
    """Write the steps that made a value, one after the other."""
    steps: list[tuple[str, int]] = []
    while (source := _source(value)) is not None:
        steps.append(_step(value, source))
        value = source
    text, strength = _start(value)
    for step, binds in reversed(steps):
        if step:
            # An infix operator goes on where it binds to all that is before it.
            text += step if not text else f" {step}" if 0 < binds <= strength else f", {step}"
            strength = binds
    return text


def _start(value: Value) -> tuple[str, int]:
    """Write a value that is computed from no other one alone."""
    if value.kind == "call" and value.call is not None:
        return _terms.call_words(value.call), ATOM
    if value.kind == "join":
        return f"({_joined(value)})", ATOM
    filled = filling(value)
    if filled is not None:
        return f"fill {number(filled)}" if filled else "zero", 0
    if value.kind == "constant" and value.tensor is not None:
        return _terms.constant(value.tensor), 0
    if value.kind != "operator":
        return _BEFORE.get(value.kind, ""), 0
    text, binds = (_terms.law(value), ATOM) if _terms.law(value) else _Expression(None).operator(value)
    return (text or "", binds) if value.seed is None else (f"{text} from seed {value.seed}", 0)


def _step(value: Value, source: Value) -> tuple[str, int]:
    """Write what is done to a source, and how strongly that binds; 0 if it is no infix operator."""
    expression = _Expression(source)
    if value.kind == "call" and value.call is not None:
        return _terms.call_words(value.call), 0
    if name_of(value) in ("to_copy", "copy") and value.ref is not None:
        return f"to {dtype_name(value.ref.dtype)}", 0
    sides = operands(value)
    if sides is not None and sides[0] is source and filling(sides[1]) is not None:
        symbol, binds = INFIX[name_of(value)]
        if (symbol, filling(sides[1])) in (("+", 0), ("-", 0), ("*", 1), ("/", 1)):
            return "", 0
        other = expression.text(sides[1], binds + 1)
        return f"- {other[1:]}" if symbol == "+" and other.startswith("-") else f"{symbol} {other}", binds
    if value.kind == "operator" and sides is None and name_of(value) not in _SIGNS:
        told = _terms.told_arguments(value)
        if told and told[0][1] is source and not any(isinstance(x, Value) for x in tree_flatten(told[1:])[0]):
            return called(name_of(value), expression.arguments(told[1:])) + _output(value), 0
    return expression.form(value)[0], 0


_SIGNS = {"neg": "-", "reciprocal": "1 / "}


def _axis(value: Value, side: int) -> str:
    """Write the new axis of a table that is combined with itself, as in ``x[..., None] - x``."""
    args, values = value.operation.args if value.operation else (), value.arguments[0]
    combined = isinstance(values[0], Value) and values[0] is values[1] and args[0].size != args[1].size
    return "[..., None]" if combined and args[side].size[-1:] == (1,) else ""


def _output(value: Value) -> str:
    """Write which output of an operator a value is, if it has several."""
    return f"[{value.output}]" if value.operation and len(value.operation.fresh) > 1 else ""


class _Expression:
    """Writes a value as one expression, with ``x`` in place of a source."""

    def __init__(self, source: Value | None) -> None:
        self.source, self.left = source, 4 * _LONG_CHAIN

    def text(self, value: Any, strength: int = 0) -> str:
        """Write an operand, in parentheses if it binds less than it must."""
        text, binds = self._operand(value)
        self.left -= len(text)
        if self.left < 0:
            raise _TooLongError
        return f"({text})" if binds < strength else text

    def arguments(self, told: list[tuple[str | None, Any]]) -> list[str]:
        return [self.text(x) if label is None else f"{label}={self.text(x)}" for label, x in told]

    def _operand(self, value: Any) -> tuple[str, int]:
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(self.text, value))}]", ATOM
        if not isinstance(value, Value):
            return number(value), ATOM
        if value is self.source or value.kind == "so far":
            return "x", ATOM
        filled = filling(value)
        return (number(filled), ATOM) if filled is not None else self.form(value)

    def form(self, value: Value) -> tuple[str, int]:
        """Write a value by what makes it, and say how strongly that binds."""
        if value.kind == "part" and value.ref is not None:
            index = value.boxes[0] and index_text(value.ref, value.boxes[0])
            return f"{self.text(value.inputs[0], ATOM)}{index or ''}", ATOM
        if value.kind != "operator" or (not value.inputs and _terms.law(value)):
            return _start(value)
        return self.operator(value)

    def operator(self, value: Value) -> tuple[str, int]:
        """Write an operator with its arguments."""
        sides, name = operands(value), name_of(value)
        if sides is not None:
            symbol, binds = INFIX[name]
            left, right = (f"{self.text(x, binds + i)}{_axis(value, i)}" for i, x in enumerate(sides))
            return f"{left} {symbol} {right}", binds
        if name in _SIGNS:
            return f"{_SIGNS[name]}{self.text(value.arguments[0][0], 3)}", 2
        return called(name, self.arguments(_terms.told_arguments(value))) + _output(value), ATOM


def _source(value: Value) -> Value | None:
    """Return the value that all of a value's own is computed from, apart from numbers; None if there is none."""
    if value.kind not in ("operator", "part", "call") or filling(value) is not None:
        return None
    inputs = list({id(x): x for x in value.inputs if filling(x) is None}.values())
    if not inputs and operands(value) is None:
        inputs = list({id(x): x for x in value.inputs}.values())
    if len(inputs) <= 1:
        return inputs[0] if inputs else None
    return next((x for x in value.steps()[-2::-1] if _passes(value, x)), None)


def _passes(value: Value, source: Value) -> bool:
    """True if everything that a value is computed from, apart from numbers, goes through a source."""
    pending, seen = list(value.inputs), set[int]()
    while pending:
        step = pending.pop()
        if step is source or id(step) in seen or filling(step) is not None:
            continue
        if not step.inputs:
            return False
        seen.add(id(step))
        pending += step.inputs
    return True
