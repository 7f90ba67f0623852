"""Helpers for the tests of inspect."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import torchinit
from torchinit import cli


def run_inspect(model: nn.Module, path: Path, *options: str) -> int:
    torch.jit.script(model).save(str(path / "model.pt"))
    return cli.main(["inspect", str(path / "model.pt"), *options])


def draw(name: str, shape: tuple[int, ...], **arguments: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return getattr(torchinit, name)(torch.empty(shape), **arguments, generator=generator)
