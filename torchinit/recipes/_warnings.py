"""Warns of what a recipe would silently leave wrong."""

import torch
from torch import Tensor, nn

from torchinit._core.door import is_plain
from torchinit._core.groups import with_stars
from torchinit._core.messages import warn_user
from torchinit.recipes._match import Match

# Magnitudes that no table of a model has, but memory that nobody has written often has.
_PLAUSIBLE = (1e-30, 1e30)

# Values that are looked at once; a buffer may be large.
_PART = 1 << 20


def _is_uninitialized(buffer: Tensor) -> bool:
    """True if a buffer holds NaN or implausible numbers; masks hold infinities and the largest finite number."""
    if not (is_plain(buffer) and buffer.layout is torch.strided and buffer.is_floating_point()) or buffer.is_meta:
        return False
    largest = min(torch.finfo(buffer.dtype).max, torch.finfo(torch.float32).max)
    for part in torch.split(buffer.detach().reshape(-1), _PART):
        size = part.float().abs()
        plausible = (size == 0) | ((size >= _PLAUSIBLE[0]) & (size <= _PLAUSIBLE[1])) | (size >= largest)
        if not bool(plausible.all()):
            return True
    return False


def warn_of_uninitialized_buffers(found: Match) -> None:
    """Warn of buffers that nothing resets and that look like memory after ``to_empty``."""
    names = [
        matched.layer.qualified(name)
        for matched in found.layers
        for name, buffer in matched.buffers
        if matched.layer.qualified(name) not in found.rules and _is_uninitialized(buffer)
    ]
    if names:
        listed = ", ".join(dict.fromkeys(map(with_stars, names)))
        warn_user(
            f"nothing resets {len(names)} buffer{'s' * (len(names) != 1)} whose memory looks uninitialized, as it is"
            f' after to_empty(): {listed}; add a rule with role="buffer", or compute the values again'
        )


def warn_of_lost_marks(module: nn.Module, found: Match) -> None:
    """Warn of a model that transformers has loaded and whose marks of loaded parameters are lost."""
    source = getattr(module, "name_or_path", "")
    if not (isinstance(source, str) and source and getattr(module, "_is_hf_initialized", False)):
        return
    if "loaded" not in found.kept.values() and any(found.writer(name) is not None for name in found.tensors):
        warn_user(
            f"transformers has made this model from {source!r}, and no parameter is marked as loaded; copy.deepcopy"
            " loses the marks: initialize before copying, or name what to keep with keeping()"
        )
