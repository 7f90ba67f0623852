"""Recipes as TOML, and the lines that things stand on."""

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
        # An int of thousands of digits is an error of Python's, without a line.
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = found.group(1) if found else str(text.count("\n") + 1)
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise RecipeError(f"{origin}:{line}: this must be TOML: {reason}") from None


class _Lines:
    """Finds the line of a rule, and of a key within it."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.heads = [
            index
            for index, line in enumerate(self.lines)
            # What stands before a true header is TOML by itself; a header within a string is cut from its quotes.
            if re.match(r"""\s*\[\[\s*["']?rule["']?\s*\]\]""", line) and self._is_whole(index)
        ]

    def _is_whole(self, end: int) -> bool:
        try:
            tomllib.loads("\n".join(self.lines[:end]))
        except ValueError:
            return False
        return True

    def rule(self, index: int) -> int:
        """The first line of a rule, from 1; of the file if the rules are written otherwise."""
        return self.heads[index] + 1 if index < len(self.heads) else 1

    def find(self, index: int, key: str) -> int:
        """The line on which the rule gives a key, or its first."""
        start = self.rule(index)
        end = self.heads[index + 1] if index + 1 < len(self.heads) else len(self.lines)
        given = re.compile(rf"""\s*(\[\s*rule\s*\.\s*)?["']?{re.escape(key)}["']?\s*[]=.]""")
        lines = [number for number in range(start, end + 1) if given.match(self.lines[number - 1])]
        return next((number for number in lines if self._is_whole(number - 1)), start)


def _rule(table: Any, origin: str, lines: _Lines, index: int) -> Rule:
    def located(message: str, key: str) -> RecipeError:
        return RecipeError(f"{origin}:{lines.find(index, key)}: {message}")

    if not isinstance(table, dict):
        raise located(f"a rule must be a table, got {table!r}", "rule")
    for key in table:
        if key not in _KEYS:
            raise located(f"a rule has no key {key!r}; {suggest(key, _KEYS)}", key)
    if "initializer" not in table:
        raise located(f"a rule needs an initializer, got the keys {', '.join(table) or 'none'}", "rule")
    try:
        rule = Rule(**table, origin="")
    except RecipeError as error:
        raise located(str(error).removeprefix(": "), error.key) from None
    # Later messages speak of the rule as a whole.
    object.__setattr__(rule, "origin", f"{origin}:{lines.rule(index)}")
    return rule


def read_rules(text: str, origin: str) -> tuple[list[Rule], str]:
    """Read the rules and the name of a recipe."""
    tables = _parse(text, origin)
    for key in tables:
        if key not in ("name", "rule"):
            raise RecipeError(f"{origin}:1: a recipe has no key {key!r}; {suggest(key, ['name', 'rule'])}")
    name, rules = tables.get("name", ""), tables.get("rule", [])
    if not isinstance(name, str):
        raise RecipeError(f"{origin}:1: the name of a recipe must be a str, got {name!r}")
    if not isinstance(rules, list) or not rules:
        raise RecipeError(f"{origin}:1: a recipe needs at least one [[rule]], got {rules!r}")
    lines = _Lines(text)
    return [_rule(table, origin, lines, index) for index, table in enumerate(rules)], name


def _spelled(value: Any) -> str:
    if isinstance(value, str):
        # JSON's strings are TOML's, but for one control character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_spelled(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_spelled, value)) + "]"
    # TOML's inf and nan are Python's, and repr() of a float is read back whole.
    return repr(value)


def write_rules(rules: Sequence[Rule], name: str) -> str:
    """Write the rules and the name of a recipe."""
    parts = [f"name = {_spelled(name)}\n"] if name else []
    for rule in rules:
        given = rule.given()
        parts.append("[[rule]]\n" + "".join(f"{key} = {_spelled(value)}\n" for key, value in given.items()))
    return "\n".join(parts)
