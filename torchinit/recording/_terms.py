"""The terms that a description is made of: numbers, calls, operators and their arguments."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchinit.recording._program import Call, Operation
from torchinit.recording._replay import find_operator
from torchinit.recording._values import Value

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
