"""The arguments of a rule: their types, and those that are expressions."""

import inspect
import typing
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any

from torchinit.recipes._errors import RecipeError, suggest
from torchinit.recipes._expression import Expression, parse, told_of
from torchinit.recipes._fill import ARGUMENTS, Value

KEEP, DEFAULT = "keep", "default"


def arguments_of(initializer: str) -> dict[str, inspect.Parameter]:
    """Return the arguments that a rule may pass: all but the tensor and the generator."""
    if initializer == DEFAULT:
        return {"layer": inspect.Parameter("layer", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=str)}
    return {} if initializer == KEEP else ARGUMENTS[initializer]


def an(kind: str) -> str:
    return f"an {kind}" if kind == "int" else f"a {kind}"


def is_a(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) or (isinstance(value, int) and float in types)


def _types(initializer: str, name: str) -> tuple[type, ...]:
    """Return the types that an argument may have."""
    annotation = arguments_of(initializer)[name].annotation
    return typing.get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)


def normalized_args(initializer: str, args: Mapping[str, Any]) -> dict[str, Value]:
    normalized: dict[str, Value] = {}
    takes = arguments_of(initializer)
    for name, value in args.items():
        if name not in takes:
            right = suggest(name, list(takes)) if takes else "it takes none"
            raise RecipeError(f"{initializer} takes no argument {name!r}; {right}")
        if value is None and takes[name].default is None:
            # TOML has no None.
            continue
        types = _types(initializer, name)
        if list[float] in types and isinstance(value, Sequence) and all(is_a(one, (float,)) for one in value):
            normalized[name] = tuple(map(float, value))
            continue
        if list[float] in types:
            raise RecipeError(f"{name} of {initializer} must be a list of numbers, got {value!r}")
        if not _is_expression(initializer, name, value) and not is_a(value, types):
            raise RecipeError(f"{name} of {initializer} must be {an(types[0].__name__)}, got {value!r}")
        try:
            normalized[name] = value if isinstance(value, str) else types[0](value)
        except OverflowError:
            raise RecipeError(f"{name} of {initializer} must be finite, got an int of many digits") from None
    for name, parameter in takes.items():
        if parameter.default is inspect.Parameter.empty and name not in args:
            raise RecipeError(f"{initializer} needs the argument {name}, got {normalized or 'none'}")
    return normalized


def expression_texts(initializer: Any, args: Any) -> list[str]:
    """Return the arguments that are strings and must be numbers, of a rule that is perhaps wrong."""
    if initializer not in ARGUMENTS or not isinstance(args, Mapping):
        return []
    return [v for name, v in args.items() if name in ARGUMENTS[initializer] and _is_expression(initializer, name, v)]


def _is_expression(initializer: str, name: str, value: Any) -> bool:
    return isinstance(value, str) and bool({int, float} & set(_types(initializer, name)))


def expressions_of(initializer: str, args: Mapping[str, Any], globs: Sequence[str]) -> dict[str, Expression]:
    """Parse the arguments that are strings and must be numbers, of a rule with these globs."""
    found = {}
    for name, value in args.items():
        if _is_expression(initializer, name, value):
            with told_of(f"{name} of {initializer}"):
                found[name] = one = parse(value)
                if one.names & {"layer", "layers"} and not any("{layer}" in glob for glob in globs):
                    raise RecipeError(f"needs {{layer}} in the name of the rule, got {value!r}")
    return found


def computed(
    initializer: str, args: Mapping[str, Value], expressions: Mapping[str, Expression], known: Mapping[str, Any]
) -> dict[str, Value]:
    """Return the arguments with the expressions computed."""
    values = dict(args)
    for name, one in expressions.items():
        with told_of(f"{name} of {initializer}"):
            number = one.value(known)
            if _types(initializer, name)[0] is int:
                if number != int(number):
                    raise RecipeError(f"must be an int, got {number} in {one.text!r}")
                number = int(number)
            values[name] = number
    return values
