"""Watches the operators of a forward pass, and tells by the memory of their arguments whose parameters they take."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from torchinit.recipes._layers import walk

# Where torch has no kernel for the whole, it runs one operator a step.
_RECURRENT = ("RNN", "LSTM", "GRU")

# Operators whose result has the shape or type of an argument and none of its values.
_SHAPED = ("new_", "zeros_like", "ones_like", "full_like", "empty_like", "rand")


@dataclass(eq=False)
class Owner:
    """A module and its parameters; those of a parametrization count as the parametrized module's own."""

    path: str
    kind: str
    parameters: list[tuple[str, nn.Parameter]]


@dataclass(frozen=True)
class _Origin:
    """A stretch of memory that holds a parameter, or what was computed from parameters alone.

    Attributes:
        start: its first address
        stop: the first one after it
        owner: whose parameters they are
        addresses: where they lie
        tensor: what keeps the memory from being given to another tensor
    """

    start: int
    stop: int
    owner: Owner
    addresses: frozenset[int]
    tensor: Tensor


@dataclass(eq=False)
class Use:
    """What is known of a use of a layer so far."""

    owner: Owner
    number: int
    taken: set[int] = field(default_factory=set)
    shape: tuple[int, ...] = ()
    activation: float = math.nan
    gradient: float | None = None
    # The node of autograd that has the output, and which of its outputs it is.
    edge: tuple[Any, int] | None = None


def rms(*tensors: Tensor) -> float:
    """The root mean square of all elements, in double precision: in single, the square of 1e-30 is zero."""
    dense = [t.detach().to_dense() for t in tensors]
    norms = [float(torch.linalg.vector_norm(t, dtype=torch.float64)) for t in dense]
    return math.hypot(*norms) / math.sqrt(max(1, sum(t.numel() for t in dense)))


def flatten(value: Any) -> Iterator[Tensor]:
    """The tensors of what an operator or a model takes or returns."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from flatten(item)
    elif isinstance(value, dict):
        yield from flatten(list(value.values()))


def _storage(tensor: Tensor) -> int:
    """The address of the memory that a tensor and its views share; 0 if it has none."""
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else 0


def find_owners(module: nn.Module) -> list[Owner]:
    owners: dict[str, Owner] = {}
    for layer in walk(module):
        path = re.sub(r"(^|\.)parametrizations\..*", "", layer.path)
        own = [(name, p) for name, p in layer.parameters() if p.is_floating_point()]
        owner = owners.setdefault(path, Owner(path, layer.kind, []))
        owner.parameters += own
        if layer.path == path:
            owner.kind = layer.kind
    return [owner for owner in owners.values() if owner.parameters]


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator of a forward pass, also those that TorchScript's interpreter runs.

    What is computed from parameters alone, such as a normalized weight, counts as the parameters do.
    """

    def __init__(self, owners: list[Owner], inputs: list[Tensor], step: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uses: list[Use] = []
        self._step = step
        self._origins: dict[int, list[_Origin]] = {}
        for owner in owners:
            for _, parameter in owner.parameters:
                start = parameter.data_ptr()
                self._know(_Origin(start, start + parameter.nbytes, owner, frozenset(), parameter))
        self._parameters = set(self._origins)
        # The storages that depend on the input. An address that is freed may come to hold a constant.
        self._live = {_storage(t) for t in inputs}
        self.failure: Exception | None = None
        # Parameters that forward wrote to, as an embedding with max_norm does, and what they were.
        self.overwritten: dict[int, tuple[Tensor, Tensor]] = {}
        # The last use's output, until the next operator.
        self._fresh: Tensor | None = None

    def _know(self, origin: _Origin) -> None:
        self._origins.setdefault(_storage(origin.tensor), []).append(origin)

    def _find(self, tensor: Tensor) -> list[_Origin] | None:
        """The parameters that the tensor is or was computed from, tied ones all; None if the input had a part in it."""
        storage = _storage(tensor)
        if storage in self._live:
            return None
        return [o for o in self._origins.get(storage, []) if o.start <= tensor.data_ptr() < o.stop]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        fresh = self.settle()
        self._keep(func.__name__, args)
        try:
            result = func(*args, **(kwargs or {}))
        except Exception as error:
            # NB: TorchScript drops the message of what is raised here.
            self.failure = error
            raise
        arguments, results = list(flatten([args, kwargs or {}])), list(flatten(result))
        if fresh is not None and func.__name__ in ("view.default", "_unsafe_view.default") and arguments[0] is fresh:
            self._unfold(results[0])
        self._see(func.__name__, arguments, results)
        return result

    def _keep(self, name: str, args: Any) -> None:
        if name.partition(".")[0].endswith("_") and _storage(args[0]) in self._parameters:
            self.overwritten.setdefault(args[0].data_ptr(), (args[0], args[0].clone()))

    def settle(self) -> Tensor | None:
        """Note the node of the last output: autograd makes it after the operator, and the next one may replace it."""
        fresh, self._fresh = self._fresh, None
        if fresh is not None and fresh.grad_fn is not None:
            self.uses[-1].edge = fresh.grad_fn, fresh.output_nr
        return fresh

    def _unfold(self, view: Tensor) -> None:
        """A linear layer folds all dimensions but the last into one, and undoes it."""
        shape = self.uses[-1].shape
        if len(shape) == 2 and view.dim() > 2 and view.shape[-1] == shape[-1]:
            self.uses[-1].shape = tuple(view.shape)

    def _see(self, name: str, arguments: list[Tensor], results: list[Tensor]) -> None:
        found = [self._find(t) for t in arguments]
        taken = [(t, origins) for t, origins in zip(arguments, found, strict=True) if origins]
        # What is looked up in a table is an output, even at the same places for every input.
        looked_up = bool(taken) and any(not t.is_floating_point() and t.dtype != torch.bool for t in arguments)
        if None in found or looked_up or len({origins[0].owner for _, origins in taken}) > 1:
            changed = {_storage(t) for t in results} - self._parameters
            self._live |= changed
            outputs = [t for t in results if t.is_floating_point() and _storage(t) in changed]
            if taken and outputs:
                self._record(name, taken, outputs[0])
            return
        addresses = frozenset(a for t, origins in taken for a in (t.data_ptr(), *origins[0].addresses))
        for tensor in results:
            if _storage(tensor) not in self._origins:
                self._live.discard(_storage(tensor))
                for origin in taken[0][1] if taken and not name.startswith(_SHAPED) else []:
                    self._know(_Origin(0, 1 << 64, origin.owner, addresses, tensor))

    def _record(self, name: str, taken: list[tuple[Tensor, list[_Origin]]], output: Tensor) -> None:
        # A bias or a mask goes with the weight.
        candidates = [origin.owner for origin in max(taken, key=lambda pair: pair[0].numel())[1]]
        fitting = [o for o in candidates if ("Embedding" in o.kind) == ("embedding" in name)]
        owner = (fitting or candidates)[0]
        addresses = {t.data_ptr() for t, _ in taken}
        use = self.uses[-1] if self.uses else None
        if use is None or use.owner is not owner or (use.taken & addresses and owner.kind not in _RECURRENT):
            use = Use(owner, 1 + sum(u.owner is owner for u in self.uses))
            self.uses.append(use)
            self._step(owner.path)
        use.taken |= addresses.union(*(o.addresses for _, origins in taken for o in origins))
        use.shape, use.activation, use.edge = tuple(output.shape), rms(output), None
        self._fresh = output
