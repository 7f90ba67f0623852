"""Calls of layers, and sums of a stream and a branch, as a probe records them."""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import nn

# The kind of a row that is no layer's but a sum's.
RESIDUAL = "residual"


@dataclass(eq=False)
class CalledLayer:
    """A module and its floating parameters; those of a parametrization belong to the parametrized module."""

    path: str
    kind: str
    parameters: list[tuple[str, nn.Parameter]]

    def qualified(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


@dataclass(eq=False)
class LayerCall:
    """One call of a layer, filled in while it is traced.

    Attributes:
        value: number of its output in the trace's flow
        branch: name of the residual branch that it is part of
    """

    layer: CalledLayer
    number: int
    taken: set[int] = field(default_factory=set)
    shape: tuple[int, ...] = ()
    activation: float = math.nan
    gradient: float | None = None
    # The autograd node that made the output, and the output's index there.
    edge: tuple[Any, int] | None = None
    value: int = -1
    branch: str = ""


@dataclass(eq=False)
class Sum(LayerCall):
    """A sum of two values that are computed from one.

    Attributes:
        source: the last value that both are computed from
        inside: the values between the source and the sum
        calls: the calls among them
        projected: True if layers are on both sides, as in the first block of a stage of a ResNet
        position: number of calls of layers before it
    """

    source: int = -1
    inside: frozenset[int] = frozenset()
    calls: tuple[LayerCall, ...] = ()
    projected: bool = False
    position: int = 0
