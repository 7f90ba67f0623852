"""What an audit finds in small models."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import torchinit
from torchinit.recording import Finding

Build = Callable[[], nn.Module]


def found(build: Build, kind: str | None = None, again: Build | None = None) -> list[Finding]:
    """Return what an audit finds, of one kind, or all faults."""
    findings = torchinit.record(build).audit(None if again is None else torchinit.record(again))
    return [x for x in findings if (x.severity == "fault" if kind is None else x.kind == kind)]


def lines(build: Build, kind: str | None = None) -> list[str]:
    """Return the findings as printed, with ``here`` for the lines of the tests."""
    place = re.compile(r"\(tests/[\w/]+\.py:\d+( and \d+ more)?\)")
    return [place.sub(r"(here\1)", str(finding)) for finding in found(build, kind)]


def line_of(mark: str, file: str) -> str:
    """Return the place of the one line of a file that ends with a mark."""
    lines = Path(file).read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if line.endswith(f"# {mark}")]
    return f"{file}:{number}"


class Part(nn.Module):
    """A module with one parameter, which a function makes, and a method that restores it unless there is none."""

    def __init__(self, make: Callable[[], Tensor]) -> None:
        super().__init__()
        self.make = make
        self.weight = nn.Parameter(make())

    def reset_parameters(self) -> None:
        self.weight.copy_(self.make())


class Rotary(nn.Module):
    """Has a table that is no part of its state."""

    def __init__(self, restores: bool = False) -> None:
        super().__init__()
        self.restores = restores
        self.register_buffer("inv_freq", self.frequencies(), persistent=False)

    def frequencies(self) -> Tensor:
        return 10000.0 ** -(torch.arange(0, 8, 2) / 8)

    def init_weights(self) -> None:
        if self.restores:
            self.inv_freq.copy_(self.frequencies())


def filled(fill: Callable[[Tensor], Any], *shape: int) -> nn.Module:
    """Return a module with one weight that a function fills, and that it restores."""

    def make() -> Tensor:
        weight = torch.empty(shape)
        fill(weight)
        return weight

    return Part(make)
