"""Helpers for the tests of patch_torch."""

import sys
from collections.abc import Callable, Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from torchinit._core import patch as _patch

INIT = torch.nn.init
NAMESPACES = (INIT, nn.modules.activation, nn.modules.transformer)
# Upstream's functions, before any test patches.
UPSTREAM = {name: value for name, value in vars(INIT).items() if isinstance(value, FunctionType)}
SWAPPED = sorted(set(UPSTREAM) - {"_make_deprecate"})


@pytest.fixture(autouse=True)
def leaves_torch_unchanged() -> Iterator[None]:
    def held() -> list[list[tuple[str, int]]]:
        # A warning adds a registry to a namespace.
        names = [[name for name in vars(namespace) if name != "__warningregistry__"] for namespace in NAMESPACES]
        return [[(name, id(vars(n)[name])) for name in names[i]] for i, n in enumerate(NAMESPACES)]

    before = held()
    yield
    assert held() == before
    assert _patch._swaps == {}


def swapped() -> bool:
    """Return True if torch.nn.init holds torchinit's functions; fail if only some are swapped."""
    (answer,) = {getattr(INIT, name) is getattr(torchinit, name) for name in SWAPPED}
    if not answer:
        assert all(getattr(INIT, name) is UPSTREAM[name] for name in SWAPPED)
    return answer


def path(function: Any) -> str:
    return f"{function.__module__}.{function.__name__}"


def called(run: Callable[[], object]) -> set[str]:
    """Return the names of the functions of torch.nn.init and torchinit that ``run`` calls."""
    names = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and (module == "torch.nn.init" or module.startswith("torchinit.")):
            names.add(f"{module}.{frame.f_code.co_name}")

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return names


def module_of(source: str) -> ModuleType:
    module = ModuleType("model")
    exec(source, vars(module))
    return module


# Model code that calls by attribute, as timm does, and by name.
BY_ATTRIBUTE = """
from torch import nn
def init_weights(module):
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
"""
BY_NAME = """
from torch.nn.init import _calculate_fan_in_and_fan_out, trunc_normal_, zeros_ as clear
TABLE = {"unhashable": []}
def init_weights(module):
    fan_in, _ = _calculate_fan_in_and_fan_out(module.weight)
    trunc_normal_(module.weight, std=0.02)
    clear(module.bias)
"""
