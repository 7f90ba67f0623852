"""Makes a program of the data of a file, and refuses all that :mod:`torchinit.recording._encode` does not write."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torchinit._core.registry import INITIALIZERS
from torchinit._core.table import printable
from torchinit.recording._encode import contiguous_stride
from torchinit.recording._operators import check_results, is_allowed, is_random, results, written_by
from torchinit.recording._program import Call, Entry, Operation, Outside, Program, RecordError, Ref

# torch computes sizes, offsets and counts of bytes in signed 64-bit integers.
_MOST = (1 << 63) - 1
_DEPTH = 4
STATES = ("seed", "save", "restore")

_DTYPES = (
    *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
_FORMATS = ("contiguous_format", "channels_last", "channels_last_3d", "preserve_format")
# The kinds of names that an argument may be, by their tags.
_NAMES: dict[str, tuple[type, Sequence[str]]] = {
    "dtype": (torch.dtype, _DTYPES),
    "memory_format": (torch.memory_format, _FORMATS),
    "layout": (torch.layout, ("strided",)),
}
_FLOATS = {"inf": float("inf"), "-inf": -float("inf"), "nan": float("nan"), "-nan": float("-nan")}


def _shown(value: Any) -> str:
    text = printable(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _require(valid: bool, rule: str, value: Any) -> None:
    if not valid:
        raise RecordError(f"{rule}, got {_shown(value)}")


def _typed(value: Any, kind: type, where: str) -> Any:
    _require(kind is object or type(value) is kind, f"{where} must be {kind.__name__}", value)
    return value


def _integer(value: Any, where: str, most: int = _MOST) -> int:
    _require(type(value) is int and 0 <= value <= most, f"{where} must be an integer from 0 to {most}", value)
    return int(value)


def _item(items: Sequence[Any], number: Any, where: str) -> Any:
    """Return what a number stands for in a table."""
    _require(
        type(number) is int and 0 <= number < len(items), f"{where} must be the number of one of {len(items)}", number
    )
    return items[number]


def _fields(value: Any, where: str, needed: Mapping[str, type], more: Mapping[str, type] | None = None) -> Any:
    """Return an object that has the fields needed, no others than those known, and values of their types."""
    kinds = {**needed, **(more or {})}
    for name in needed:
        _require(name in _typed(value, dict, where), f"{where} must have {name!r}", list(value))
    for name, x in value.items():
        _require(name in kinds, f"{where} has only {', '.join(kinds)}", name)
        _typed(x, kinds[name], f"the {name} of {where}")
    return value


def _named(value: Any, kind: type, names: Sequence[str], where: str) -> Any:
    """Return a dtype, a memory format or a layout by its name, if it is one of those known."""
    found = getattr(torch, value, None) if value in names else None
    _require(isinstance(found, kind), f"{where} must be a {kind.__name__} that this torch has", value)
    return found


def _sizes(value: Any, where: str) -> tuple[int, ...]:
    return tuple(_integer(n, f"a number of {where}") for n in _typed(value, list, where))


def _ref(value: Any, nbytes: Sequence[int], where: str) -> Ref:
    """Return a tensor that lies in its storage."""
    _require(type(value) is list and 3 <= len(value) <= 6, f"{where} must have 3 to 6 parts", value)
    defaults: list[Any] = [None, 0, False]
    number, name, sizes, strides, start, conj = list(value) + defaults[len(value) - 3 :]
    available = _item(nbytes, number, f"the storage of {where}")
    dtype = _named(name, torch.dtype, _DTYPES, f"the dtype of {where}")
    size = _sizes(sizes, f"the size of {where}")
    stride = contiguous_stride(size) if strides is None else _sizes(strides, f"the stride of {where}")
    _require(len(stride) == len(size) <= 64, f"{where} must have a stride for each of at most 64 dimensions", stride)
    ref = Ref(
        number, dtype, size, stride, _integer(start, f"the offset of {where}"), _typed(conj, bool, f"conj of {where}")
    )
    end = ref.offset + (sum((n - 1) * step for n, step in zip(size, stride)) + 1 if ref.numel else 0)
    _require(end * dtype.itemsize <= available, f"{where} must end in its {available} bytes", end * dtype.itemsize)
    # A stride of 0 may stand beside any size.
    _require(max(ref.numel, *stride, 0) * dtype.itemsize <= _MOST, f"{where} must be of a size that torch has", size)
    _require(dtype.is_complex or not ref.conj, f"{where} must be complex to be conjugated", name)
    return ref


# Optional fields of an operation.
_MORE_OF_OPERATION: dict[str, type] = {"kwargs": dict, "fresh": list}
_MORE_OF_OPERATION |= dict.fromkeys(["generator", "call", "label", "place"], int)


class _Decoder:
    """Decodes the parts of a program that refer to its tables."""

    def __init__(self, refs: Sequence[Ref], places: Sequence[str]) -> None:
        self.refs, self.places = refs, places

    def value(self, value: Any, where: str, depth: int = 0) -> Any:
        """Return an argument of an operator."""
        if value is None or type(value) in (bool, float, str):
            return value
        if type(value) is int:
            _require(-_MOST - 1 <= value < 1 << 64, f"an integer of {where} must have 64 bits", value)
            return value
        if type(value) is list:
            _require(depth < _DEPTH, f"the lists of {where} must be at most {_DEPTH} deep", value)
            return [self.value(x, where, depth + 1) for x in value]
        _require(type(value) is dict and len(value) == 1, f"an argument of {where} must have one tag", value)
        ((tag, inner),) = value.items()
        return self._tagged(tag, inner, where)

    def _tagged(self, tag: str, inner: Any, where: str) -> Any:
        if tag == "ref":
            return _item(self.refs, inner, f"a tensor of {where}")
        if tag == "float":
            _require(type(inner) is str and inner in _FLOATS, f"a float of {where} must be inf or nan", inner)
            return _FLOATS[inner]
        if tag == "complex":
            _require(type(inner) is list and len(inner) == 2, f"a complex of {where} must have two parts", inner)
            parts = [self.value(x, where) for x in inner]
            _require(all(type(x) is float for x in parts), f"a complex of {where} must have two floats", inner)
            return complex(*parts)
        _require(tag in _NAMES, f"an argument of {where} must be tagged ref, float, complex or a kind of name", tag)
        kind, names = _NAMES[tag]
        return _named(inner, kind, names, f"a {tag} of {where}")

    def values(self, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return named arguments."""
        return {name: self.value(x, where) for name, x in given.items()}

    def function(self, value: Any, where: str) -> dict[str, Any]:
        """Return what calls of one initializer share."""
        given = _fields(value, where, {"name": str, "module": str, "defaults": dict})
        # Drawing by key looks the function up by its name.
        _require(given["name"] in INITIALIZERS, f"{where} must name an initializer", given["name"])
        return {**given, "defaults": self.values(given["defaults"], where)}

    def call(self, value: Any, functions: Sequence[Mapping[str, Any]], where: str) -> Call:
        """Return a call of an initializer."""
        given = _fields(value, where, {"function": object, "args": dict, "target": object})
        function = _item(functions, given["function"], f"the function of {where}")
        target = _item(self.refs, given["target"], f"the target of {where}")
        args = self.values(given["args"], where)
        return Call(function["name"], function["module"], args, function["defaults"], target)

    def entries(self, values: Any) -> tuple[Entry, ...]:
        """Return the parameters and buffers, of different names."""
        entries: dict[str, Entry] = {}
        for number, value in enumerate(_typed(values, list, "entries")):
            where = f"entries[{number}]"
            needed = {"name": str, "kind": str, "module": str, "ref": object}
            given = _fields(value, where, needed, {"requires_grad": bool, "persistent": bool, "tied": str})
            name, tied = given["name"], given.get("tied")
            _require(name not in entries, f"{where} must have a name of its own", name)
            _require(given["kind"] in ("parameter", "buffer"), f"{where} must be a parameter or buffer", given["kind"])
            ref = _item(self.refs, given["ref"], f"the tensor of {where}")
            first = entries.get(tied)
            same = tied is None or (first is not None and first.ref == ref and first.tied is None)
            _require(same, f"{where} must be tied to an earlier entry of its tensor", tied)
            entries[name] = Entry(**{**given, "ref": ref})
        return tuple(entries.values())

    def _refs(self, numbers: Sequence[Any], where: str) -> tuple[Ref | None, ...]:
        return tuple(None if x is None else _item(self.refs, x, where) for x in numbers)

    def operation(self, value: Any, calls: Sequence[Call], where: str) -> Operation:
        """Return an operation whose arguments its operator takes, and that makes and writes what it says."""
        given = _fields(value, where, {"op": object, "args": list}, _MORE_OF_OPERATION)
        name = given["op"]
        allowed = type(name) is str and (name in STATES or is_allowed(name))
        _require(allowed, f"{where} must be an allowed operator", name)
        for part in ("call", "label"):
            if part in given:
                _item(calls, given[part], f"the {part} of {where}")
        operation = Operation(
            name,
            tuple(self.value(given["args"], where)),
            self.values(given.get("kwargs", {}), where),
            generator=_integer(given["generator"], f"the generator of {where}") if "generator" in given else None,
            place=_item(self.places, given["place"], f"the place of {where}") if "place" in given else "",
            call=given.get("call"),
            label=given.get("label"),
        )
        if operation.is_state:
            _require(not given.keys() & {"kwargs", "fresh"}, f"{where} must have one number alone", value)
            return operation
        try:
            return self._checked(operation, given)
        except RecordError as error:
            raise RecordError(f"{where}: {error}") from None

    def _checked(self, operation: Operation, given: Mapping[str, Any]) -> Operation:
        """Add what an operator makes and writes, after checking it."""
        writes = written_by(operation)
        nothing = [None] * results(operation.name)
        fresh = self._refs(given.get("fresh", nothing), "what it makes")
        operation = replace(operation, fresh=fresh, writes=writes, random=is_random(operation.name))
        check_results(operation)
        return operation


