"""Write the files of commands: whole or not at all, and over an existing file only if forced."""

import argparse
import os
from pathlib import Path
from typing import Any

from torchinit._core.output_file import PathLike, check_folder, is_device, write_whole
from torchinit._core.table import printable
from torchinit.cli._suffixes import PICTURES
from torchinit.diagnostics._plots import render, require_matplotlib


def is_same_file(path: PathLike, other: PathLike) -> bool:
    """True if both paths exist and lead to one file."""
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def check_output(path: PathLike, force: bool) -> None:
    """Fail if a file would be overwritten without ``--force``, or there is no folder to write to."""
    if is_device(path):
        return
    if not force and os.path.isfile(path):
        raise RuntimeError(f"an existing file is overwritten only with --force, got {printable(os.fspath(path))}")
    check_folder(path)


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
    check_output(path, force)
    write_whole(path, contents)


def check_plot(arguments: argparse.Namespace) -> None:
    """Fail now if the picture could not be written at the end."""
    if is_same_file(arguments.plot, arguments.file):
        raise RuntimeError(f"--plot must name another file than the input, got {printable(arguments.plot)}")
    check_output(arguments.plot, arguments.force)
    require_matplotlib("--plot")


def save_plot(arguments: argparse.Namespace, figure: Any) -> None:
    """Write a picture in the format of its suffix; PNG to a device, which has none."""
    suffix = Path(arguments.plot).suffix.lower()
    save(arguments.plot, render(figure, suffix[1:] if suffix in PICTURES else "png"), arguments.force)
