"""Writes the CMake package: both archives, the header, and an example."""

import io
import os
import tempfile
from pathlib import Path

import torch

from torchinit._core import compat
from torchinit._core.torchscript import silenced
from torchinit.deploy._bundle import bundle, mobile_bundle

_PACKAGE = Path(__file__).parent / "package"

# Copied unchanged.
_COPIED = (
    "include/torchinit/init.h",
    "torchinitConfig.cmake",
    "torchinitConfigVersion.cmake",
    "example/CMakeLists.txt",
    "example/main.cpp",
)
FILES = ("torchinit.pt", "torchinit.ptl", *_COPIED)


def _script_bytes() -> bytes:
    """Make the contents of ``torchinit.pt``."""
    contents: bytes = bundle().save_to_buffer()
    return contents


def _mobile_bytes() -> bytes:
    """Make the contents of ``torchinit.ptl``."""
    with silenced():
        return compat.save_mobile(mobile_bundle())


def _check(script: bytes, mobile: bytes) -> None:
    """Load both archives and fill a tensor with each from the same seed; raise if the values differ."""
    with silenced():
        one = torch.jit.load(io.BytesIO(script))  # type: ignore[no-untyped-call]
        other = compat.load_mobile(mobile)
    first = one.normal_(torch.zeros(17), 0.0, 1.0, torch.Generator().manual_seed(0))
    second = other.run_method("normal_", torch.zeros(17), 0.0, 1.0, 0)
    if not torch.equal(first, second):
        raise RuntimeError(f"torchinit.pt and torchinit.ptl must draw the same, got {first[0]} and {second[0]}")


def write_package(directory: str | os.PathLike[str], force: bool = False) -> list[Path]:
    """Write the files that a C++ or mobile program needs, for the installed torch.

    ``torchinit.pt`` and ``torchinit.ptl`` hold the functions for C++ and for the mobile interpreter,
    ``include/torchinit/init.h`` their typed methods, and the ``.cmake`` files serve ``find_package(torchinit)``;
    ``example/`` is a program of 25 lines that uses them. Both archives are written and loaded before any file takes its
    place, and each file is replaced atomically.

    Args:
        directory: where to write; created if missing
        force: whether to overwrite existing files

    Returns:
        the paths of the files

    Raises:
        FileExistsError: if a file exists and ``force`` is not set, or a folder is in the place of a file; nothing is
            written then
        OSError: if the directory cannot be created or written

    Examples:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> [path.name for path in torchinit.deploy.write_package(folder.name)][:3]
        ['torchinit.pt', 'torchinit.ptl', 'init.h']
    """
    if not os.fspath(directory):
        raise FileNotFoundError("a bundle needs the name of a directory, got ''")
    root = Path(directory)
    existing = [name for name in FILES if os.path.lexists(root / name)]
    if existing and not force:
        raise FileExistsError(f"{root} must not hold a bundle already unless it is forced, got {', '.join(existing)}")
    folders = [name for name in existing if (root / name).is_dir()]
    if folders:
        raise FileExistsError(f"{root} must not hold a folder where a file goes, got {', '.join(folders)}")
    contents = {name: (_PACKAGE / name).read_bytes() for name in _COPIED}
    contents["torchinit.pt"], contents["torchinit.ptl"] = _script_bytes(), _mobile_bytes()
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    # Inside the directory, so that os.replace only renames a file.
    with tempfile.TemporaryDirectory(dir=root, prefix=".torchinit-") as staging:
        staged = {name: Path(staging) / str(index) for index, name in enumerate(FILES)}
        for name, path in staged.items():
            path.write_bytes(contents[name])
        _check(staged["torchinit.pt"].read_bytes(), staged["torchinit.ptl"].read_bytes())
        for name, path in staged.items():
            os.replace(path, root / name)
    return [root / name for name in FILES]
