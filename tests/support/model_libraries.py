"""Makes timm, torchvision and peft importable, which `make` puts in a folder of their own.

Beside a torch without CUDA, a torchvision that was built for CUDA breaks the import of transformers. So the folder is
no part of the environment's own packages; only tests that ask for it here see it.
"""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import torch

# `make` installs into it.
_FOLDER = Path(sys.prefix) / "models"

# Keeps the definitions alive.
_libraries: list[Any] = []


def _is_built_for_cuda() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    version = Path(spec.origin).with_name("version.py").read_text()
    return re.search(r"__version__ = '[^']*\+cu\d+", version) is not None


def add_model_libraries() -> None:
    """Add the folder to the path, and declare the operators for which torchvision registers Python functions.

    The operators' own definitions are in a library that needs CUDA's. Must run before anything imports torchvision,
    and so before timm and transformers; declares nothing where torchvision is missing or loads its library.
    """
    if _FOLDER.is_dir() and str(_FOLDER) not in sys.path:
        sys.path.append(str(_FOLDER))
    if torch.version.cuda is None and _is_built_for_cuda() and not _libraries:
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _libraries.append(library)
