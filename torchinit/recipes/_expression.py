"""Arguments that are computed from a parameter's shape, its depth and a recipe's constants.

An expression is parsed by :mod:`ast`, checked against a list of allowed parts, and computed here in floats: no code of
a recipe runs. Floats also end ``9**9**9`` at once.
"""

import ast
import copy
import keyword
import math
import operator
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torchinit.recipes._errors import RecipeError, suggest

_MAX_LENGTH, _MAX_DEPTH = 400, 64

# Names that stand for numbers of a parameter, and what an error says of a parameter without one.
NAMES = {
    "fan_in": "no fan_in of fewer than 2 dimensions",
    "fan_out": "no fan_out of fewer than 2 dimensions",
    "size": "no size",
    "layer": "no number for {layer}",
    "layers": "no number for {layer}",
}


def _power(base: float, exponent: float) -> float:
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("the root of a negative number is not real")
    return float(result)


_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
# Functions of one number, and of two or more.
_UNARY: dict[str, Callable[..., float]] = {"sqrt": math.sqrt, "log": math.log, "exp": math.exp}
_VARIADIC: dict[str, Callable[..., float]] = {"min": min, "max": max}
_FUNCTIONS = {**_UNARY, **_VARIADIC}

_FAILURES = {
    ZeroDivisionError: "a division by zero",
    OverflowError: "a number beyond float's range",
    ValueError: "a root or logarithm that is not real",
    IndexError: "an index beyond the shape",
}


class _Numbers(ast.NodeTransformer):
    """Puts numbers in place of names."""

    def __init__(self, numbers: Mapping[str, float]) -> None:
        self.numbers = numbers

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self.numbers:
            return node
        number = self.numbers[node.id]
        positive = ast.Constant(abs(number))
        # A negative constant would be written without the parentheses that a power needs.
        return ast.UnaryOp(ast.USub(), positive) if number < 0 else positive


@dataclass(frozen=True)
class Expression:
    """A checked expression and the names in it."""

    text: str
    tree: ast.expr
    names: frozenset[str]

    def with_numbers(self, numbers: Mapping[str, float]) -> str:
        """Return the text with numbers in place of constants."""
        return ast.unparse(_Numbers(numbers).visit(copy.deepcopy(self.tree)))

    def value(self, known: Mapping[str, Any]) -> float:
        """Compute the expression; ``known`` gives a number for each name, and the shape for ``size``.

        Raises:
            RecipeError: if the result is not a finite real number; the message ends a sentence that begins with what
                the result is for
        """
        failure = "nan"
        try:
            result = _evaluate(self.tree, known)
            if math.isfinite(result):
                return result
            failure = str(result)
        except (ArithmeticError, ValueError, IndexError) as error:
            failure = _FAILURES[type(error)]
        except KeyError as error:
            failure = NAMES[error.args[0]]
        raise RecipeError(f"must be a finite number, got {failure} in {self.text!r}")


