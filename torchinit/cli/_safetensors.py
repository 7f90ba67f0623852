"""Read safetensors, whose format is 8 bytes with the length of a header, the header in JSON, and the values."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torchinit._core.table import printable
from torchinit.cli._readers import PathLike, map_file, read_cause, refusal, sliced

# safetensors itself refuses a longer header.
MAX_HEADER = 100_000_000

# The key of what is no tensor: names with texts.
_METADATA = "__metadata__"

# https://github.com/huggingface/safetensors names the dtypes; some releases of torch lack some of them.
_DTYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64", "BOOL": "bool"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8"},
    **{"U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8"},
    **{"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu"},
    **{"F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F4": "float4_e2m1fn_x2"},
}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _header(path: PathLike) -> tuple[Mapping[str, Any], int]:
    """Read the entries of the header, and where the values begin."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MAX_HEADER, os.fstat(file.fileno()).st_size - 8):
            raise ValueError(f"its header of {length:,} bytes is longer than the file")
        header = json.loads(file.read(length).decode(), object_pairs_hook=_without_duplicates)
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    header.pop(_METADATA, None)
    return header, 8 + length


def _is_size(number: object) -> bool:
    return type(number) is int and 0 <= number < 1 << 63


def _described(name: str, about: Any) -> tuple[torch.dtype, list[int], int, int]:
    """Return the dtype, the shape, and the first byte and the end of an entry."""
    try:
        kind, shape, (begin, end) = about["dtype"], list(about["shape"]), about["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"no dtype, shape and data_offsets for {printable(name)[:80]}") from None
    if not all(map(_is_size, [*shape, begin, end])):
        raise ValueError(f"a size that is none for {printable(name)[:80]}")
    dtype = getattr(torch, _DTYPES.get(kind, ""), None) if isinstance(kind, str) else None
    if dtype is None:
        raise ValueError(f"dtype {printable(str(kind))[:80]}, which this torch does not have")
    if kind == "F4" and shape:
        # Two values in a byte.
        shape[-1] //= 2
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise ValueError(f"{end - begin:,} bytes for {printable(name)[:80]}, of shape {shape}")
    return dtype, shape, begin, end


def _views(path: PathLike, shared: bool) -> dict[str, Tensor]:
    header, start = _header(path)
    entries = sorted(((name, *_described(name, about)) for name, about in header.items()), key=lambda entry: entry[3:])
    place = 0
    for name, _, _, begin, end in entries:
        if begin != place:
            raise ValueError(f"a gap or an overlap before {printable(name)[:80]}")
        place = end
    if start + place != os.stat(path).st_size:
        raise ValueError(f"{os.stat(path).st_size - start:,} bytes of values, where its header has {place:,}")
    storage, found = map_file(path, shared), dict[str, Tensor]()
    for name, dtype, shape, begin, end in entries:
        own = torch.empty(0, dtype=dtype, device="cpu").set_(sliced(storage, start + begin, start + end))
        found[name] = own.view(shape)
    return found


def load_safetensors(path: PathLike, shared: bool = False) -> dict[str, Tensor]:
    """Read a safetensors file; its tensors stay there until they are used, in the order of the file.

    Args:
        path: the file
        shared: whether what is written to a tensor goes to the file

    Raises:
        RuntimeError: if the file is damaged; the message is one line
    """
    try:
        return _views(path, shared)
    except (ValueError, RecursionError) as error:
        raise refusal(path, f"a safetensors file that is cut off or damaged: {read_cause(error)}") from None
