"""Read recipes from TOML: texts, files, and what they extend."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any

from torchinit.recipes._expression import parse
from torchinit.recipes._recipe import Recipe
from torchinit.recipes._rule import RecipeError, Rule, suggest
from torchinit.recipes._toml import check_constants, read_toml


def read(path: str | os.PathLike[str], chain: Sequence[Path] = ()) -> Recipe:
    """Read a recipe from a TOML file; ``chain`` has the files that extend it.

    Raises:
        OSError: if the file cannot be read
        RecipeError: if the recipe is wrong; the message is one line with the file and the rule
    """
    with open(path, "rb") as file:
        contents = file.read()
    try:
        text = contents.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{os.fspath(path)}: a recipe must be UTF-8, got byte {contents[error.start]:#x}") from None
    return from_text(text, os.fspath(path), [*chain, Path(path).resolve()])


def _shipped_text(name: str) -> str:
    return (files(__package__) / "shipped" / f"{name}.toml").read_text(encoding="utf-8")


@lru_cache
def shipped(name: str) -> Recipe:
    """Read a recipe of the package."""
    return from_text(_shipped_text(name), f"{name}.toml")


def about(name: str) -> tuple[str, str]:
    """Return what a recipe of the package does, and its source, from the comment at the top of its file."""
    lines = takewhile(lambda line: line.startswith("# "), _shipped_text(name).splitlines())
    does, _, source = " ".join(line[2:] for line in lines).partition(" Source: ")
    return does, source


def from_text(text: str, origin: str, chain: Sequence[Path] = ()) -> Recipe:
    """Read a recipe from TOML; a file that it extends lies beside the last file of the chain."""
    own = read_toml(text, origin)
    if not own.extends:
        check_constants(own.constants, text, origin)
        return Recipe(own.rules, own.name, own.constants)
    base = _base(own.extends, origin, chain)
    constants = {**base.constants, **own.constants}
    check_constants(constants, text, origin)
    # Drop rules of the base that can match nothing after the own ones; they would warn.
    rules = [*own.rules, *(rule for rule in base.rules if not any(mine.shadows(rule) for mine in own.rules))]
    _check_used(own.constants, rules, constants, origin)
    return Recipe(rules, own.name or base.name, constants)


def _base(extends: str, origin: str, chain: Sequence[Path]) -> Recipe:
    from torchinit.recipes._shipped import SHIPPED

    if extends in SHIPPED:
        return SHIPPED[extends]()
    path = (chain[-1].parent if chain else Path()) / extends
    if path.resolve() in chain:
        names = " -> ".join(file.name for file in [*chain, path])
        raise RecipeError(f"{origin}: recipes must not extend each other in a cycle, got {names}")
    try:
        return read(path, chain)
    except OSError as error:
        if not path.exists() and not extends.endswith(".toml"):
            raise RecipeError(
                f"{origin}: there is no recipe and no file {extends!r} to extend; {suggest(extends, list(SHIPPED))}"
            ) from None
        raise RecipeError(f"{origin}: extends needs a file, got {os.fspath(path)!r}: {error.strerror}") from None


def _check_used(own: Mapping[str, Any], rules: Sequence[Rule], constants: Mapping[str, Any], origin: str) -> None:
    """Refuse a constant that changes nothing, because its name is wrong."""
    texts = [value for value in constants.values() if isinstance(value, str)]
    used = {name for text in texts for name in parse(text).names}
    used.update(name for rule in rules for one in rule.expressions.values() for name in one.names)
    for name in own:
        if name not in used:
            known = [one for one in constants if one in used]
            right = suggest(name, known) if known else "they use none"
            raise RecipeError(f"{origin}: no rule uses the constant {name}; {right}")
