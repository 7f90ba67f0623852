"""The suffixes of the files that commands write."""

from collections.abc import Sequence
from pathlib import Path

from torchinit._core.output_file import PathLike, is_device

# Suffixes of pictures and of TorchScript files; .ptl is for the mobile interpreter.
PICTURES = (".png", ".svg", ".pdf")
MODELS = (".pt", ".pth", ".ts", ".ptl")
# A recording, and the recipe that it amounts to.
RECORDINGS = (".init", ".toml")
PAGES = (".html", ".htm")


def has_suffix(path: PathLike, suffixes: Sequence[str]) -> bool:
    """True if a file to write has one of the suffixes, or is a device, which needs none."""
    return Path(path).suffix.lower() in suffixes or is_device(path)


def choices(suffixes: Sequence[str]) -> str:
    """List suffixes in a message."""
    return " or ".join(filter(None, [", ".join(suffixes[:-1]), suffixes[-1]]))
