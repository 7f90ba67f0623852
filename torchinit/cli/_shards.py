"""Read a model that is saved in a directory: one file, or several with an index of their tensors."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from torchinit._core.table import first_line, printable
from torchinit.cli._readers import PathLike, listed, read_cause

# The names that transformers, diffusers and peft write, in the order in which transformers looks for it.
_STEMS = ("model", "diffusion_pytorch_model", "adapter_model")
_FILES = tuple(
    f"{stem}{suffix}{index}"
    for stem, suffix in [
        *((stem, ".safetensors") for stem in _STEMS),
        *((s, ".bin") for s in ("pytorch_model", *_STEMS)),
    ]
    for index in ("", ".index.json")
)

# The index of the largest models takes some megabytes.
_MAX_INDEX = 100_000_000


def model_file(directory: PathLike) -> Path:
    """Find the file or the index of a model in a directory; nothing else in it is read."""
    for name in _FILES:
        path = Path(directory, name)
        if path.is_file():
            return path
    raise RuntimeError(
        "a directory must hold model.safetensors, pytorch_model.bin or the .index.json of their shards, got"
        f" {printable(os.fspath(directory))} without them"
    )


def _wrong(path: PathLike, why: str) -> RuntimeError:
    return RuntimeError(f"an index must map the names of tensors to files beside it, got {printable(str(path))}, {why}")


def _leaves(name: str) -> bool:
    """True for a path out of the index's directory, on any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return bool(windows.anchor) or posix.is_absolute() or ".." in (*posix.parts, *windows.parts)


def weight_map(path: PathLike) -> Mapping[str, str]:
    """Read the map of an index from the name of each tensor to its file."""
    if os.stat(path).st_size > _MAX_INDEX:
        raise _wrong(path, f"a file of more than {_MAX_INDEX:,} bytes")
    try:
        index = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise _wrong(path, f"which is not JSON: {read_cause(error)}") from None
    found: Any = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(found, dict):
        raise _wrong(path, "JSON without a weight_map")
    for tensor, name in found.items():
        if not isinstance(name, str) or not name or "\0" in name or _leaves(name):
            raise _wrong(path, f"with {first_line(repr(name))[:80]} for the file of {first_line(repr(tensor))[:80]}")
    return found


def read_shards(path: PathLike, read: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """Read the tensors of an index, in its order, one shard after the other.

    Args:
        path: the index
        read: reads the tensors of a shard

    Raises:
        RuntimeError: if the index is wrong, or a shard or a tensor is missing; the message is one line
    """
    places = weight_map(path)
    shards: dict[str, set[str]] = {}
    for tensor, name in places.items():
        shards.setdefault(name, set()).add(tensor)
    found: dict[str, Any] = {}
    for name, tensors in shards.items():
        shard = Path(path).parent / name
        if not shard.exists():
            raise _wrong(path, f"whose shard {printable(name)} is missing")
        held = read(shard)
        missing = sorted(tensors - held.keys())
        if missing:
            raise _wrong(path, f"whose shard {printable(name)} lacks {listed(missing)}")
        found.update((tensor, held[tensor]) for tensor in tensors)
    return {tensor: found[tensor] for tensor in places}
