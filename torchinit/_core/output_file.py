"""Write a file whole or not at all."""

import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PathLike = str | os.PathLike[str]


def is_device(path: PathLike) -> bool:
    """True for a pipe, a terminal, and standard output wherever it goes: a file must not replace them."""
    descriptor = re.fullmatch(r"/dev/(stdout|stderr|fd/\d+)", os.fspath(path)) is not None
    return descriptor or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path))


def check_folder(path: PathLike) -> None:
    """Fail with an OSError if a path is a folder, or has no folder to write to."""
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    try:
        os.stat(os.path.join(os.path.dirname(os.path.realpath(path)), ""))
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def check_target(path: PathLike, overwrite: bool) -> None:
    """Fail with a FileExistsError if a file would be overwritten unasked, or with an OSError as :func:`check_folder`."""
    if is_device(path):
        return
    if not overwrite and os.path.isfile(path):
        raise FileExistsError(f"an existing file is overwritten only with overwrite=True, got {os.fspath(path)!r}")
    check_folder(path)


@contextmanager
def staged(path: PathLike) -> Iterator[Path]:
    """Yield where to write a file; it becomes ``path`` at the end of the block, or vanishes if the block raises.

    Args:
        path: a link is followed, and a file that is replaced keeps its mode

    Raises:
        OSError: if the file cannot be written; an existing file is still whole
    """
    device = is_device(path)
    folder = Path(tempfile.gettempdir()) if device else Path(os.path.realpath(path)).parent
    stage = folder / f".torchinit-{secrets.token_hex(8)}"
    try:
        yield stage
        if device:
            with open(stage, "rb") as made, open(path, "wb") as file:
                shutil.copyfileobj(made, file)
            return
        target = Path(os.path.realpath(path))
        if target.exists():
            os.chmod(stage, stat.S_IMODE(target.stat().st_mode))
        os.replace(stage, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    finally:
        with suppress(OSError):
            stage.unlink()


def write_whole(path: PathLike, contents: bytes) -> None:
    """Write a file whole or not at all, by way of a temporary file beside it.

    Args:
        path: where to write, as :func:`staged` takes it
        contents: what to write

    Raises:
        OSError: if the file cannot be written; an existing file is still whole
    """
    if is_device(path):
        Path(path).write_bytes(contents)
        return
    with staged(path) as stage, open(stage, "xb") as file:
        file.write(contents)
