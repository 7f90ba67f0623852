"""Read pickles of torch.save and safetensors without running code; a refusal is one line."""

import os
import re
import warnings
import zipfile
from collections.abc import Collection
from typing import IO, Any

import torch
from torch import Tensor

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


def _is_mappable(file: PathLike | IO[bytes]) -> bool:
    """True for a path of a zip archive whose records are not compressed, as torch writes them."""
    if not isinstance(file, (str, os.PathLike)) or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return all(record.compress_type == zipfile.ZIP_STORED for record in archive.infolist())


def load_pickle(path: PathLike, file: IO[bytes] | None = None) -> Any:
    """Read what torch.save wrote to a path, or to a record of the archive at that path.

    Tensors stay in the file until they are used, if it is a zip archive.
    """
    source = path if file is None else file
    try:
        with warnings.catch_warnings():
            # torch also warns about the pickle of a damaged file; the refusal is enough.
            warnings.simplefilter("ignore")
            return torch.load(source, map_location="cpu", weights_only=True, mmap=_is_mappable(source))
    except Exception as error:
        raise refusal(path, first_line(_pickle_refusal(error))) from None


def load_safetensors(path: PathLike) -> dict[str, Tensor]:
    """Read a safetensors file; its tensors stay there until they are used."""
    try:
        from safetensors import safe_open
    except ImportError:
        raise RuntimeError(
            "reading a safetensors file needs the package safetensors: pip install 'torchinit[safetensors]'"
        ) from None
    try:
        # NB: load_file and keys() lose the order of the file; older releases lack offset_keys().
        with safe_open(os.fspath(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in getattr(file, "offset_keys", file.keys)()}
    except Exception as error:
        raise refusal(path, f"a safetensors file that is cut off or damaged: {read_cause(error)}") from None
