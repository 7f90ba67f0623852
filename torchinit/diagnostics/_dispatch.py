"""Traces the operators of a forward pass, and finds by memory address which layer's parameters each takes."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from torchinit._core.modules import shown_kind
from torchinit.diagnostics._calls import CalledLayer, LayerCall, Sum
from torchinit.diagnostics._flow import Flow, ZeroWeight, factor, is_zero
from torchinit.diagnostics._residual import find_sum
from torchinit.recipes._layers import walk

# Layers that torch may run step by step, with one operator per step.
_RECURRENT = ("RNN", "LSTM", "GRU")

# Operators that may add a branch to a residual stream.
_SUMS = ("add.Tensor", "add_.Tensor", "addcmul.default", "addcmul_.default")

# Operators whose result takes the shape or dtype of an argument but none of its values.
_SHAPE_ONLY = ("new_", "zeros_like", "ones_like", "full_like", "empty_like", "rand")


@dataclass(frozen=True)
class _Origin:
    """A range of memory that holds a parameter, or a value computed from parameters alone.

    Attributes:
        start: first address
        stop: first address after it
        layer: layer of the parameters
        addresses: addresses of the parameters
        tensor: keeps the memory alive, so that no other tensor gets its address
    """

    start: int
    stop: int
    layer: CalledLayer
    addresses: frozenset[int]
    tensor: Tensor


def rms(*tensors: Tensor) -> float:
    """Root mean square of all elements, in float64: in float32, the square of 1e-30 is zero."""
    dense = [t.detach().to_dense() for t in tensors]
    norms = [float(torch.linalg.vector_norm(t, dtype=torch.float64)) for t in dense]
    return math.hypot(*norms) / math.sqrt(max(1, sum(t.numel() for t in dense)))


def flatten(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in the arguments or results of an operator or a model."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from flatten(item)
    elif isinstance(value, dict):
        yield from flatten(list(value.values()))


def _storage(tensor: Tensor) -> int:
    """Address of the storage that a tensor shares with its views; 0 without one."""
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else 0


def find_layers(module: nn.Module) -> list[CalledLayer]:
    """List the layers that have floating parameters of their own."""
    found: dict[str, CalledLayer] = {}
    for layer in walk(module):
        path = re.sub(r"(^|\.)parametrizations\..*", "", layer.path)
        called = found.setdefault(path, CalledLayer(path, shown_kind(layer.module), []))
        called.parameters += [(name, p) for name, p in layer.parameters() if p.is_floating_point()]
        if layer.path == path:
            called.kind = shown_kind(layer.module)
    return [called for called in found.values() if called.parameters]


def _holds(parameter: nn.Parameter, address: int) -> bool:
    start = parameter.data_ptr()
    return start <= address < start + max(1, parameter.nbytes)


def _unfold(call: LayerCall, view: Tensor) -> None:
    """Take the shape of a linear layer's output from the view that unfolds its batch dimensions."""
    if len(call.shape) == 2 and view.dim() > 2 and view.shape[-1] == call.shape[-1]:
        call.shape = tuple(view.shape)


