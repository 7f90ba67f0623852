"""The error of a wrong recipe, and the suggestion that ends its message."""

import difflib
from collections.abc import Sequence


class RecipeError(ValueError):
    """A mistake in a recipe, or a recipe that does not fit a model; the message is one line that says where."""


def suggest(word: str, known: Sequence[str]) -> str:
    """Suggest the closest known word, or list them all."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"
