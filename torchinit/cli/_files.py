"""Read a model from a TorchScript archive, a state dict, safetensors or an exported program."""

import errno
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchinit._core.table import printable
from torchinit._core.torchscript import silenced
from torchinit.cli._checkpoints import choose
from torchinit.cli._exported import read_exported
from torchinit.cli._readers import PathLike, load_pickle, load_safetensors, read_cause, refusal
from torchinit.cli._shards import model_file, read_shards
from torchinit.diagnostics._packed import tensors_of
from torchinit.diagnostics._parameters import fault_of

_SCRIPT = "a TorchScript archive"
_SAVED = "a file of torch.save"
_SAFETENSORS = "a safetensors file"
_EXPORTED = "a torch.export archive"
# If it is a model, the index of its shards.
_JSON = "a JSON file"

# safetensors itself refuses a longer header.
_MAX_HEADER = 100_000_000


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
        raise refusal(path, f"a zip archive that is cut off or damaged: {read_cause(error)}") from None
    # torch's archives have a top folder, except those of older torch.export.
    records = {name.partition("/")[2] for name in names}
    if "constants.pkl" in records:
        return _SCRIPT
    if "data.pkl" in records:
        return _SAVED
    if records & {"archive_format", "serialized_exported_program.json"} or "serialized_exported_program.json" in names:
        return _EXPORTED
    raise refusal(path, "a zip archive that torch did not write")


def _kind(path: PathLike) -> str:
    """Find the kind of a file by its first bytes; its name does not matter."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise refusal(path, "not a regular file")
    with open(path, "rb") as file:
        head = file.read(9)
    if not head:
        raise refusal(path, "an empty file")
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if head.startswith(b"version h"):
        raise refusal(path, "a pointer of Git LFS; git lfs pull fetches the file")
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER:
        return _SAFETENSORS
    if head[0] == 0x80 and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return _SAVED
    if head.lstrip().startswith(b"{"):
        return _JSON
    raise refusal(path, f"which starts with {head!r}")


def _load_script(path: PathLike) -> torch.jit.ScriptModule:
    try:
        with silenced():
            module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
                os.fspath(path), map_location="cpu"
            )
    except Exception as error:
        raise refusal(path, f"a TorchScript archive that torch.jit.load does not read: {read_cause(error)}") from None
    return module


def _shard(path: Path) -> Mapping[str, Any]:
    kind = _kind(path)
    if kind == _SAFETENSORS:
        return load_safetensors(path)
    if kind == _SAVED:
        return tensors_of(choose(path, load_pickle(path), None))
    raise refusal(path, f"{kind} in place of a shard")


def _held(path: PathLike, kind: str, key: str | None) -> Mapping[Any, Any]:
    """Read the entries of a state dict."""
    if kind in (_SAFETENSORS, _JSON):
        return load_safetensors(path) if kind == _SAFETENSORS else read_shards(path, _shard)
    if kind == _EXPORTED:
        models = read_exported(path)
        return choose(path, next(iter(models.values())) if len(models) == 1 else models, key)
    return choose(path, load_pickle(path), key)


def read(path: PathLike, key: str | None = None) -> torch.jit.ScriptModule | dict[str, Tensor]:
    """Read the module of a TorchScript archive, or the tensors of any other file or directory of a model.

    No code of a pickle is run, nor that of an exported program.

    Args:
        path: a file, the index of shards, or a directory as transformers writes it
        key: path of a state dict among several in a checkpoint, ``"model_ema"`` or ``"state.net"``

    Raises:
        RuntimeError: if the file holds something else or is damaged; the message is one line
        OSError: if the file cannot be read
    """
    if os.path.isdir(path):
        path = model_file(path)
    kind = _kind(path)
    if key is not None and kind in (_SCRIPT, _SAFETENSORS, _JSON):
        raise RuntimeError(
            f"--key chooses among the state dicts of a checkpoint, got {printable(os.fspath(path))}, {kind}"
        )
    if kind == _SCRIPT:
        return _load_script(path)
    tensors = tensors_of(_held(path, kind, key))
    fault = fault_of(tensors)
    if fault is not None:
        raise refusal(path, f"a state dict with {fault}")
    return tensors


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
