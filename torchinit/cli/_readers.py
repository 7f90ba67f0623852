"""Read pickles of torch.save without running code, and map files; a refusal is one line."""

import mmap
import os
import re
import sys
import warnings
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import torch

from torchinit._core.table import first_line, printable

PathLike = str | os.PathLike[str]

_RULE = "a model file must hold a TorchScript archive, a state dict or safetensors"

# Names in a message before the rest is counted.
_NAMED = 10


class ModelFileError(RuntimeError):
    """A file that holds no model, or one that is not read; the message is one line."""


def refusal(path: PathLike, why: str) -> ModelFileError:
    """Say what a model file must hold, and what this one does."""
    return ModelFileError(f"{_RULE}, got {printable(os.fspath(path))}, {why}")


def listed(names: Collection[str]) -> str:
    """List names in a message: the first few, and how many more there are."""
    shown = [printable(name)[:80] for name in [*names][:_NAMED]]
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown)} more")
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def read_cause(error: Exception) -> str:
    """Find the cause in a reader's error."""
    # torch wraps the unpickler's words in advice to load the file unsafely.
    said = str(error).rpartition("WeightsUnpickler error: ")[2]
    # A bare index or key says nothing without the error's type.
    return first_line(said if " " in said else f"{type(error).__name__} {said}")


@contextmanager
def readable(path: PathLike, mode: str = "rb") -> Iterator[str]:
    """Yield a name by which torch reads a file as what it is.

    torch takes only names in UTF-8, and some releases take the suffix .safetensors for the kind of the file.
    """
    name = os.fspath(path)
    if _is_utf8(name) and not name.endswith(".safetensors"):
        yield name
        return
    with open(path, mode) as file:
        # Linux and macOS name open files so; Windows has no names of bytes.
        yield name if sys.platform == "win32" else f"/dev/fd/{file.fileno()}"


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def map_file(path: PathLike, shared: bool = False) -> torch.UntypedStorage:
    """Map a file to memory; if ``shared``, what is written there goes to the file."""
    size = os.stat(path).st_size
    with readable(path, "r+b" if shared else "rb") as name:
        mapped: Any = torch.UntypedStorage.from_file(name, shared, size)
    return cast(torch.UntypedStorage, mapped)


def sliced(storage: torch.UntypedStorage, begin: int, end: int) -> torch.UntypedStorage:
    """Return a part of a storage as one of its own, of the same memory."""
    part: Any = storage[begin : max(begin, end)]
    return cast(torch.UntypedStorage, part)


@contextmanager
def _sharing(shared: bool) -> Iterator[None]:
    """Let torch.load map files for writing in a block."""
    if not shared:
        yield
        return
    before = torch.serialization.get_default_mmap_options() or mmap.MAP_PRIVATE
    torch.serialization.set_default_mmap_options(mmap.MAP_SHARED)
    try:
        yield
    finally:
        torch.serialization.set_default_mmap_options(before)


def _pickle_refusal(error: Exception) -> str:
    """Say why torch.load refused a pickle, and name the code in it if there is any."""
    code = re.search(r"GLOBAL (\S*[^\s.])\s", str(error))
    # NB: the unpickler stops at the framing of newer protocols, before it sees any call.
    if code is None and "Unsupported operand 149" not in str(error):
        return f"which torch.load does not read: {read_cause(error)}"
    what = f"holds code ({code[1]}), which" if code else "may hold code of protocol 4 or 5, which"
    todo = "if you trust it, load it with weights_only=False and torch.save the model's state_dict() alone"
    # Quantized LSTMs have such objects in their state dict.
    if code and code[1] == "torch.ScriptObject":
        todo = "save the model with torch.jit.script instead"
    return f"a pickle that {what} was not loaded; {todo}"


def is_mappable(path: PathLike) -> bool:
    """True for a zip archive whose records are not compressed, as torch writes them."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(record.compress_type == zipfile.ZIP_STORED for record in archive.infolist())


def _load(file: str | IO[bytes], mapped: bool) -> Any:
    return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)


def load_pickle(path: PathLike, file: IO[bytes] | None = None, shared: bool = False) -> Any:
    """Read what torch.save wrote to a path, or to a record of the archive at that path.

    Tensors stay in the file until they are used, if it is a zip archive. If ``shared``, what is written to them goes to
    the file, which must be mappable.
    """
    try:
        with warnings.catch_warnings(), _sharing(shared):
            # torch also warns about the pickle of a damaged file; the refusal is enough.
            warnings.simplefilter("ignore")
            if file is not None:
                return _load(file, mapped=False)
            with readable(path, "r+b" if shared else "rb") as name:
                return _load(name, is_mappable(path))
    except Exception as error:
        raise refusal(path, first_line(_pickle_refusal(error))) from None