def _check_states(operations: Sequence[Operation]) -> None:
    """Check that a generator is seeded before it draws, and a state saved before it is restored."""
    seeded, saved = set[int | None]([None]), set[int]()
    for number, operation in enumerate(operations):
        where = f"operations[{number}]"
        if operation.is_state:
            only = len(operation.args) == 1 and type(operation.args[0]) is int
            _require(only, f"{where} must have one number", operation.args)
            if operation.name == "seed":
                seeded.add(operation.generator)
                continue
            _require(operation.generator is None, f"{where} must be of the default generator", operation.generator)
            if operation.name == "save":
                saved.add(operation.args[0])
            _require(operation.args[0] in saved, f"{where} must restore a saved state", operation.args[0])
        _require(operation.generator in seeded, f"{where} must draw from a seeded generator", operation.generator)


def _outside(value: Any, where: str) -> Outside:
    """Return a use of something outside torch, in words."""
    given = _fields(value, where, dict.fromkeys(["kind", "what", "place", "right"], str))
    _require(given["kind"] in ("random", "file"), f"{where} must be a draw or a file", given["kind"])
    return Outside(**given)


def _by_storage(value: Any, nbytes: Sequence[int], where: str) -> dict[int, Any]:
    """Return an object whose names are numbers of storages by those numbers."""
    numbers = {}
    for name, x in _typed(value, dict, where).items():
        _require(re.fullmatch("0|[1-9][0-9]{0,18}", name) is not None, f"{where} must have numbers of storages", name)
        _item(nbytes, int(name), f"a storage of {where}")
        numbers[int(name)] = x
    return numbers


