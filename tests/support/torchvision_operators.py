"""Makes a torchvision that was built for CUDA importable beside a torch that was not."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import torch

# Keeps the definitions alive.
_libraries: list[Any] = []


def _is_built_for_cuda() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    version = Path(spec.origin).with_name("version.py").read_text()
    return re.search(r"__version__ = '[^']*\+cu\d+", version) is not None


def declare_torchvision_operators() -> None:
    """Declare the operators for which torchvision registers Python functions when it is imported.

    Its own definitions are in a library that needs CUDA's. Must run before anything imports torchvision, and so before
    timm and transformers; does nothing where torchvision is missing or loads its library.
    """
    if torch.version.cuda is None and _is_built_for_cuda() and not _libraries:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
