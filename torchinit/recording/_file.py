"""Saves a recording as one text file, and loads it where the model's code is not.

The file is JSON: its format, the releases that wrote it, a checksum, and the program of :mod:`._encode`, one operator a
line. Nothing in it is code, and :mod:`._decode` checks all of it before anything runs.
"""

import json
import math
import os
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from torchinit._core.output_file import PathLike, check_target, is_device, write_whole
from torchinit._core.table import first_line, printable
from torchinit.recording._decode import decode
from torchinit.recording._encode import encode
from torchinit.recording._program import Program, RecordError
from torchinit.recording._recording import Recording

SUFFIX = ".init"
FORMAT = 1

_HEAD = ("format", "torchinit", "torch")
_BODY = (
    *("storages", "constants", "given", "outside", "allocated"),
    *("refs", "functions", "places", "entries", "calls", "operations"),
)


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _checksum(content: dict[str, Any]) -> int:
    """Return a checksum of the content, whatever the blanks and line ends of its text."""
    return zlib.crc32(_dumps([content[name] for name in (*_HEAD, *_BODY)]).encode())


def _text(content: dict[str, Any]) -> str:
    """Write an item a line, so that files can be compared line by line."""
    parts = []
    for name, value in content.items():
        if isinstance(value, list) and name not in ("storages", "given"):
            text = "[\n" + ",\n".join(map(_dumps, value)) + "\n]" if value else "[]"
        else:
            text = _dumps(value)
        parts.append(f'"{name}":{text}')
    return "{" + ",\n".join(parts) + "}\n"


def serialize(program: Program) -> bytes:
    """Return the content of a file, which :func:`deserialize` takes.

    Raises:
        RecordError: if the program has an operator or an argument that a file may not hold
    """
    import torchinit

    body = encode(program)
    # Save only what can be loaded: the reader's checks are stricter.
    decode(body)
    head = {"format": FORMAT, "torchinit": torchinit.__version__, "torch": str(torch.__version__)}
    return _text(head | {"crc32": _checksum(head | body)} | body).encode()


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object must have each name once")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number must be finite, got {text}")
    return value


def deserialize(contents: bytes) -> Program:
    """Read the content of a file.

    Raises:
        RecordError: if it is not whole, or holds anything that :func:`serialize` does not write; one line
    """
    try:
        content = json.loads(contents, object_pairs_hook=_object, parse_float=_finite, parse_constant=_finite)
    except UnicodeDecodeError:
        raise RecordError("it must be whole JSON text, got bytes that are no text") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"it must be whole JSON text, got an error: {error}") from None
    if type(content) is not dict or type(content.get("format")) is not int:
        raise RecordError("it must be a JSON object with a format, got none")
    if content["format"] != FORMAT:
        raise RecordError(f"its format must be {FORMAT}, got {content['format']}; a newer torchinit may read it")
    names = {*_HEAD, "crc32", *_BODY}
    if content.keys() != names:
        raise RecordError(f"it must hold {len(names)} parts, got {sorted(content.keys() ^ names)} missing or unknown")
    if content["crc32"] != _checksum(content):
        raise RecordError("it must have the checksum that it was saved with, got changed text")
    return decode(content)


def save(recording: Recording, path: PathLike, overwrite: bool) -> None:
    """Write a recording; see :meth:`torchinit.recording.Recording.save`."""
    if Path(path).suffix.lower() != SUFFIX and not is_device(path):
        raise ValueError(f"the name of a recording's file must end in {SUFFIX}, got {os.fspath(path)!r}")
    check_target(path, overwrite)
    write_whole(path, serialize(recording.program))


def load(path: PathLike) -> Recording:
    r"""Load a recording that :meth:`Recording.save` wrote; the model's code is not needed.

    The file may come from anyone. It holds no code, its operators are those of a list that only compute, and all of it
    is checked before anything runs: each tensor lies in its storage, and each operator takes its arguments and makes
    the tensors that the file says. What it asks for in memory is up to the sizes in it.

    Args:
        path: the file

    Returns:
        the recording; only its :meth:`Recording.build` is missing, which needs the model's code

    Raises:
        OSError: if the file cannot be read
        RecordError: if the file is damaged, of another format, or holds what ``save`` does not write; one line

    Examples:
        >>> import os, tempfile, torchinit
        >>> from torch import nn
        >>> path = os.path.join(tempfile.mkdtemp(), "linear.init")
        >>> torchinit.record(lambda: nn.Linear(3, 4)).save(path)
        >>> model = torchinit.recording.load(path).materialize_(nn.Linear(3, 4), seed=0)
        >>> same = torch.manual_seed(0) and nn.Linear(3, 4)
        >>> torch.equal(model.weight, same.weight)
        True
    """
    if os.path.exists(path) and not os.path.isdir(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise RecordError(f"a recording must be loaded from a regular file, got {printable(os.fspath(path))}")
    contents = Path(path).read_bytes()
    try:
        return Recording(deserialize(contents))
    except RecordError as error:
        raise RecordError(
            f"a recording must be loaded from a file that save() wrote, got {printable(os.fspath(path))}:"
            f" {first_line(str(error))}"
        ) from None