def _constants(value: Any, nbytes: Sequence[int]) -> dict[int, Tensor]:
    """Return the contents of the storages that have them at the start."""
    constants = {}
    for number, text in _by_storage(value, nbytes, "constants").items():
        size, name = nbytes[number], f"constant {number}"
        _typed(text, str, name)
        try:
            contents = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise RecordError(f"{name} must be base64, got {_shown(text)}: {error}") from None
        _require(len(contents) == size, f"{name} must have the {size} bytes of its storage", len(contents))
        # frombuffer takes no empty buffer.
        tensor = torch.frombuffer(bytearray(contents), dtype=torch.uint8) if size else torch.empty(0, dtype=torch.uint8)
        constants[number] = tensor
    return constants


def decode(content: Mapping[str, Any]) -> Program:
    """Make a program of the content of a file.

    Raises:
        RecordError: if the content is not what :func:`torchinit.recording._encode.encode` writes; one line
    """

    def each(name: str, decoded: Callable[[Any, str], Any]) -> tuple[Any, ...]:
        values = _typed(content[name], list, name)
        return tuple(decoded(value, f"{name}[{number}]") for number, value in enumerate(values))

    nbytes = each("storages", _integer)
    constants = _constants(content["constants"], nbytes)
    given = each("given", lambda value, where: _integer(value, where, len(nbytes) - 1))
    refs = each("refs", lambda value, where: _ref(value, nbytes, where))
    decoder = _Decoder(refs, each("places", lambda value, where: _typed(value, str, where)))
    functions = each("functions", decoder.function)
    calls = each("calls", lambda value, where: decoder.call(value, functions, where))
    operations = each("operations", lambda value, where: decoder.operation(value, calls, where))
    _check_states(operations)
    entries = decoder.entries(content["entries"])
    places = _by_storage(content["allocated"], nbytes, "allocated")
    allocated = {number: _item(decoder.places, place, "a place of allocated") for number, place in places.items()}
    return Program(
        operations,
        entries,
        calls,
        dict(enumerate(nbytes)),
        constants,
        given=frozenset(given),
        outside=each("outside", _outside),
        allocated=allocated,
    )