class OperatorTrace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operator of a forward pass, also those that TorchScript's interpreter runs.

    A value computed from parameters alone, such as a normalized weight, counts as a parameter.
    """

    def __init__(self, layers: list[CalledLayer], inputs: list[Tensor], step: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[LayerCall] = []
        self.sums: list[Sum] = []
        self.flow: Flow = Flow()
        self._step = step
        self._origins: dict[int, list[_Origin]] = {}
        for layer in layers:
            for _, parameter in layer.parameters:
                start = parameter.data_ptr()
                self._add_origin(_Origin(start, start + parameter.nbytes, layer, frozenset(), parameter))
        self._parameters = set(self._origins)
        # Storages that depend on the input, and the number of their value. A freed address may later hold a constant.
        self._live = {_storage(t): self.flow.add("input", [], None, None) for t in inputs}
        self.inputs = list(self._live.values())
        self._zeros: dict[int, ZeroWeight] = {}
        self.failure: Exception | None = None
        # Parameters that forward overwrote, as an embedding with max_norm does, and their previous values.
        self.overwritten: dict[int, tuple[Tensor, Tensor]] = {}
        # The last output of a call or a sum, until the next operator.
        self._last_output: tuple[LayerCall, Tensor] | None = None

    def _add_origin(self, origin: _Origin) -> None:
        self._origins.setdefault(_storage(origin.tensor), []).append(origin)

    def _find(self, tensor: Tensor) -> list[_Origin] | None:
        """Find the parameters, also tied, that a tensor is or was computed from; None if it depends on the input."""
        storage = _storage(tensor)
        if storage in self._live:
            return None
        return [o for o in self._origins.get(storage, []) if o.start <= tensor.data_ptr() < o.stop]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        last = self.record_last_node()
        self._save_overwritten(func.__name__, args)
        try:
            result = func(*args, **(kwargs or {}))
        except Exception as error:
            # NB: TorchScript drops the message of an error raised here.
            self.failure = error
            raise
        arguments, results = list(flatten([args, kwargs or {}])), list(flatten(result))
        if last is not None and func.__name__ in ("view.default", "_unsafe_view.default") and arguments[0] is last[1]:
            _unfold(last[0], results[0])
        self._classify(func.__name__, arguments, results)
        return result

    def _save_overwritten(self, name: str, args: Any) -> None:
        if name.partition(".")[0].endswith("_") and _storage(args[0]) in self._parameters:
            self.overwritten.setdefault(args[0].data_ptr(), (args[0], args[0].clone()))

    def value_of(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor's value; None if it does not depend on the input."""
        return self._live.get(_storage(tensor))

    def record_last_node(self) -> tuple[LayerCall, Tensor] | None:
        """Record the autograd node of the last output; it appears after its operator, and the next may replace it."""
        last, self._last_output = self._last_output, None
        if last is not None and last[1].grad_fn is not None:
            last[0].edge = last[1].grad_fn, last[1].output_nr
        return last

    def _classify(self, name: str, arguments: list[Tensor], results: list[Tensor]) -> None:
        found = [self._find(t) for t in arguments]
        taken = [(t, origins) for t, origins in zip(arguments, found, strict=True) if origins]
        # An embedding's lookup is an output, even at indices that do not depend on the input.
        looked_up = bool(taken) and any(not t.is_floating_point() and t.dtype != torch.bool for t in arguments)
        if None in found or looked_up or len({origins[0].layer for _, origins in taken}) > 1:
            changed = {_storage(t) for t in results} - self._parameters
            outputs = [t for t in results if t.is_floating_point() and _storage(t) in changed]
            operands = [
                (t, self._live.get(_storage(t)) if origins is None else None)
                for t, origins in zip(arguments, found, strict=True)
            ]
            self._follow(name, operands, taken, results, changed)
            if taken and outputs:
                self._record(name, taken, outputs[0])
            elif name in _SUMS and outputs:
                self._record_sum(operands, outputs[0])
            return
        addresses = frozenset(a for t, origins in taken for a in (t.data_ptr(), *origins[0].addresses))
        for tensor in results:
            if _storage(tensor) not in self._origins:
                self._live.pop(_storage(tensor), None)
                for origin in taken[0][1] if taken and not name.startswith(_SHAPE_ONLY) else []:
                    self._add_origin(_Origin(0, 1 << 64, origin.layer, addresses, tensor))

    def _follow(
        self,
        name: str,
        operands: list[tuple[Tensor, int | None]],
        taken: list[tuple[Tensor, list[_Origin]]],
        results: list[Tensor],
        changed: set[int],
    ) -> None:
        """Number the result as a new value, unless it is a view of one."""
        plain = name.partition(".")[0]
        views = {_storage(t) for t, value in operands if value is not None}
        fresh = changed if plain.endswith("_") else changed - views
        if not fresh:
            return
        weight = factor(plain, [t for t, _ in operands], [t for t, _ in taken])
        zero = None if weight is None else self._zero_weight(weight, taken)
        floating = next((t for t in results if t.is_floating_point()), None)
        value = self.flow.add(plain, operands, zero, floating)
        self._live |= dict.fromkeys(fresh, value)

    def _zero_weight(self, weight: Tensor, taken: list[tuple[Tensor, list[_Origin]]]) -> ZeroWeight:
        """Find the parameter that a factor of zeros is or is computed from."""
        origins = next(origins for t, origins in taken if t is weight)
        addresses = {weight.data_ptr()}.union(*(o.addresses for o in origins))
        layer = origins[0].layer
        held = [(name, p) for name, p in layer.parameters if any(_holds(p, a) for a in addresses)]
        name, parameter = next(((n, p) for n, p in held if is_zero(p)), held[0])
        return self._zeros.setdefault(id(parameter), ZeroWeight(layer.qualified(name), parameter))

    def _record_sum(self, operands: list[tuple[Tensor, int | None]], output: Tensor) -> None:
        """Keep a sum that a residual connection may have made; all of them are known only at the end."""
        terms = [(t, value) for t, value in operands if value is not None and t.layout is torch.strided]
        for term in terms[1:]:
            found = find_sum(self.flow, (terms[0], term), output.shape, len(self.calls))
            if found is not None:
                found.value = self._live[_storage(output)]
                self._measure(found, output)
                self.sums.append(found)
                return

    def _record(self, name: str, taken: list[tuple[Tensor, list[_Origin]]], output: Tensor) -> None:
        # The largest parameter decides: a bias or a mask goes with the weight.
        candidates = [origin.layer for origin in max(taken, key=lambda pair: pair[0].numel())[1]]
        fitting = [each for each in candidates if ("Embedding" in each.kind) == ("embedding" in name)]
        layer = (fitting or candidates)[0]
        addresses = {t.data_ptr() for t, _ in taken}
        call = self.calls[-1] if self.calls else None
        if call is None or call.layer is not layer or (call.taken & addresses and layer.kind not in _RECURRENT):
            call = LayerCall(layer, 1 + sum(each.layer is layer for each in self.calls))
            self.calls.append(call)
            self._step(layer.path)
        call.taken |= addresses.union(*(o.addresses for _, origins in taken for o in origins))
        call.value = self._live[_storage(output)]
        self.flow.calls[call.value] = call
        self._measure(call, output)

    def _measure(self, call: LayerCall, output: Tensor) -> None:
        call.shape, call.activation, call.edge = tuple(output.shape), rms(output), None
        self._last_output = call, output
