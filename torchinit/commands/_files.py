"""Reads a model from a file, whatever wrote it, and puts a file in its place whole."""

import errno
import os
import re
import secrets
import stat
import warnings
import zipfile
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchinit._table import first_line, printable
from torchinit.commands._arguments import is_device
from torchinit.deploy._archive import _without_notices
from torchinit.recipes._layers import memory

PathLike = str | os.PathLike[str]

_SCRIPT = "a TorchScript archive"
_SAVED = "a file of torch.save"
_SAFETENSORS = "a safetensors file"

# Where a checkpoint keeps the state dict of its model.
_NESTED = ("state_dict", "model", "model_state_dict")

_STATISTICS = ("running_mean", "running_var")

# Longer names than a model's would exhaust Python's stack when the modules are walked.
_DEEPEST = 100

# safetensors itself refuses a longer header.
_LONGEST_HEADER = 100_000_000


def _cause(error: Exception) -> str:
    # torch wraps what the unpickler says in advice to load the file unsafely.
    said = str(error).rpartition("WeightsUnpickler error: ")[2]
    # An index or a key alone says nothing.
    return first_line(said if " " in said else f"{type(error).__name__} {said}")


def _refusal(path: PathLike, why: str) -> RuntimeError:
    rule = "a model file must hold a TorchScript archive, a state dict or safetensors"
    return RuntimeError(f"{rule}, got {printable(os.fspath(path))}, {why}")


