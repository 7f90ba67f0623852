"""Types of arguments that several commands take: seeds, globs, and the files that they write."""

import argparse
import os
import re
from pathlib import Path

# Suffixes by which a picture's format is chosen, and those that a TorchScript file may have.
PICTURES = (".png", ".svg", ".pdf")
MODELS = (".pt", ".pth", ".ts", ".ptl")


def seed(words: str) -> int:
    """Read a seed that a generator takes."""
    try:
        number = int(words)
    except ValueError:
        number = 1 << 64
    if not -(1 << 63) <= number < 1 << 64:
        raise argparse.ArgumentTypeError(f"a seed must be an integer from -2**63 to 2**64 - 1, got {words}")
    return number


def glob(words: str) -> str:
    """Read a glob, which an empty string is not."""
    if not words:
        raise argparse.ArgumentTypeError("a glob must not be empty, got ''")
    return words


def is_device(path: str | os.PathLike[str]) -> bool:
    """True for what cannot be replaced by a file: a pipe, a terminal, and standard output wherever it goes."""
    descriptor = re.fullmatch(r"/dev/(stdout|stderr|fd/\d+)", os.fspath(path)) is not None
    return descriptor or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path))


def _suffixed(words: str, what: str, suffixes: tuple[str, ...]) -> str:
    if Path(words).suffix.lower() not in suffixes and not is_device(words):
        choices = f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"
        raise argparse.ArgumentTypeError(f"the name of {what} must end in {choices}, got {words!r}")
    return words


def picture(words: str) -> str:
    """Read the name of a picture to write."""
    return _suffixed(words, "a picture", PICTURES)


def model(words: str) -> str:
    """Read the name of a TorchScript file to write."""
    return _suffixed(words, "a TorchScript file", MODELS)


def picture_format(path: str) -> str:
    """Tell the format of a picture by its suffix; PNG for a device, which has none."""
    suffix = Path(path).suffix.lower()
    return suffix[1:] if suffix in PICTURES else "png"
