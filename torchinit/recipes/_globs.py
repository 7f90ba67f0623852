"""Globs on names, which also know ``{layer}``, the number of a layer, and ``{last}``, the last number in its place."""

import difflib
import fnmatch
import re
from collections.abc import Iterable
from functools import lru_cache

from torchinit.recipes._errors import RecipeError

_NUMBERS = ("{layer}", "{last}")


def check_glob(glob: str) -> None:
    """Refuse a second ``{layer}`` or ``{last}``, and a name in braces that is almost one of them."""
    for word in re.findall(r"\{\w+\}", glob):
        if word not in _NUMBERS and (close := difflib.get_close_matches(word, _NUMBERS, n=1)):
            raise RecipeError(
                f"a name knows {' and '.join(_NUMBERS)}, got {word} in {glob!r}; did you mean {close[0]}?"
            )
    for word in _NUMBERS:
        if glob.count(word) > 1:
            raise RecipeError(f"a name must have {word} at most once, got {glob!r}")


def _regex(glob: str, group: str = "") -> str:
    """Translate a glob; ``{group}`` becomes a group, which matches a whole number."""
    # A private character passes through translate() as it is.
    marks = {word: chr(0xE000 + index) for index, word in enumerate(_NUMBERS)}
    for word, mark in marks.items():
        glob = glob.replace(word, mark)
    regex = fnmatch.translate(glob)
    for word, mark in marks.items():
        # NB: Python 3.10 translates a star into a group of its own.
        number = r"(?P<number>\d+)" if word == group else r"\d+"
        regex = regex.replace(mark, rf"(?<!\d){number}(?!\d)")
    return regex


@lru_cache(maxsize=1024)
def _any_of(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_regex, globs)))


@lru_cache(maxsize=1024)
def _capturing(globs: tuple[str, ...], group: str) -> list[re.Pattern[str]]:
    return [re.compile(_regex(glob, group)) for glob in globs if group in glob]


def matches_any(globs: tuple[str, ...], text: str) -> bool:
    return _any_of(globs).match(text) is not None


def matches_name(globs: tuple[str, ...], name: str) -> bool:
    """True if a glob matches a qualified name; ``*.bias`` also matches ``bias``."""
    pattern = _any_of(globs)
    return pattern.match(name) is not None or pattern.match(f".{name}") is not None


def _place(globs: tuple[str, ...], name: str, group: str) -> tuple[str, int] | None:
    """Return the number that a group matched, and the text before it."""
    for pattern in _capturing(globs, group):
        for text in (name, f".{name}"):
            found = pattern.match(text)
            if found is not None:
                return text[: found.start("number")].lstrip("."), int(found["number"])
    return None


def layer_number(globs: tuple[str, ...], name: str) -> int | None:
    """Return the number that ``{layer}`` matched; None without it."""
    place = _place(globs, name, "{layer}")
    return None if place is None else place[1]


def not_last(globs: tuple[str, ...], names: Iterable[str]) -> frozenset[str]:
    """Return the names that match only by a ``{last}`` that is not the last number in its place."""
    places = {name: place for name in names if (place := _place(globs, name, "{last}")) is not None}
    last: dict[str, int] = {}
    for before, number in places.values():
        last[before] = max(number, last.get(before, 0))
    plain = tuple(glob for glob in globs if "{last}" not in glob)
    return frozenset(
        name
        for name, (before, number) in places.items()
        if number < last[before] and not (plain and matches_name(plain, name))
    )
