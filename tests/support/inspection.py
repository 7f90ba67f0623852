"""Helpers for the tests of inspect."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import torchinit
from torchinit import cli
from torchinit.diagnostics import ParameterStatistics, statistics


def run_inspect(model: nn.Module, path: Path, *options: str) -> int:
    torch.jit.script(model).save(str(path / "model.pt"))
    return cli.main(["inspect", str(path / "model.pt"), *options])


def draw(name: str, shape: tuple[int, ...], **arguments: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return getattr(torchinit, name)(torch.empty(shape), **arguments, generator=generator)


def row_of(tensor: Tensor, module: nn.Module | None = None, name: str = "weight") -> ParameterStatistics:
    """Return the statistics of a tensor as a layer's parameter."""
    module = nn.Module() if module is None else module
    module._parameters[name] = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, requires_grad=False)
    return next(row for row in statistics(module) if row.name == name)


def verdict_of(tensor: Tensor, module: nn.Module | None = None, name: str = "weight") -> tuple[str | None, bool]:
    row = row_of(tensor, module, name)
    return row.verdict, row.bad
