"""Turns a program into plain data for JSON, in which each tensor, line of code and function is written once.

An argument of an operator is JSON's own value where that is exact; ``{"ref": 3}`` is the third tensor of ``refs``, and
``{"dtype": "float32"}``, ``{"float": "nan"}`` and their like stand for what JSON lacks.
"""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from torchinit._core.table import dtype_name
from torchinit.recording._operators import is_allowed, results
from torchinit.recording._program import Call, Entry, Operation, Program, RecordError, Ref, schedule

_NAMED = {torch.dtype: "dtype", torch.memory_format: "memory_format", torch.layout: "layout"}


def contiguous_stride(size: Iterable[int]) -> tuple[int, ...]:
    """Return the strides that a new tensor of a size has."""
    strides, step = list[int](), 1
    for n in reversed(list(size)):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def _number(table: dict[Any, int], value: Any) -> int:
    """Return the number of a value in a table, which is new or known."""
    return table.setdefault(value, len(table))


def _float(value: float) -> Any:
    if math.isfinite(value):
        return value
    # A NaN may have a sign, which a fill copies.
    words = repr(value).lstrip("-")
    return {"float": f"-{words}" if math.copysign(1, value) < 0 else words}


class Encoder:
    """Encodes the parts of a program, and collects the tables that they share."""

    def __init__(self) -> None:
        self.refs: dict[Ref, int] = {}
        self.places: dict[str, int] = {}
        self.functions: dict[str, int] = {}

    def value(self, value: Any, what: str) -> Any:
        """Encode an argument of an operator."""
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, float):
            # numpy's float64 is a float with another repr.
            return _float(float(value))
        if isinstance(value, Ref):
            return {"ref": _number(self.refs, value)}
        if isinstance(value, (list, tuple)):
            return [self.value(x, what) for x in value]
        if type(value) is complex:
            return {"complex": [_float(value.real), _float(value.imag)]}
        if type(value) in _NAMED:
            return {_NAMED[type(value)]: str(value).removeprefix("torch.")}
        raise RecordError(f"a saved argument must be a tensor, a number, a name or a list, got {value!r} of {what}")

    def values(self, given: Mapping[str, Any], what: str) -> dict[str, Any]:
        """Encode named arguments."""
        return {name: self.value(value, what) for name, value in given.items()}

    def call(self, call: Call) -> dict[str, Any]:
        """Encode a call of an initializer."""
        defaults = self.values(call.defaults, call.function)
        function = json.dumps({"name": call.function, "module": call.module, "defaults": defaults})
        return {
            "function": _number(self.functions, function),
            "args": self.values(call.args, call.function),
            "target": _number(self.refs, call.target),
        }

    def entry(self, entry: Entry) -> dict[str, Any]:
        """Encode a parameter or buffer."""
        own = {"name": entry.name, "kind": entry.kind, "module": entry.module, "ref": _number(self.refs, entry.ref)}
        more = {"requires_grad": False, "persistent": True, "tied": None}
        return own | {name: vars(entry)[name] for name, usual in more.items() if vars(entry)[name] != usual}

    def operation(self, operation: Operation) -> dict[str, Any]:
        """Encode an operator with its arguments; leave out what follows from its schema."""
        encoded: dict[str, Any] = {"op": operation.name, "args": self.value(operation.args, operation.name)}
        if operation.kwargs:
            encoded["kwargs"] = self.values(operation.kwargs, operation.name)
        if not operation.is_state and operation.fresh != (None,) * results(operation.name):
            encoded["fresh"] = self._numbers(operation.fresh)
        more = {"generator": operation.generator, "call": operation.call, "label": operation.label}
        if operation.place:
            more["place"] = _number(self.places, operation.place)
        return encoded | {name: value for name, value in more.items() if value is not None}

    def _numbers(self, refs: Iterable[Ref | None]) -> list[int | None]:
        return [None if ref is None else _number(self.refs, ref) for ref in refs]


def _ref(ref: Ref) -> list[Any]:
    """Encode a tensor; leave out what most have at the end: contiguous strides, no offset, not conjugated."""
    stride = None if ref.stride == contiguous_stride(ref.size) else list(ref.stride)
    encoded = [ref.storage, dtype_name(ref.dtype), list(ref.size), stride, ref.offset, ref.conj]
    while encoded[-1] in (None, 0, False) and len(encoded) > 3:
        encoded.pop()
    return encoded


def _saved(program: Program) -> list[Operation]:
    """Return the operations, without those that are not allowed and that no tensor needs.

    Raises:
        RecordError: if a tensor needs an operation that is not allowed
    """
    needed = {each.step for each in schedule(program, program.operations, program.filled, draws=True)}
    saved = []
    for operation in program.operations:
        if operation.is_state or is_allowed(operation.name):
            saved.append(operation)
        elif operation in needed:
            raise RecordError(
                f"a recording is saved only with operators of torch that compute, got {operation.name} at"
                f" {operation.place or 'an unknown line'}; torchinit.recording names those allowed"
            )
    return saved


def encode(program: Program) -> dict[str, Any]:
    """Return a program as the content of a file.

    Raises:
        RecordError: if it has an operator or an argument that a file may not hold
    """
    encoder = Encoder()
    entries = [encoder.entry(entry) for entry in program.entries]
    calls = [encoder.call(call) for call in program.calls]
    operations = [encoder.operation(operation) for operation in _saved(program)]
    return {
        "storages": [program.nbytes.get(number, 0) for number in range(max(program.nbytes, default=-1) + 1)],
        "constants": {
            str(number): base64.b64encode(constant.numpy().tobytes()).decode()
            for number, constant in program.constants.items()
        },
        "given": sorted(program.given),
        "outside": [asdict(outside) for outside in program.outside],
        "allocated": {str(number): _number(encoder.places, place) for number, place in program.allocated.items()},
        "refs": [_ref(ref) for ref in encoder.refs],
        "functions": [json.loads(function) for function in encoder.functions],
        "places": list(encoder.places),
        "entries": entries,
        "calls": calls,
        "operations": operations,
    }
