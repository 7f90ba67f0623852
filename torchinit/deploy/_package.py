"""Writes the CMake package: both archives, the header, and an example."""

import os
import shutil
import tempfile
from pathlib import Path

from torchinit.deploy._archive import check, save

_HERE = Path(__file__).parent

# What is copied as it is, and from where.
_COPIED = {
    "include/torchinit/init.h": _HERE.parent / "include" / "torchinit" / "init.h",
    "torchinitConfig.cmake": _HERE / "package" / "torchinitConfig.cmake",
    "example/CMakeLists.txt": _HERE / "package" / "example" / "CMakeLists.txt",
    "example/main.cpp": _HERE / "package" / "example" / "main.cpp",
}
FILES = ("torchinit.pt", "torchinit.ptl", *_COPIED)


def write_package(directory: str | os.PathLike[str], force: bool = False) -> list[Path]:
    """Write what a C++ or mobile program needs of torchinit, for the torch that is installed.

    ``torchinit.pt`` and ``torchinit.ptl`` hold the functions for C++ and for the mobile interpreter,
    ``include/torchinit/init.h`` their typed methods, ``torchinitConfig.cmake`` what ``find_package(torchinit)`` reads;
    ``example/`` is a program of 25 lines that uses them. Both archives are loaded again before any file is put in its
    place, and each file is put there whole.

    Args:
        directory: where to write; made if it is not there
        force: whether to overwrite files that are there already

    Returns:
        the paths that were written

    Raises:
        FileExistsError: if a file is there already and ``force`` is not given; nothing is written then

    Examples:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> [path.name for path in torchinit.deploy.write_package(folder.name)][:3]
        ['torchinit.pt', 'torchinit.ptl', 'init.h']
    """
    root = Path(directory)
    existing = [name for name in FILES if (root / name).exists()]
    if existing and not force:
        raise FileExistsError(f"{root} must not hold a bundle already unless it is forced, got {', '.join(existing)}")
    root.mkdir(parents=True, exist_ok=True)
    # Inside the directory, so that a file is only renamed.
    with tempfile.TemporaryDirectory(dir=root, prefix=".torchinit-") as name:
        staging = Path(name)
        for copy, source in _COPIED.items():
            (staging / copy).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, staging / copy)
        save(staging)
        check(staging)
        for file in FILES:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / file, root / file)
    return [root / file for file in FILES]
