"""The models of timm: names taken evenly, some of them built."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from tools.zoo.check import Result

_RECORDED, _COMPARED = 200, 30


def _timm() -> Any:
    return importlib.import_module("timm")


def names() -> list[str]:
    """Return 200 names, evenly."""
    known = _timm().list_models()
    return [known[i * len(known) // _RECORDED] for i in range(_RECORDED)]


def task(name: str) -> tuple[Result, Callable[[], nn.Module], Iterator[Callable[[], nn.Module]]]:
    """Return a row for a model, what builds it, and for every third one the same again, to be compared."""

    def make() -> nn.Module:
        model: nn.Module = _timm().create_model(name)
        return model

    compared = names().index(name) % 3 == 0
    return Result("timm", name, "images"), make, iter([make] if compared else [])
