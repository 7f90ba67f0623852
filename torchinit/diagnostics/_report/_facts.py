"""Everything that a report says, before it becomes a page."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from torchinit._core.table import dtype_name
from torchinit.diagnostics._report._kinds import Kind
from torchinit.diagnostics._report._meant import Intent
from torchinit.diagnostics._signal import Signal
from torchinit.diagnostics._statistics import Statistics
from torchinit.diagnostics._trend import Trend, Way, ways
from torchinit.recording import Finding
from torchinit.recording._findings import FAULT


@dataclass(frozen=True)
class Facts:
    """Everything that a report says.

    Attributes:
        title: name of the model
        model: the model
        rows: the statistics of its parameters
        kinds: its parameters, repeated layers as one
        intent: what they are meant to be; None if nobody says
        recorded: what the recorded code makes them; None without a recording
        findings: what an audit of the recording finds
        signal: the rows of a probe; None without inputs
        seconds: how long it took to draw the model, by the way of drawing; empty if that was not measured
        date: when the report was made; empty if it does not say
    """

    title: str
    model: nn.Module
    rows: Statistics
    kinds: Sequence[Kind]
    intent: Intent | None
    recorded: Intent | None
    findings: Sequence[Finding]
    signal: Signal | None
    seconds: dict[str, float]
    date: str

    @cached_property
    def bad(self) -> list[Kind]:
        """The kinds that are marked."""
        return [kind for kind in self.kinds if kind.is_bad]

    @cached_property
    def others(self) -> list[Kind]:
        """The kinds that are not what they are meant to be, and not marked."""
        return [kind for kind in self.kinds if kind.agrees is False and not kind.is_bad]

    @cached_property
    def faults(self) -> list[Finding]:
        """What is wrong with the recorded code."""
        return [finding for finding in self.findings if finding.severity == FAULT]

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """The ways of the activations and of the gradients; none without a signal."""
        return () if self.signal is None else ways(self.signal)

    @property
    def lost(self) -> list[tuple[Way, Trend]]:
        """The ways on which the signal does not keep its scale."""
        found = [(way, way.trend) for way in self.ways if way.trend is not None]
        return [(way, fitted) for way, fitted in found if fitted.verdict != "keep their scale"]

    @cached_property
    def values(self) -> int:
        """The number of values in all parameters, tied ones once."""
        return sum(math.prod(row.shape) for row in self.rows)

    @cached_property
    def is_without_numbers(self) -> bool:
        """True if no parameter has values, as on the meta device."""
        return bool(self.rows) and all(row.not_finite is None for row in self.rows)


@dataclass(frozen=True)
class Memory:
    """The memory of the tensors of one type."""

    kind: str
    dtype: str
    tensors: int
    values: int
    nbytes: int


def memory(model: nn.Module) -> list[Memory]:
    """Add up the memory of parameters and buffers by their types, that of tied ones once."""
    found: dict[tuple[str, str], list[int]] = {}
    for kind, tensor in [("parameters", x) for x in model.parameters()] + [("buffers", x) for x in model.buffers()]:
        sums = found.setdefault((kind, dtype_name(tensor.dtype)), [0, 0, 0])
        sums[0] += 1
        sums[1] += tensor.numel()
        sums[2] += tensor.numel() * tensor.element_size()
    return [Memory(*key, *sums) for key, sums in found.items()]


def timed(draw: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    draw()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
