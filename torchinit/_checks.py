"""What every initializer asks before it writes, and how its messages spell a value."""

import math

import torch
from torch import Tensor


def _check_inference(tensor: Tensor) -> None:
    """Refuse what ``detach()`` would let through: an inference tensor outside inference mode.

    Neither TorchScript nor a compiler can ask; there the write goes through.
    """
    if not torch.jit.is_scripting():
        if not torch.compiler.is_compiling() and tensor.is_inference() and not torch.is_inference_mode_enabled():
            raise RuntimeError(
                "Inplace update to inference tensor outside InferenceMode is not allowed"
                f", got an inference tensor of shape {list(tensor.shape)}"
            )


def _check_overlap(tensor: Tensor) -> None:
    """Refuse an expanded tensor before anything is drawn for it.

    A kernel that draws into the tensor itself refuses by itself; a copy into it would refuse only after the draw.
    """
    for size, stride in zip(tensor.shape, tensor.stride()):
        if size > 1 and stride == 0:
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory"
                f" location, got shape {list(tensor.shape)} with strides {list(tensor.stride())}"
            )


def _dtype_name(tensor: Tensor) -> str:
    # NB: in TorchScript a dtype is an integer and prints as one.
    for dtype, name in [
        (torch.bool, "torch.bool"),
        (torch.uint8, "torch.uint8"),
        (torch.int8, "torch.int8"),
        (torch.int16, "torch.int16"),
        (torch.int32, "torch.int32"),
        (torch.int64, "torch.int64"),
        (torch.uint16, "torch.uint16"),
        (torch.uint32, "torch.uint32"),
        (torch.uint64, "torch.uint64"),
        (torch.complex32, "torch.complex32"),
        (torch.complex64, "torch.complex64"),
        (torch.complex128, "torch.complex128"),
    ]:
        if tensor.dtype == dtype:
            return name
    return "a dtype that is neither integer nor complex"


def _check_floating(tensor: Tensor, function: str, complex_too: bool) -> None:
    """Refuse a dtype that has no such distribution, in words rather than in a kernel's name."""
    if tensor.is_floating_point():
        return
    if tensor.is_complex():
        if complex_too:
            return
        raise NotImplementedError(f"{function} needs a floating-point tensor, got {_dtype_name(tensor)}")
    rule = "a floating-point or complex tensor" if complex_too else "a floating-point tensor"
    raise NotImplementedError(f"{function} needs {rule}, got {_dtype_name(tensor)}")


def _number(x: float) -> str:
    """Spell a float the same in eager and in TorchScript, whose ``str`` says ``0.10000000000000001``."""
    if x == 0.0 or not math.isfinite(x) or 1e-4 <= abs(x) < 1e6:
        text = "%f" % x  # noqa: UP031
        return text.rstrip("0").rstrip(".") if "." in text else text
    return "%e" % x  # noqa: UP031
