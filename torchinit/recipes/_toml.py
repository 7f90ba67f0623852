"""Recipes as TOML."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from torchinit.recipes._rule import RecipeError, Rule, suggest

if sys.version_info >= (3, 11):
    import tomllib
else:
    try:
        import tomli as tomllib
    except ImportError:
        tomllib = None

_KEYS = [spec.name for spec in fields(Rule) if spec.compare]


def _parse(text: str, origin: str) -> dict[str, Any]:
    if tomllib is None:
        raise RecipeError("reading TOML before Python 3.11 needs the package tomli: pip install 'torchinit[toml]'")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        # For an int of thousands of digits Python raises an error without a line.
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = found.group(1) if found else str(text.count("\n") + 1)
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise RecipeError(f"{origin}:{line}: this must be TOML: {reason}") from None


def _rule(table: Any, origin: str) -> Rule:
    if not isinstance(table, dict):
        raise RecipeError(f"{origin}: a rule must be a table, got {table!r}")
    named = [_toml_value(table[key]) for key in ("module", "name") if key in table]
    origin += f" ({' '.join(named)})" if named else ""
    for key in table:
        if key not in _KEYS:
            raise RecipeError(f"{origin}: a rule has no key {key!r}; {suggest(key, _KEYS)}")
    if "initializer" not in table:
        raise RecipeError(f"{origin}: a rule needs an initializer, got the keys {', '.join(table) or 'none'}")
    return Rule(**table, origin=origin)


def read_rules(text: str, origin: str) -> tuple[list[Rule], str]:
    """Read the rules and the name of a recipe."""
    tables = _parse(text, origin)
    for key in tables:
        if key not in ("name", "rule"):
            raise RecipeError(f"{origin}: a recipe has no key {key!r}; {suggest(key, ['name', 'rule'])}")
    name, rules = tables.get("name", ""), tables.get("rule", [])
    if not isinstance(name, str):
        raise RecipeError(f"{origin}: the name of a recipe must be a str, got {name!r}")
    if not isinstance(rules, list) or not rules:
        raise RecipeError(f"{origin}: a recipe needs at least one [[rule]], got {rules!r}")
    return [_rule(table, f"{origin}: rule {number}") for number, table in enumerate(rules, 1)], name


def _toml_value(value: Any) -> str:
    if isinstance(value, str):
        # A JSON string is a TOML string, except for one control character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml_value(one)}" for name, one in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    # TOML spells inf and nan as Python does, and repr() of a float reads back as the same float.
    return repr(value)


def write_rules(rules: Sequence[Rule], name: str) -> str:
    """Write the rules and the name of a recipe."""
    parts = [f"name = {_toml_value(name)}\n"] if name else []
    for rule in rules:
        given = rule.given()
        parts.append("[[rule]]\n" + "".join(f"{key} = {_toml_value(value)}\n" for key, value in given.items()))
    return "\n".join(parts)
