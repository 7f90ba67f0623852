"""The outcome of a call: everything that a caller could notice, in comparable form."""

import ctypes
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# The global seed and the generator's differ, so that a draw from the wrong one shows.
SEED = 20250
GENERATOR_SEED = 7


@dataclass(frozen=True)
class Outcome:
    """The outcome of a call. A warning is its category, its text, and whether it points at the caller."""

    error: tuple[type[BaseException], str] | None
    memory: bytes | None
    returned_itself: bool
    global_state: bytes
    generator_state: bytes | None
    version_moved: bool
    autograd_kept: bool
    warned: tuple[tuple[str, str, bool], ...]

    def differences(self, other: "Outcome") -> list[str]:
        """Return the names of fields that differ; errors compare by type and opening words."""
        names = [name for name in self.__dataclass_fields__ if name != "error"]
        changed = [name for name in names if getattr(self, name) != getattr(other, name)]
        return changed + ([] if same_opening(self.error, other.error) else ["error"])


def same_opening(ours: tuple[type[BaseException], str] | None, theirs: tuple[type[BaseException], str] | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    words = theirs[1].split()[:6]
    return ours[0] is theirs[0] and [w.rstrip(".,") for w in ours[1].split()[: len(words)]] == [
        w.rstrip(".,") for w in words
    ]


def memory(tensor: Tensor) -> bytes | None:
    """Return all bytes of the storage, so that a write outside the view shows too."""
    if tensor.is_meta or type(tensor).__name__ == "FakeTensor":
        return None
    return _bytes(tensor.detach())


def _bytes(tensor: Tensor) -> bytes:
    # NB: not by way of numpy, which torch does not need.
    storage = tensor.untyped_storage().cpu()
    return ctypes.string_at(storage.data_ptr(), storage.nbytes())


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _autograd(tensor: Tensor) -> tuple[bool, bool, str]:
    return tensor.requires_grad, tensor.is_leaf, type(tensor.grad_fn).__name__


def _global_state(tensor: Tensor) -> bytes:
    states = [torch.get_rng_state()] + ([torch.cuda.get_rng_state(tensor.device)] if tensor.is_cuda else [])
    return b"".join(_bytes(state) for state in states)


def observe(
    function: Callable[..., Tensor], tensor: Tensor, arguments: dict[str, Any], with_generator: bool = False
) -> Outcome:
    """Call ``function`` with the global generator seeded, and with its own generator if asked."""
    # NB: without CUDA, torch.manual_seed queues a formatted stack at every call.
    torch.default_generator.manual_seed(SEED)
    if tensor.is_cuda:
        torch.cuda.manual_seed(SEED)
    device = tensor.device if tensor.is_cuda else "cpu"
    generator = torch.Generator(device).manual_seed(GENERATOR_SEED) if with_generator else None
    if generator is not None:
        arguments = {**arguments, "generator": generator}
    version, autograd = _version(tensor), _autograd(tensor)
    error, returned = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            returned = function(tensor, **arguments)
        except Exception as caught_error:
            error = (type(caught_error), str(caught_error))
    return Outcome(
        error=error,
        memory=memory(tensor),
        returned_itself=returned is tensor,
        global_state=_global_state(tensor),
        generator_state=None if generator is None else _bytes(generator.get_state()),
        version_moved=_version(tensor) > version,
        autograd_kept=_autograd(tensor) == autograd,
        warned=tuple(
            (w.category.__name__, str(w.message).replace("`nn.init.", "`torchinit."), w.filename == __file__)
            for w in caught
        ),
    )


def ulps(one: Tensor, other: Tensor) -> int:
    """Return the largest distance of two tensors' values in ulp; different signs are far apart."""
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
    return int((one.detach().view(kind).long() - other.detach().view(kind).long()).abs().max())