def _operation(node: ast.expr) -> tuple[Callable[..., float], list[ast.expr]] | None:
    """Return the function of an operation and what it takes; None for anything else."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)], [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)], [node.operand]
    if isinstance(node, ast.Call):
        _check_call(node)
        return _FUNCTIONS[ast.unparse(node.func)], node.args
    return None


def _evaluate(node: ast.expr, known: Mapping[str, Any]) -> float:
    operation = _operation(node)
    if operation is not None:
        function, parts = operation
        return function(*(_evaluate(part, known) for part in parts))
    if isinstance(node, ast.Name):
        return float(known[node.id])
    if isinstance(node, ast.Subscript):
        return float(known["size"][_index(node)])
    assert isinstance(node, ast.Constant)
    return float(node.value)  # type: ignore[arg-type]


def _index(node: ast.Subscript) -> int:
    """Return the index of ``size[i]``, which is an integer, perhaps negative."""
    with suppress(ValueError):
        index = ast.literal_eval(node.slice)
        if type(index) is int:
            return index
    raise RecipeError(f"must have an integer as the index of size, got {ast.unparse(node)}")


def _check_call(node: ast.Call) -> None:
    name = ast.unparse(node.func)
    if name not in _FUNCTIONS:
        raise RecipeError(f"must call a known function, got {name}; {suggest(name, list(_FUNCTIONS))}")
    count = len(node.args)
    if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
        raise RecipeError(f"must pass plain numbers to {name}, got {ast.unparse(node)}")
    if count != 1 if name in _UNARY else count < 2:
        raise RecipeError(
            f"must pass {'1 number' if name in _UNARY else '2 or more numbers'} to {name}, got {ast.unparse(node)}"
        )


def _check_depth(tree: ast.AST) -> None:
    """Refuse an expression on which a recursive function could fail."""
    level: list[ast.AST] = [tree]
    for _ in range(_MAX_DEPTH):
        level = [part for node in level for part in ast.iter_child_nodes(node)]
    if level:
        raise RecipeError(f"must nest at most {_MAX_DEPTH} operations, got more")


def _check(node: ast.expr, names: set[str]) -> None:
    """Refuse a part that is not allowed; collect the names."""
    operation = _operation(node)
    if operation is not None:
        for part in operation[1]:
            _check(part, names)
    elif isinstance(node, ast.Name):
        if node.id == "size":
            raise RecipeError("must take one size, such as size[0], got size")
        names.add(node.id)
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "size":
        _index(node)
        names.add("size")
    elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        raise RecipeError(
            f"must be made of numbers, names, + - * / **, parentheses and {', '.join(_FUNCTIONS)}, got"
            f" {ast.unparse(node)}"
        )
    elif abs(node.value) > 1e308 or node.value != node.value:  # type: ignore[arg-type]
        raise RecipeError(f"must have finite numbers, got {ast.unparse(node)}")


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Parse and check an expression.

    Raises:
        RecipeError: if it is wrong; the message ends a sentence that begins with what the expression is for
    """
    if len(text) > _MAX_LENGTH:
        raise RecipeError(f"must have at most {_MAX_LENGTH} characters, got {len(text)}")
    names: set[str] = set()
    try:
        with warnings.catch_warnings():
            # Python warns of a literal such as 0x1for.
            warnings.simplefilter("ignore")
            tree = ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = str(getattr(error, "msg", error) or "nested too deeply").splitlines()[0]
        raise RecipeError(f"must be a number or an expression, got {text!r}: {reason}") from None
    try:
        _check_depth(tree)
        _check(tree, names)
    except RecipeError as error:
        raise RecipeError(f"{error} in {text!r}") from None
    return Expression(text, tree, frozenset(names))


@contextmanager
def told_of(subject: str) -> Iterator[None]:
    """Begin the message of a :class:`RecipeError` with what it is about."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError(f"{subject} {error}") from None


def check_names(names: Iterable[str], known: Collection[str], text: str) -> None:
    """Refuse an unknown name."""
    for name in sorted(names):
        if name not in known:
            right = suggest(name, list(known)) if known else "there are none"
            raise RecipeError(f"must use known names, got {name} in {text!r}; {right}")


def _constant(name: Any, value: Any) -> float | Expression:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise RecipeError(f"a constant must have a name that expressions can use, got {name!r}")
    if name in NAMES or name in _FUNCTIONS:
        raise RecipeError(f"a constant must not be called as what expressions know already, got {name}")
    with told_of(f"the constant {name}"):
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 1e308:
            raise RecipeError(f"must be a finite number or an expression, got {value!r}")
        return value


def evaluate_constants(constants: Mapping[str, Any]) -> dict[str, float]:
    """Compute a recipe's constants, which may be expressions of each other.

    Raises:
        RecipeError: if one is wrong, or they form a cycle
    """
    parsed = {name: _constant(name, value) for name, value in constants.items()}
    values = {name: one for name, one in parsed.items() if not isinstance(one, Expression)}
    waiting = {name: one for name, one in parsed.items() if isinstance(one, Expression)}
    for name, one in waiting.items():
        with told_of(f"the constant {name}"):
            if one.names & NAMES.keys():
                raise RecipeError(f"must not depend on a parameter, got {one.text!r}")
            check_names(one.names, [other for other in constants if other != name], one.text)
    while waiting:
        ready = [name for name, one in waiting.items() if one.names <= values.keys()]
        if not ready:
            raise RecipeError(f"constants must not depend on each other in a cycle, got {', '.join(waiting)}")
        for name in ready:
            with told_of(f"the constant {name}"):
                values[name] = waiting.pop(name).value(values)
    return values
