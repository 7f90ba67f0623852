"""Helpers for the tests of the command line."""

import functools
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from jit_tests.scripting import run_quietly
from tests.support.layers import Mixed, seeded
from torchinit import cli
from torchinit.recipes import Recipe


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def without_written(err: str) -> str:
    """Return what a command said on stderr, without the lines about files that it wrote."""
    return re.sub(r"torchinit: wrote .+ \([\d.]+ (bytes|kB|MB)\)\n", "", err)


@functools.cache
def scripted(make: Callable[[], nn.Module]) -> bytes:
    """Script a model of seed 1, once for all tests; return the contents of its file."""
    with torch.random.fork_rng(devices=[]):
        contents: bytes = run_quietly(torch.jit.script, seeded(make, 1)).save_to_buffer()
    return contents


def load(path: Path) -> torch.jit.ScriptModule:
    return run_quietly(torch.jit.load, str(path))


def initialized(recipe: Recipe, seed: int) -> torch.nn.Module:
    return recipe.apply_(seeded(Mixed, 1), torch.Generator().manual_seed(seed))
