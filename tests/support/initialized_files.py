"""Runs init on a file of weights, and compares what it writes with a model."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.command_line import run
from tests.support.kinds_of_files import untied
from torchinit.cli._files import read
from torchinit.recipes import Recipe


def init_weights(file: Path, out: Path, *more: object) -> dict[str, Tensor]:
    assert run("init", file, "--seed", 7, "-o", out, *more) == 0
    made = read(out)
    assert isinstance(made, dict)
    return made


def quietly(recipe: Recipe, model: nn.Module, **drawn: Any) -> nn.Module:
    with warnings.catch_warnings():
        # A rule matches nothing.
        warnings.simplefilter("ignore")
        return recipe.apply_(model, **drawn)


def assert_weights(found: dict[str, Tensor], model: nn.Module) -> None:
    wanted = model.state_dict()
    assert found.keys() == wanted.keys() or found.keys() == untied(wanted).keys()
    assert [name for name, tensor in found.items() if not torch.equal(tensor, wanted[name])] == []
