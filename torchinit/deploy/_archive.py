"""Scripts the bundles, and reads back what was saved of them."""

import io

import torch
from torch.jit.mobile import _load_for_lite_interpreter

from torchinit._core.torchscript import silenced
from torchinit.deploy._bundle import Bundle, MobileBundle, scripted


def bundle() -> torch.jit.ScriptModule:
    """Script a module with every initializer, :func:`calculate_gain` and the fan functions as exported methods.

    A method has its function's name, arguments and defaults, but for ``param`` of ``calculate_gain``, which is
    ``Optional[float]``. ``save`` writes what ``torch::jit::load`` reads in C++; ``torchinit/init.h`` wraps that.

    Returns:
        the scripted module, without parameters

    Examples:
        >>> module = torchinit.deploy.bundle()
        >>> w = module.kaiming_uniform_(torch.empty(3, 5), nonlinearity="relu")
        >>> bool((w.abs() <= (6 / 5) ** 0.5).all())
        True
    """
    return scripted(Bundle())


def mobile_bundle() -> torch.jit.ScriptModule:
    """Script the same module for the mobile interpreter, which takes no generator.

    In its place the methods take ``seed: Optional[int]``: what a generator of the tensor's device draws that was made
    with that seed, for this call alone. Without one the global generator draws.
    ``_save_for_lite_interpreter`` writes what ``torch::jit::_load_for_mobile`` reads.

    Returns:
        the scripted module, without parameters

    Examples:
        >>> module = torchinit.deploy.mobile_bundle()
        >>> w = module.normal_(torch.empty(4), seed=5)
        >>> torch.equal(w, torchinit.normal_(torch.empty(4), generator=torch.Generator().manual_seed(5)))
        True
    """
    return scripted(MobileBundle())


def script_bytes() -> bytes:
    """Make the contents of ``torchinit.pt``."""
    contents: bytes = bundle().save_to_buffer()
    return contents


def mobile_bytes() -> bytes:
    """Make the contents of ``torchinit.ptl``."""
    with silenced():
        contents: bytes = mobile_bundle()._save_to_buffer_for_lite_interpreter()
    return contents


def check(script: bytes, mobile: bytes) -> None:
    """Load both archives and fill a tensor by each, from one seed; they must agree."""
    with silenced():
        one = torch.jit.load(io.BytesIO(script))  # type: ignore[no-untyped-call]
        other = _load_for_lite_interpreter(io.BytesIO(mobile))  # type: ignore[no-untyped-call]
    first = one.normal_(torch.zeros(17), 0.0, 1.0, torch.Generator().manual_seed(0))
    second = other.run_method("normal_", torch.zeros(17), 0.0, 1.0, 0)
    if not torch.equal(first, second):
        raise RuntimeError(f"torchinit.pt and torchinit.ptl must draw the same, got {first[0]} and {second[0]}")
