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
from torchinit.cli._readers import PathLike, load_pickle, read_cause, readable, refusal
from torchinit.cli._safetensors import MAX_HEADER, load_safetensors
from torchinit.cli._shards import model_file, read_shards
from torchinit.diagnostics._packed import tensors_of
from torchinit.diagnostics._parameters import fault_of

SCRIPT = "a TorchScript archive"
SAVED = "a file of torch.save"
SAFETENSORS = "a safetensors file"
EXPORTED = "a torch.export archive"
# If it is a model, the index of its shards.
JSON = "a JSON file"


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
        return SCRIPT
    if "data.pkl" in records:
        return SAVED
    if records & {"archive_format", "serialized_exported_program.json"} or "serialized_exported_program.json" in names:
        return EXPORTED
    raise refusal(path, "a zip archive that torch did not write")


def kind_of(path: PathLike) -> str:
    """Find the kind of a file by its first bytes; its name does not matter."""
    name = os.fspath(path)
    if ":" in name and os.sep not in name and not os.path.lexists(path):
        raise refusal(path, "the name of a model; record, diff and report build it")
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
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER:
        return SAFETENSORS
    if head[0] == 0x80 and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return SAVED
    if head.startswith(b'{"format"'):
        raise refusal(path, "a recording; record shows it, and --recipe takes it")
    if head.lstrip().startswith(b"{"):
        return JSON
    if name.endswith(".toml"):
        raise refusal(path, "a recipe; list --recipe shows it, and --recipe takes it")
    raise refusal(path, f"which starts with {head!r}")


def load_script(path: PathLike) -> torch.jit.ScriptModule:
    """Read the module of a TorchScript archive."""
    try:
        with silenced(), readable(path) as name:
            module: torch.jit.ScriptModule = torch.jit.load(name, map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:
        raise refusal(path, f"a TorchScript archive that torch.jit.load does not read: {read_cause(error)}") from None
    return module


def find(path: PathLike, key: str | None = None) -> tuple[PathLike, str]:
    """Find the file of a model, or the index of its shards, and its kind.

    Args:
        path: a file, the index of shards, or a directory as transformers writes it
        key: path of a state dict among several in a checkpoint, or None

    Raises:
        RuntimeError: if the file holds no model, or none that a key could choose from; the message is one line
        OSError: if the file cannot be read
    """
    if os.path.isdir(path):
        path = model_file(path)
    kind = kind_of(path)
    if key is not None and kind in (SCRIPT, SAFETENSORS, JSON):
        raise RuntimeError(
            f"--key chooses among the state dicts of a checkpoint, got {printable(os.fspath(path))}, {kind}"
        )
    return path, kind


def _shard(path: Path) -> Mapping[str, Any]:
    return load_safetensors(path) if kind_of_shard(path) == SAFETENSORS else tensors_of(read_held(path, SAVED))


def kind_of_shard(path: PathLike) -> str:
    """Find the kind of a shard.

    Raises:
        RuntimeError: if it is neither safetensors nor a file of torch.save
    """
    kind = kind_of(path)
    if kind not in (SAFETENSORS, SAVED):
        raise refusal(path, f"{kind} in place of a shard")
    return kind


def read_archive(path: PathLike, source: PathLike, key: str | None, shared: bool = False) -> Mapping[Any, Any]:
    """Read the entries of the state dict of an exported program, or of the copy ``path`` of ``source``."""
    models = read_exported(path, shared)
    return choose(source, next(iter(models.values())) if len(models) == 1 else models, key)


def read_held(path: PathLike, kind: str, key: str | None = None) -> Mapping[Any, Any]:
    """Read the entries of a state dict."""
    if kind in (SAFETENSORS, JSON):
        return load_safetensors(path) if kind == SAFETENSORS else read_shards(path, _shard)
    if kind == EXPORTED:
        return read_archive(path, path, key)
    return choose(path, load_pickle(path), key)


def read_tensors(path: PathLike, kind: str, key: str | None = None) -> tuple[Mapping[Any, Any], dict[str, Tensor]]:
    """Read the entries of a file that is no TorchScript archive, and its tensors, packed ones as well."""
    held = read_held(path, kind, key)
    tensors = tensors_of(held)
    fault = fault_of(tensors)
    if fault is not None:
        raise refusal(path, f"a state dict with {fault}")
    return held, tensors


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
    path, kind = find(path, key)
    return load_script(path) if kind == SCRIPT else read_tensors(path, kind, key)[1]


def load_torchscript(path: PathLike) -> torch.jit.ScriptModule:
    """Read a TorchScript archive and refuse any other file of a model.

    Raises:
        RuntimeError: if the file holds something else or is damaged; the message is one line
        OSError: if the file cannot be read
    """
    kind = "a directory" if os.path.isdir(path) else kind_of(path)
    if kind != SCRIPT:
        raise RuntimeError(f"this command needs a TorchScript file, got {printable(os.fspath(path))}, {kind}")
    return load_script(path)
