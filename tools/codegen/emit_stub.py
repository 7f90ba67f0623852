"""Renders ``torchinit/__init__.pyi``: the facade for type checkers, with literal choices."""

from collections.abc import Sequence
from dataclasses import replace

from tools.codegen.model import Function
from tools.codegen.python_source import STAMP, all_names, literals, stub

PATH = "torchinit/__init__.pyi"

_HEAD = """
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from typing_extensions import deprecated

from torchinit import (
    deploy as deploy,
    diagnostics as diagnostics,
    keyed as keyed,
    recipes as recipes,
    recording as recording,
)
from torchinit._core.patch import Patch
from torchinit.recording import Recording

__version__: str
"""

# These take modules, so they have no schema.
_PYTHON = {
    "fans_of": "def fans_of(module: nn.Module) -> tuple[int, int]: ...\n",
    "patch_torch": "def patch_torch(*also: ModuleType | dict[Any, Any]) -> Patch: ...\n",
    "record": "def record(build: Callable[[], Any], *, model: nn.Module | None = None) -> Recording: ...\n",
}


def render(functions: Sequence[Function]) -> str:
    chosen = [f for f in functions if not f.family.startswith("keyed.")]
    names = [f.name for f in chosen if f.public] + [f.deprecated for f in chosen if f.deprecated] + list(_PYTHON)
    old = "".join(
        f'@deprecated("`torchinit.{f.deprecated}` is now deprecated in favor of `torchinit.{f.name}`.")\n'
        + stub(replace(f, name=f.deprecated))
        for f in chosen
        if f.deprecated
    )
    return "\n".join(
        [
            STAMP + _HEAD,
            all_names(names),
            "".join(literals(chosen)),
            "".join(map(stub, chosen)) + old + "".join(_PYTHON.values()),
        ]
    )
