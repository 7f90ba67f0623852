"""Warns of a write to the weight that a parametrization has computed, which is lost."""

import gc
import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from torchinit._core.messages import called_function, warn_user

# Names under which parametrizations keep what they compute a weight from.
_ORIGINAL = re.compile(r"original\d*|.+_(orig|g|v)")

_COPIES = ("CloneBackward0", "ToCopyBackward0")

# A parametrization computes a weight in fewer steps.
_MAX_NODES = 64


def warn_of_lost_write(tensor: Tensor) -> None:
    """Warn if a tensor, or what it is a view of, was computed from the originals of a parametrization alone."""
    base = tensor if tensor._base is None else tensor._base
    if base.grad_fn is None:
        return
    # A scan of all objects takes milliseconds, and a copy or a cast is no parametrization.
    if type(base.grad_fn).__name__ in _COPIES:
        return
    sources = list(_sources(base.grad_fn))
    if sources and any(source.shape == base.shape for source in sources) and all(map(_is_original, sources)):
        warn_user(
            f"{called_function()} writes to a weight that a parametrization has computed, and the layer computes it anew:"
            " the write is lost; use a recipe, or assign to the layer's weight"
        )


def _sources(node: Any) -> Iterator[Tensor]:
    """Yield the parameters that a node of autograd's graph depends on."""
    nodes: list[Any] = [node]
    seen: set[Any] = set()
    while nodes and len(seen) < _MAX_NODES:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        nodes += [following for following, _ in node.next_functions if following is not None]


def _is_original(parameter: Tensor) -> bool:
    """True if a module registers the parameter under a name of an original."""
    return any(
        own is parameter and isinstance(name, str) and _ORIGINAL.fullmatch(name)
        for holder in gc.get_referrers(parameter)
        if type(holder) is dict
        for name, own in holder.items()
    )
