"""Says in words what a tensor holds: in those of the function that was called, else in those of the operators.

A comma means "then", and ``x`` stands for the values so far, as in ``arange(0, 128, 2) / 128, 10000 ** x, 1 / x``. The
first half has the terms: numbers, calls, operators and their arguments. The second half makes texts of them.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten

from torchinit._core.table import dtype_name
from torchinit.recording._program import Call, Operation, Ref
from torchinit.recording._regions import Box, index_text
from torchinit.recording._replay import find_operator
from torchinit.recording._values import Value, draws_of

# Infix operators, with how strongly each binds.
INFIX: Mapping[str, tuple[str, int]] = {
    **{"add": ("+", 1), "sub": ("-", 1), "rsub": ("-", 1), "mul": ("*", 2), "div": ("/", 2), "pow": ("**", 3)},
    **{"floor_divide": ("//", 2), "remainder": ("%", 2), "eq": ("==", 0), "ne": ("!=", 0), "lt": ("<", 0)},
    **{"le": ("<=", 0), "gt": (">", 0), "ge": (">=", 0)},
}
ATOM = 4

_UNIFORM, _NORMAL = ("uniform_", "rand", "rand_like"), ("normal_", "randn", "randn_like")

# Arguments of these need no names; other arguments say nothing about values.
_PLAIN = ("arange", "linspace", "logspace", "randint", "randperm")
_UNTOLD = ("size", "dtype", "layout", "device", "pin_memory", "memory_format", "generator", "out", "implicit")


def number(value: Any) -> str:
    """Write a number to 4 significant digits, and anything else as it is."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(number, value))}]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e7:
        return str(int(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def called(name: str, args: Sequence[str]) -> str:
    """Write a call; one without arguments is its name."""
    return f"{name}({', '.join(args)})" if args else name


def owner(call: Call) -> str | None:
    """Return the package that an initializer is from; None for torch.nn.init and torchinit."""
    return None if call.is_upstreams else call.module.partition(".")[0]


def call_words(call: Call) -> str:
    """Write the call of an initializer with the arguments that differ from the defaults."""
    if call.function in ("uniform_", "normal_", "constant_"):
        args = [number(value) for value in call.args.values()]
    else:
        told = {name: value for name, value in call.args.items() if (name, value) not in call.defaults.items()}
        args = [f"{name}={number(value)}" for name, value in told.items()]
    words = called(call.function, args)
    return words if owner(call) is None else f"{owner(call)} {words}"


def constant(tensor: Tensor) -> str:
    """Write values that come from outside torch; a few are shown."""
    shown = number(tensor.tolist()) if tensor.numel() <= 4 else f"{tensor.numel()} values"
    return f"{shown} from outside torch"


def told_arguments(value: Value) -> list[tuple[str | None, Any]]:
    """Return the arguments of an operator that say something, with the names of those that have a default."""
    operation, (args, kwargs) = value.operation, value.arguments
    told: list[tuple[str | None, Any]] = []
    for index, argument in enumerate(find_operator(operation.name)._schema.arguments if operation else ()):
        given = args[index] if index < len(args) else kwargs.get(argument.name)
        optional = argument.has_default_value()
        if given is None or argument.name in _UNTOLD or (optional and given == argument.default_value):
            continue
        told.append((argument.name if optional and name_of(value) not in _PLAIN else None, given))
    return told


def name_of(value: Value) -> str:
    """Return the name of a value's operator; that of one that draws keeps its underscore."""
    if value.kind != "operator" or value.operation is None:
        return ""
    name = value.operation.operator
    return name if value.operation.random else name.strip("_")


def operands(value: Value) -> tuple[Any, Any] | None:
    """Return the two sides of an infix operator; None if it is another, or has further arguments."""
    args, kwargs = value.arguments
    if name_of(value) not in INFIX or len(args) != 2 or any(x != 1 for x in kwargs.values()):
        return None
    return (args[1], args[0]) if name_of(value) == "rsub" else (args[0], args[1])


def law(value: Value) -> str | None:
    """Write an operator that draws uniform or normal values in the words of torch.nn.init."""
    operator, args = value.operation.operator if value.operation else "", value.arguments[0]
    if operator not in _UNIFORM + _NORMAL or value.inputs:
        return None
    given = args[1:3] if operator.endswith("m_") or operator.endswith("l_") else ()
    return called(
        "uniform_" if operator in _UNIFORM else "normal_", [number(x) for x in (*given, *(0, 1)[len(given) :])]
    )


def filling(value: Any) -> float | None:
    """Return the number that a value is everywhere; None if it is not one number."""
    if not isinstance(value, Value):
        return value if isinstance(value, (int, float)) else None
    if value.filling is None:
        value.filling = (_filling(value),)
    return value.filling[0]


def _filling(value: Value) -> float | None:
    if value.kind == "constant" and value.tensor is not None and value.tensor.numel() == 1:
        return filling(value.tensor.item())
    if value.kind == "call" and value.call is not None and value.call.is_upstreams:
        known = {"zeros_": 0.0, "ones_": 1.0, "constant_": value.call.args.get("val")}
        return filling(known.get(value.call.function))
    return _operator_filling(value, value.operation) if value.kind == "operator" and value.operation else None


def _operator_filling(value: Value, operation: Operation) -> float | None:
    operator, args = operation.operator, value.arguments[0]
    if operation.number is not None:
        return operation.number
    if operator == "fill_":
        return filling(args[1])
    sides = [filling(x) for x in operands(value) or ()]
    if not sides or None in sides:
        return None
    left, right = (float(x) for x in sides if x is not None)
    folded = {"add": left + right, "sub": left - right, "rsub": left - right, "mul": left * right}
    return left / right if name_of(value) == "div" and right else folded.get(name_of(value))


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
        return call_words(value.call), ATOM
    if value.kind == "join":
        return f"({_joined(value)})", ATOM
    filled = filling(value)
    if filled is not None:
        return f"fill {number(filled)}" if filled else "zero", 0
    if value.kind == "constant" and value.tensor is not None:
        return constant(value.tensor), 0
    if value.kind != "operator":
        return _BEFORE.get(value.kind, ""), 0
    text, binds = (law(value), ATOM) if law(value) else _Expression(None).operator(value)
    return (text or "", binds) if value.seed is None else (f"{text} from seed {value.seed}", 0)


def _step(value: Value, source: Value) -> tuple[str, int]:
    """Write what is done to a source, and how strongly that binds; 0 if it is no infix operator."""
    expression = _Expression(source)
    if value.kind == "call" and value.call is not None:
        return call_words(value.call), 0
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
        told = told_arguments(value)
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
        if value.kind != "operator" or (not value.inputs and law(value)):
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
        return called(name, self.arguments(told_arguments(value))) + _output(value), ATOM


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
