"""Recipes as TOML."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from torchinit.recipes import _plain_toml
from torchinit.recipes._arguments import expression_texts
from torchinit.recipes._errors import RecipeError, suggest
from torchinit.recipes._expression import evaluate_constants
from torchinit.recipes._rule import Rule

if sys.version_info >= (3, 11):
    import tomllib
else:
    try:
        import tomli as tomllib
    except ImportError:
        tomllib = None

_RULE, _CONSTANTS = r"^[ \t]*\[\[[ \t]*rule[ \t]*\]\]", r"^[ \t]*\[[ \t]*constants[ \t]*\]"
_KEYS = [spec.name for spec in fields(Rule) if spec.compare]
_EMPTY: dict[str, Any] = {"name": "", "rule": [], "constants": {}, "extends": ""}


@dataclass(frozen=True)
class Contents:
    """What a text of TOML says: the rules, the name, the constants, and what it extends."""

    rules: list[Rule]
    name: str = ""
    constants: Mapping[str, Any] = field(default_factory=dict)
    extends: str = ""


def _parse(text: str, origin: str) -> dict[str, Any]:
    if tomllib is None:
        try:
            return _plain_toml.loads(text)
        except ValueError:
            raise RecipeError(
                f"{origin}: reading this TOML before Python 3.11 needs the package tomli: pip install 'torchinit[toml]'"
            ) from None
    try:
        return tomllib.loads(text)
    except ValueError as error:
        # For an int of thousands of digits Python raises an error without a line.
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = found.group(1) if found else str(text.count("\n") + 1)
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise RecipeError(f"{origin}:{line}: this must be TOML: {reason}") from None


def _line(text: str, head: str, number: int, pattern: str) -> str:
    """Return ``:line`` of a pattern after the head of a table, which has a number; empty if not found."""
    heads = list(re.finditer(head, text, re.MULTILINE))
    found = re.compile(pattern, re.MULTILINE).search(text, heads[number - 1].end() if number <= len(heads) else 0)
    return f":{text.count(chr(10), 0, found.end()) + 1}" if found else ""


def _few(names: Any) -> Any:
    """Name the first of many, so that a message is a line."""
    return [*names[:2], f"{len(names) - 2} more"] if isinstance(names, list) and len(names) > 4 else names


def _rule(table: Any, text: str, origin: str, number: int) -> Rule:
    place = f"{origin}: rule {number}"
    if not isinstance(table, dict):
        raise RecipeError(f"{place}: a rule must be a table, got {table!r}")
    named = " ".join(_toml_value(_few(table[key])) for key in ("module", "name") if key in table)
    named = f" ({named})" if named else ""
    place += named
    for key in table:
        if key not in _KEYS:
            raise RecipeError(f"{place}: a rule has no key {key!r}; {suggest(key, _KEYS)}")
    if "initializer" not in table:
        raise RecipeError(f"{place}: a rule needs an initializer, got the keys {', '.join(table) or 'none'}")
    for words in expression_texts(table["initializer"], table.get("args")):
        # The parser gives no lines.
        place = f"{origin}{_line(text, _RULE, number, re.escape(words))}: rule {number}{named}"
        break
    return Rule(**table, origin=place)


def read_toml(text: str, origin: str) -> Contents:
    """Read the text of a recipe."""
    tables = _parse(text, origin)
    for key in tables:
        if key not in _EMPTY:
            raise RecipeError(f"{origin}: a recipe has no key {key!r}; {suggest(key, list(_EMPTY))}")
    name, rules, constants, extends = (tables.get(key, empty) for key, empty in _EMPTY.items())
    if not isinstance(name, str):
        raise RecipeError(f"{origin}: the name of a recipe must be a str, got {name!r}")
    if not isinstance(extends, str) or ("extends" in tables and not extends):
        raise RecipeError(f"{origin}: extends must be the name of a recipe or a file, got {extends!r}")
    if not isinstance(constants, dict):
        raise RecipeError(f"{origin}: the constants of a recipe must be a table, got {constants!r}")
    if not isinstance(rules, list) or not (rules or extends):
        raise RecipeError(f"{origin}: a recipe needs at least one [[rule]], got {rules!r}")
    read = [_rule(table, text, origin, number) for number, table in enumerate(rules, 1)]
    return Contents(read, name, constants, extends)


def check_constants(constants: Mapping[str, Any], text: str, origin: str) -> None:
    """Refuse wrong constants with the line of a text."""
    try:
        evaluate_constants(constants)
    except RecipeError as error:
        named = re.match(r"the constant (\w+) ", str(error))
        line = _line(text, _CONSTANTS, 1, rf"^[ \t]*{named.group(1)}[ \t]*=" if named else "")
        raise RecipeError(f"{origin}{line}: {error}") from None


def _toml_key(key: str) -> str:
    """Write a key; a name of Python may have other letters than a bare key."""
    return key if key.isascii() else _toml_value(key)


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


def write_toml(rules: Sequence[Rule], name: str, constants: Mapping[str, Any]) -> str:
    """Write a recipe."""
    parts = [f"name = {_toml_value(name)}\n"] if name else []
    tables = [("[constants]", constants)] if constants else []
    for head, table in [*tables, *(("[[rule]]", rule.given()) for rule in rules)]:
        parts.append(
            f"{head}\n" + "".join(f"{_toml_key(key)} = {_toml_value(value)}\n" for key, value in table.items())
        )
    return "\n".join(parts)
