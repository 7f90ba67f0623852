"""Reads the TOML of the shipped recipes where Python has no reader: before 3.11, without the package tomli."""

import ast
import re
from typing import Any


def loads(text: str) -> dict[str, Any]:
    """Read TOML without nested tables, dates and long strings, as the package ships it and ``Recipe.to_toml`` writes it.

    Raises:
        ValueError: if the text has anything else
    """
    tables: dict[str, Any] = {}
    current = tables
    lines = map(str.strip, text.splitlines())
    for line in lines:
        if not line or line.startswith("#"):
            continue
        if line == "[[rule]]":
            current = {}
            tables.setdefault("rule", []).append(current)
        elif line == "[constants]":
            current = tables.setdefault("constants", {})
        else:
            key, equals, value = line.partition(" = ")
            while value.count("[") > value.count("]"):
                value += next(lines, "]")
            if not equals or not key.isidentifier() or key in current:
                raise ValueError(f"not one of the lines that are read here: {line}")
            current[key] = _value(value)
    return tables


def _value(text: str) -> Any:
    """Read a string, a number, a list or an inline table, which differ little from Python's."""
    strings: list[str] = []

    def kept(match: re.Match[str]) -> str:
        strings.append(match[0])
        return f"'{len(strings) - 1}'"

    plain = re.sub(r'"(?:[^"\\]|\\.)*"', kept, text)
    plain = re.sub(r"(\w+) = ", r'"\1": ', plain)
    plain = re.sub(r"\btrue\b", "True", re.sub(r"\bfalse\b", "False", plain))
    try:
        return ast.literal_eval(re.sub(r"'(\d+)'", lambda match: strings[int(match[1])], plain))
    except SyntaxError:
        raise ValueError(f"not one of the values that are read here: {text}") from None