def _zipped(path: PathLike) -> str:
    """Tell by its records what a zip archive holds, once their checksums are right."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for record in archive.infolist():
                # NB: torch reads the weights without, and writes 0 where it was told to leave the checksum out.
                if record.CRC:
                    with archive.open(record) as file:
                        while file.read(1 << 20):
                            pass
    except Exception as error:
        # NB: zipfile lets many a type of exception through.
        raise _refusal(path, f"a zip archive that is cut off or damaged: {_cause(error)}") from None
    # Each archive of torch has a folder of its own, but for those of older torch.export.
    records = {name.partition("/")[2] for name in names}
    if "constants.pkl" in records:
        return _SCRIPT
    if "data.pkl" in records:
        return _SAVED
    if records & {"archive_format", "serialized_exported_program.json"} or "serialized_exported_program.json" in names:
        raise _refusal(path, "a torch.export archive, whose weights torch.export.load reads")
    raise _refusal(path, "a zip archive that torch did not write")


def _kind(path: PathLike) -> str:
    """Tell by its first bytes what a file holds; its name says nothing."""
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
        return _zipped(path)
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER:
        return _SAFETENSORS
    if head[0] == 0x80 and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return _SAVED
    raise _refusal(path, f"which starts with {head!r}")


def _load_script(path: PathLike) -> torch.jit.ScriptModule:
    try:
        with _without_notices():
            module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
                os.fspath(path), map_location="cpu"
            )
    except Exception as error:
        raise _refusal(path, f"a TorchScript archive that torch.jit.load does not read: {_cause(error)}") from None
    return module


def _pickle_refusal(error: Exception) -> str:
    """Say why torch.load refused, and whether for fear of code."""
    code = re.search(r"GLOBAL (\S*[^\s.])\s", str(error))
    if code:
        return f"a pickle that holds code ({code[1]}), which was not loaded; save the model's state_dict() instead"
    # NB: the unpickler stops at the framing of the newer protocols, before it sees what would be called.
    if "Unsupported operand 149" in str(error):
        return "a pickle of protocol 4 or 5, which may hold code and was not loaded"
    return f"which torch.load does not read: {_cause(error)}"


def _load_saved(path: PathLike) -> Any:
    try:
        with warnings.catch_warnings():
            # What torch notices about the pickle of a damaged file is no news beside the refusal.
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
        # NB: load_file forgets the order of the file, and so does keys(), all that older releases have.
        with safe_open(os.fspath(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in getattr(file, "offset_keys", file.keys)()}
    except Exception as error:
        raise _refusal(path, f"a safetensors file that is cut off or damaged: {_cause(error)}") from None


def _state_dict(path: PathLike, loaded: Any) -> dict[str, Tensor]:
    """Find the tensors of a model in what torch.load read."""
    for key in _NESTED:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        raise _refusal(path, f"which holds no dict of names and tensors but {type(loaded).__name__}")
    tensors = {}
    for name, value in loaded.items():
        if not isinstance(name, str) or "" in name.split(".") or name.count(".") >= _DEEPEST:
            raise _refusal(path, f"a state dict with {first_line(repr(name))[:80]} for a dotted name")
        if isinstance(value, Tensor):
            tensors[name] = value
        elif not name.endswith("_extra_state"):
            raise _refusal(path, f"a state dict with {type(value).__name__} for a tensor at {first_line(repr(name))}")
    return tensors


def _skeleton(tensors: dict[str, Tensor]) -> nn.Module:
    """Build a tree of modules that have the parameters of a model, and neither its types nor its methods."""
    root = nn.Module()
    parameters: dict[Hashable, nn.Parameter] = {}
    for name, tensor in tensors.items():
        *path, leaf = name.split(".")
        module = root
        for part in path:
            # NB: register_module refuses what a module has as an attribute, such as "type".
            if part not in module._modules:
                module._modules[part] = nn.Module()
            module = module._modules[part]  # type: ignore[assignment]
        # A normalization's running statistics are no parameters, and no initializer is for them.
        if (tensor.is_floating_point() or tensor.is_complex()) and leaf not in _STATISTICS:
            fresh = nn.Parameter(tensor.detach(), requires_grad=False)
            module._parameters[leaf] = parameters.setdefault((memory(tensor), tensor.shape, tensor.stride()), fresh)
        else:
            module._buffers[leaf] = tensor
    return root


def load(path: PathLike) -> nn.Module:
    """Read a model: a TorchScript archive, a state dict that torch.save wrote, or a safetensors file.

    No code of a pickle is run. A state dict becomes a tree of plain modules with parameters and buffers.

    Raises:
        RuntimeError: if the file holds something else or is damaged, in one line
        OSError: if the file cannot be read
    """
    kind = _kind(path)
    if kind == _SCRIPT:
        return _load_script(path)
    return _skeleton(_state_dict(path, _load_safetensors(path) if kind == _SAFETENSORS else _load_saved(path)))


def script(path: PathLike) -> torch.jit.ScriptModule:
    """Read a TorchScript archive, and refuse whatever else a model may be read from.

    Raises:
        RuntimeError: if the file holds something else or is damaged, in one line
        OSError: if the file cannot be read
    """
    kind = _kind(path)
    if kind != _SCRIPT:
        raise RuntimeError(f"this command needs a TorchScript file, got {printable(os.fspath(path))}, {kind}")
    return _load_script(path)


def refuse_existing(path: PathLike, force: bool) -> None:
    """Fail if a file would be overwritten without ``--force``."""
    if not force and os.path.isfile(path) and not is_device(path):
        raise RuntimeError(f"an existing file is overwritten only with --force, got {printable(os.fspath(path))}")


def refuse_input(path: PathLike, source: PathLike) -> None:
    """Fail if a picture would replace the model, by whatever name or link, also with ``--force``."""
    if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
        raise RuntimeError(f"--plot must name another file than the input, got {printable(os.fspath(path))}")


def save(path: PathLike, contents: bytes, force: bool) -> None:
    """Write a file whole or not at all, by way of a temporary file beside it.

    Args:
        path: where to write; a link is followed, and a file that is replaced keeps its mode
        contents: what to write
        force: whether an existing file is overwritten

    Raises:
        RuntimeError: if the file exists and ``force`` is not given
        OSError: if the file cannot be written; an existing file is still whole
    """
    refuse_existing(path, force)
    if is_device(path):
        Path(path).write_bytes(contents)
        return
    target = Path(os.path.realpath(path))
    staged = target.with_name(f".torchinit-{secrets.token_hex(8)}")
    try:
        with open(staged, "xb") as file:
            file.write(contents)
        if target.exists():
            os.chmod(staged, stat.S_IMODE(target.stat().st_mode))
        os.replace(staged, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    finally:
        with suppress(OSError):
            staged.unlink()
