"""Read a model from a TorchScript archive, a state dict or safetensors."""

import errno
import os
import re
import stat
import warnings
import zipfile
from typing import Any

import torch
from torch import Tensor, nn

from torchinit._core.table import first_line, printable
from torchinit._core.torchscript import silenced
from torchinit.diagnostics._parameters import fault_of, module_of

PathLike = str | os.PathLike[str]

_SCRIPT = "a TorchScript archive"
_SAVED = "a file of torch.save"
_SAFETENSORS = "a safetensors file"

# Keys under which a checkpoint may hold the state dict of its model.
_NESTED = ("state_dict", "model", "model_state_dict")

# safetensors itself refuses a longer header.
_MAX_HEADER = 100_000_000


def _read_cause(error: Exception) -> str:
    """Find the cause in a reader's error."""
    # torch wraps the unpickler's words in advice to load the file unsafely.
    said = str(error).rpartition("WeightsUnpickler error: ")[2]
    # A bare index or key says nothing without the error's type.
    return first_line(said if " " in said else f"{type(error).__name__} {said}")


def _refusal(path: PathLike, why: str) -> RuntimeError:
    rule = "a model file must hold a TorchScript archive, a state dict or safetensors"
    return RuntimeError(f"{rule}, got {printable(os.fspath(path))}, {why}")


def _zip_kind(path: PathLike) -> str:
    """Find the kind of a zip archive by its records, after verifying their checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for record in archive.infolist():
                # NB: torch does not verify checksums when it reads. A checksum of 0 was left out on purpose.
                if record.CRC:
                    with archive.open(record) as file:
                        while file.read(1 << 20):
                            pass
    except Exception as error:
        # NB: zipfile raises many types of exceptions.
        raise _refusal(path, f"a zip archive that is cut off or damaged: {_read_cause(error)}") from None
    # torch's archives have a top folder, except those of older torch.export.
    records = {name.partition("/")[2] for name in names}
    if "constants.pkl" in records:
        return _SCRIPT
    if "data.pkl" in records:
        return _SAVED
    if records & {"archive_format", "serialized_exported_program.json"} or "serialized_exported_program.json" in names:
        raise _refusal(path, "a torch.export archive, whose weights torch.export.load reads")
    raise _refusal(path, "a zip archive that torch did not write")


def _kind(path: PathLike) -> str:
    """Find the kind of a file by its first bytes; its name does not matter."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(path, "not a regular file")
    with open(path, "rb") as file:
        head = file.read(9)
    if not head:
        raise _refusal(path, "an empty file")
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER:
        return _SAFETENSORS
    if head[0] == 0x80 and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return _SAVED
    raise _refusal(path, f"which starts with {head!r}")


def _load_script(path: PathLike) -> torch.jit.ScriptModule:
    try:
        with silenced():
            module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
                os.fspath(path), map_location="cpu"
            )
    except Exception as error:
        raise _refusal(path, f"a TorchScript archive that torch.jit.load does not read: {_read_cause(error)}") from None
    return module


def _pickle_refusal(error: Exception) -> str:
    """Say why torch.load refused a pickle, and name the code in it if there is any."""
    code = re.search(r"GLOBAL (\S*[^\s.])\s", str(error))
    if code:
        return f"a pickle that holds code ({code[1]}), which was not loaded; save the model's state_dict() instead"
    # NB: the unpickler stops at the framing of newer protocols, before it sees any call.
    if "Unsupported operand 149" in str(error):
        return "a pickle of protocol 4 or 5, which may hold code and was not loaded"
    return f"which torch.load does not read: {_read_cause(error)}"


def _load_saved(path: PathLike) -> Any:
    try:
        with warnings.catch_warnings():
            # torch also warns about the pickle of a damaged file; the refusal is enough.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _refusal(path, first_line(_pickle_refusal(error))) from None


def _load_safetensors(path: PathLike) -> dict[str, Tensor]:
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
        raise _refusal(path, f"a safetensors file that is cut off or damaged: {_read_cause(error)}") from None


def _state_dict(path: PathLike, loaded: Any) -> dict[str, Any]:
    """Find the state dict of a model in what torch.load read."""
    for key in _NESTED:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        raise _refusal(path, f"which holds {type(loaded).__name__}, not a dict of names and tensors")
    fault = fault_of(loaded)
    if fault is not None:
        raise _refusal(path, f"a state dict with {fault}")
    return loaded


def load(path: PathLike) -> nn.Module:
    """Read a model: a TorchScript archive, a state dict that torch.save wrote, or a safetensors file.

    No code of a pickle is run. A state dict becomes a tree of plain modules with parameters and buffers.

    Raises:
        RuntimeError: if the file holds something else or is damaged; the message is one line
        OSError: if the file cannot be read
    """
    kind = _kind(path)
    if kind == _SCRIPT:
        return _load_script(path)
    return module_of(_state_dict(path, _load_safetensors(path) if kind == _SAFETENSORS else _load_saved(path)))


def load_torchscript(path: PathLike) -> torch.jit.ScriptModule:
    """Read a TorchScript archive and refuse any other file of a model.

    Raises:
        RuntimeError: if the file holds something else or is damaged; the message is one line
        OSError: if the file cannot be read
    """
    kind = _kind(path)
    if kind != _SCRIPT:
        raise RuntimeError(f"this command needs a TorchScript file, got {printable(os.fspath(path))}, {kind}")
    return _load_script(path)
