"""Copies of model files whose tensors are written in place, so that a file of any size needs little memory."""

import copy
import ctypes
import mmap
import os
import sys
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchinit._core.compat import storage_id
from torchinit.cli._checkpoints import choose
from torchinit.cli._exported import is_rewritable
from torchinit.cli._files import EXPORTED, SAFETENSORS, read_archive
from torchinit.cli._readers import PathLike, is_mappable, load_pickle, refusal
from torchinit.cli._safetensors import load_safetensors
from torchinit.cli._zip import mend_checksums

_PART = 1 << 20

# Bytes that are written before the system takes the pages of a file back.
_MOST = 1 << 24


@dataclass
class FileCopy:
    """A copy of a file.

    Args:
        held: the entries of its state dict; a tensor that is written changes the copy
        finish: makes the copy a file that can be read again
    """

    held: Mapping[Any, Any]
    finish: Callable[[], object]


def copy_file(source: PathLike, target: PathLike) -> None:
    """Copy the values of a file; unlike shutil's copy, blocks are never shared, so that none can be lacking later."""
    with open(source, "rb") as file, open(target, "xb") as made:
        while part := file.read(_PART):
            made.write(part)


def _containers(value: Any) -> Iterator[Any]:
    """Yield the values in nested dicts and lists, each container once."""
    stack, seen = [value], set[int]()
    while stack:
        each = stack.pop()
        if isinstance(each, (Mapping, list, tuple)) and id(each) not in seen:
            seen.add(id(each))
            yield each
            stack.extend(each.values() if isinstance(each, Mapping) else each)


def _storages(container: Any) -> set[int]:
    values = container.values() if isinstance(container, Mapping) else container
    return {storage_id(x) for x in values if isinstance(x, Tensor) and x.layout is torch.strided}


def _shared_outside(loaded: Any, held: Mapping[Any, Any]) -> set[int]:
    """Find the storages of a state dict that other entries of its checkpoint have too."""
    others = [_storages(each) for each in _containers(loaded) if each is not held]
    return _storages(held) & set[int]().union(*others)


def _in_memory(loaded: Any, held: Any, shared: set[int], stage: PathLike, zipped: bool) -> FileCopy:
    """Give a state dict memory of its own, to be saved as a whole."""
    own = {name: x for name, x in held.items() if isinstance(x, Tensor) and storage_id(x) in shared}
    held.update(copy.deepcopy(own))

    def finish() -> None:
        # NB: by its name, torch refuses a file that begins with a dot.
        with open(stage, "xb") as file:
            torch.save(loaded, file, _use_new_zipfile_serialization=zipped)

    return FileCopy(held, finish)


def open_copy(source: PathLike, stage: PathLike, kind: str, key: str | None) -> FileCopy:
    """Copy a file to ``stage`` so that its tensors can be written.

    Raises:
        RuntimeError: if the weights are stored in a form that cannot be written; the message is one line
    """
    if kind == SAFETENSORS:
        copy_file(source, stage)
        return FileCopy(load_safetensors(stage, shared=True), lambda: None)
    if kind == EXPORTED:
        check_rewritable(source)
        copy_file(source, stage)
        held = read_archive(stage, source, key, shared=True)
        return FileCopy(held, lambda: mend_checksums(stage))
    loaded = load_pickle(source)
    held = choose(source, loaded, key)
    shared = _shared_outside(loaded, held)
    # NB: torch maps no file for writing on Windows.
    if shared or sys.platform == "win32" or not is_mappable(source):
        return _in_memory(loaded, held, shared, stage, zipfile.is_zipfile(source))
    copy_file(source, stage)
    held = choose(source, load_pickle(stage, shared=True), key)
    return FileCopy(held, lambda: mend_checksums(stage))


def check_rewritable(path: PathLike) -> None:
    """Refuse an archive of torch.export whose weights are pickled or compiled."""
    if not is_rewritable(path):
        raise refusal(
            path, "a torch.export archive of torch 2.8 or older, or of AOTInductor; only inspect reads its weights"
        )


def _mapped(paths: Collection[PathLike]) -> Iterator[tuple[int, int]]:
    """Yield where the files are mapped for writing, and how many bytes; Linux lists that."""
    if not sys.platform.startswith("linux"):
        return
    names = {os.fsencode(os.path.realpath(path)) for path in paths}
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            # The addresses, the permissions with s for a shared mapping, three numbers and the name.
            place, permissions, *_, name = [*line.rstrip(b"\n").split(maxsplit=5), b""][:6]
            if name in names and permissions.endswith(b"s"):
                begin, end = (int(address, 16) for address in place.split(b"-"))
                yield begin, end - begin


class Pages:
    """Gives the pages of mapped files back to the system while tensors are written; the files keep the values."""

    def __init__(self, paths: Collection[PathLike]) -> None:
        self._ranges, self._written = list(_mapped(paths)), 0

    def written(self, tensor: Tensor) -> None:
        """Count a tensor that was written."""
        self._written += tensor.numel() * tensor.element_size()
        if self._written < _MOST:
            return
        self._written = 0
        for begin, size in self._ranges:
            # NB: in a shared mapping this drops no values.
            ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(size), mmap.MADV_DONTNEED)
