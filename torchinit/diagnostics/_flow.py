"""Which value of a forward pass is computed from which, where two meet again, and what a weight of zeros stops."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import torch
from torch import Tensor, nn

from torchinit.diagnostics._calls import CalledLayer, LayerCall

# Operators that are linear in each of their factors.
_PRODUCTS = frozenset(
    ["mul", "mm", "bmm", "mv", "dot", "matmul", "linear", "addmm", "baddbmm", "addbmm", "addmv", "addr", "addcmul"]
    + ["convolution", "_convolution", "mkldnn_convolution", "_trilinear", "lstm", "gru", "rnn_tanh", "rnn_relu"]
    + ["embedding", "_embedding_bag", "index", "index_select", "gather"]
)

# Products that are added to the first operand.
_ADDS_FIRST = frozenset(["addmm", "baddbmm", "addbmm", "addmv", "addr", "addcmul"])

# Factors of each other in attention: query, key and value. A zero value stops the gradient of the other two.
_ATTENTION = {0: (1, 2), 1: (0, 2), 2: ()}


def is_zero(tensor: Tensor) -> bool:
    """True if all elements are 0; the first one settles it for most weights."""
    if tensor.layout is not torch.strided or not tensor.numel():
        return False
    return not tensor[(0,) * tensor.dim()].item() and not bool(tensor.any())


@dataclass(eq=False)
class ZeroWeight:
    """A parameter whose elements are all 0, and the values that it multiplies.

    Attributes:
        name: qualified name
        parameter: the parameter
        values: the values that are products with it
    """

    name: str
    parameter: nn.Parameter
    values: list[int] = field(default_factory=list)


Zeros = frozenset[ZeroWeight]
_NONE: Zeros = frozenset()


@dataclass(frozen=True)
class Meeting:
    """Where two values meet that are computed from one.

    Attributes:
        source: the last value that both are computed from
        sides: the values between the source and each of the two
        plain: for each of the two, True if every value of its side is computed from one other
    """

    source: int
    sides: tuple[frozenset[int], frozenset[int]]
    plain: tuple[bool, bool]


class Flow:
    """The values that depend on the input, numbered in the order of execution.

    Attributes:
        sources: for each value, those that it is computed from, with the zeros that stop the gradient between the two
        zeros: for each value, the weights of zeros that make it 0
        calls: the call of a layer that made a value
    """

    def __init__(self) -> None:
        self.sources: list[list[tuple[int, Zeros]]] = []
        self.zeros: list[Zeros] = []
        self.calls: dict[int, LayerCall] = {}

    def add(
        self, name: str, operands: Sequence[tuple[Tensor, int | None]], weight: ZeroWeight | None, result: Tensor | None
    ) -> int:
        """Add the result of an operator.

        Args:
            name: the operator's name, without its overload
            operands: its tensors in order, with the number of each that depends on the input
            weight: a weight of zeros among its factors
            result: the result, if it is a floating tensor
        """
        number = len(self.sources)
        by_weight = _NONE if weight is None else frozenset([weight])
        if weight is not None:
            weight.values.append(number)
        values = {index: value for index, (_, value) in enumerate(operands) if value is not None}
        factors = _factors(name, len(operands))
        sources = []
        for index, value in values.items():
            others = [self.zeros[values[i]] for i in factors.get(index, ()) if i in values]
            stopped = by_weight if index in factors or "norm" in name else _NONE
            sources.append((value, stopped or next(filter(None, others), _NONE)))
        self.sources.append(sources)
        made_zero = by_weight.union(*(self.zeros[value] for value in values.values()))
        self.zeros.append(made_zero if made_zero and result is not None and is_zero(result) else _NONE)
        return number

    def plain_source(self, value: int) -> int | None:
        """Return what a value is computed from if it is one other and no layer is between."""
        sources = self.sources[value]
        return sources[0][0] if len(sources) == 1 and value not in self.calls else None

    def meeting(self, first: int, second: int) -> Meeting | None:
        """Find the last value that two are computed from; None if there is none or a layer is on both ways, as in loops."""
        sides = {first: 1, second: 2}
        heap, passed = [-first, -second], []
        heapify(heap)
        layers: tuple[set[CalledLayer], set[CalledLayer]] = (set(), set())
        while heap:
            value = -heappop(heap)
            if sides[value] == 3:
                break
            passed.append(value)
            if value in self.calls:
                layers[sides[value] - 1].add(self.calls[value].layer)
                if layers[0] & layers[1]:
                    return None
            for source, _ in self.sources[value]:
                if source not in sides:
                    heappush(heap, -source)
                sides[source] = sides.get(source, 0) | sides[value]
        else:
            return None
        between = {value}
        for each in reversed(passed):
            if any(source in between for source, _ in self.sources[each]):
                between.add(each)
        between.remove(value)
        found = [frozenset(v for v in between if sides[v] == side) for side in (1, 2)]
        plain = [all(len(self.sources[v]) == 1 for v in side) for side in found]
        return Meeting(value, (found[0], found[1]), (plain[0], plain[1]))

    def reached(self, starts: Iterable[int], stopped: Collection[ZeroWeight]) -> list[bool]:
        """Say which values change with ``starts`` if the weights in ``stopped`` are 0."""
        found = [False] * len(self.sources)
        for start in starts:
            found[start] = True
        for value, sources in enumerate(self.sources):
            found[value] = found[value] or any(found[s] and not _is_stopped(z, stopped) for s, z in sources)
        return found

    def reaching(self, ends: Iterable[int], stopped: Collection[ZeroWeight]) -> list[bool]:
        """Say which values get a gradient from ``ends`` if the weights in ``stopped`` are 0."""
        found = [False] * len(self.sources)
        for end in ends:
            found[end] = True
        for value in range(len(self.sources) - 1, -1, -1):
            for source, zeros in self.sources[value] if found[value] else []:
                found[source] = found[source] or not _is_stopped(zeros, stopped)
        return found


def _factors(name: str, count: int) -> dict[int, Sequence[int]]:
    """Return, for each operand that is multiplied, those that it is multiplied with."""
    if name.startswith("_scaled_dot_product"):
        return dict(_ATTENTION)
    plain = name.rstrip("_")
    if plain not in _PRODUCTS:
        return {}
    factors = range(int(plain in _ADDS_FIRST), count)
    return {index: [i for i in factors if i != index] for index in factors}


def _is_stopped(zeros: Zeros, stopped: Collection[ZeroWeight]) -> bool:
    return bool(zeros) and all(zero in stopped for zero in zeros)


def factor(name: str, tensors: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor | None:
    """Return the parameter that an operator multiplies its input with, if it is 0.

    Args:
        name: the operator's name, without its overload
        tensors: its operands in order
        parameters: those that are parameters, or computed from them alone
    """
    plain = name.rstrip("_")
    is_norm = "norm" in plain
    if plain not in _PRODUCTS and not is_norm:
        return None
    factors = [p for p in parameters if plain not in _ADDS_FIRST or p is not tensors[0]]
    # A bias goes with a matrix, and stands after a norm's gain.
    weights = [] if is_norm else [p for p in factors if p.dim() >= 2]
    weights = weights or factors[:1]
    return weights[0] if weights and all(map(is_zero, weights)) else None
