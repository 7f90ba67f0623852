"""What initializers ask before they write, and how they warn and spell a value."""

import math
import warnings

import torch
from torch import Tensor
from torch._C import _is_tracing
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.jit import is_scripting
from torch.nn import Parameter


def _is_exporting() -> bool:
    """Whether torch.export looks on, whose own mode would see upstream's function, not exportable as ours is."""
    # torch 2.6 does not tell export from compile.
    return torch.compiler.is_exporting() if hasattr(torch.compiler, "is_exporting") else is_compiling()


def _is_usual(tensor: Tensor) -> bool:
    """Whether eager code writes to a plain tensor, and no compiler or tracer looks on.

    What is not usual is asked about at length; this is asked at every call.
    """
    kind = type(tensor)
    # Only a parameter can have been partitioned, which leaves an empty one.
    if (
        not is_dynamo_compiling()
        and not _is_tracing()
        and (kind is Tensor or (kind is Parameter and tensor.numel() > 0))
    ):
        try:
            # NB: an inference tensor has no version; asking so costs half of is_inference().
            tensor._version  # noqa: B018
            return True
        except RuntimeError:
            pass
    return False


def _check_inference(tensor: Tensor) -> None:
    """Refuse what ``detach()`` would let through: an inference tensor outside inference mode."""
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed"
            f", got an inference tensor of shape {list(tensor.shape)}"
        )


def _check_partitioned(tensor: Tensor) -> None:
    """Refuse an empty parameter whose values a partitioner took away, in words rather than as one without elements."""
    if not is_scripting():
        if not is_compiling():
            by, shape = "", "its own"
            if hasattr(tensor, "ds_shape"):
                if 0 not in tensor.ds_shape:
                    by, shape = "ZeRO stage 3 (DeepSpeed)", str(list(tensor.ds_shape))
            elif getattr(tensor, "_fsdp_flattened", False) and tensor.dim() == 1:
                by = "FullyShardedDataParallel"
            if by and tensor.numel() == 0:
                raise RuntimeError(
                    f"a parameter that {by} has partitioned must be gathered before it is initialized, got an empty one"
                    f" in place of shape {shape}"
                )


def _check_kernel(tensor: Tensor, full_size: list[int] | None = None) -> None:
    # Asked first, for what a lazy parameter says.
    if tensor.dim() not in [3, 4, 5]:
        _check_partitioned(tensor)
        shape = list(tensor.shape) if full_size is None else full_size
        raise ValueError(f"Only tensors with 3, 4, or 5 dimensions are supported, got shape {shape}")


def _check_overlap(tensor: Tensor) -> None:
    """Refuse an expanded tensor before anything is drawn for it.

    A kernel that draws into the tensor itself refuses by itself; a copy into it would refuse only after the draw, and a
    fill would not refuse at all.
    """
    if 0 not in tensor.stride():
        return
    for size, stride in zip(tensor.shape, tensor.stride()):
        if size > 1 and stride == 0 and tensor.numel() > 0:
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory"
                f" location, got shape {list(tensor.shape)} with strides {list(tensor.stride())}"
            )


def _dtype_name(tensor: Tensor) -> str:
    """Name a dtype that is not floating-point; in TorchScript a dtype is an integer and would print as one."""
    names = {
        torch.bool: "torch.bool",
        torch.uint8: "torch.uint8",
        torch.int8: "torch.int8",
        torch.int16: "torch.int16",
        torch.int32: "torch.int32",
        torch.int64: "torch.int64",
        torch.uint16: "torch.uint16",
        torch.uint32: "torch.uint32",
        torch.uint64: "torch.uint64",
        torch.complex32: "torch.complex32",
        torch.complex64: "torch.complex64",
        torch.complex128: "torch.complex128",
    }
    return names.get(tensor.dtype, "an integer dtype")


def _check_inexact(tensor: Tensor, function: str) -> None:
    """Refuse integers, in words rather than in the name of the kernel that would."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise NotImplementedError(f"{function} needs a floating-point or complex tensor, got {_dtype_name(tensor)}")


def _number(x: float) -> str:
    """Spell a float the same in eager and in TorchScript, whose ``str`` says ``0.10000000000000001``."""
    if not abs(x) >= 0.0:
        # NB: TorchScript prints the sign of a NaN; its x != x folds to false, and its isnan fails on torch 2.6.
        return "nan"
    if 0.0 < abs(x) < 1e-37:
        # NB: of which TorchScript's %e makes 0.
        exponent = 0
        while abs(x) < 1.0:
            x = x * 10.0
            exponent += 1
        return "%fe-%d" % (x, exponent)  # noqa: UP031
    if 0.0 < abs(x) < 1e-4:
        return "%e" % x  # noqa: UP031
    text = ("%f" % x).rstrip("0").rstrip(".")  # noqa: UP031
    # What six decimals cannot tell from its neighbour is spelled out, each language in its way.
    return text if abs(x) < 1e16 and float(text) == x else f"{x}"


def _warn(message: str, depth: int = 3) -> None:
    """Warn at the line that called the public function; a compiler cannot capture a warning whole and gets none."""
    if is_scripting():
        warnings.warn(message, stacklevel=2)
    elif not is_compiling():
        warnings.warn(message, stacklevel=depth)


def _warn_deprecated(old: str, new: str) -> None:
    message = f"`torchinit.{old}` is now deprecated in favor of `torchinit.{new}`."
    if is_scripting():
        # NB: TorchScript's warnings.warn takes no category.
        warnings.warn(message, stacklevel=2)
    elif not is_compiling():
        warnings.warn(message, FutureWarning, stacklevel=3)


def _check_uniform(tensor: Tensor, a: float, b: float) -> None:
    if not tensor.is_floating_point():
        _check_inexact(tensor, "uniform_")
    if not b - a < math.inf:
        raise RuntimeError(f"uniform_ expects finite bounds, but found from={_number(a)} and to={_number(b)}")


def _check_trunc_normal(tensor: Tensor, mean: float, std: float, a: float, b: float) -> None:
    if not tensor.is_floating_point():
        raise NotImplementedError(f"trunc_normal_ needs a floating-point tensor, got {_dtype_name(tensor)}")
    # Near the greatest finite value; float16 can hold less, but is computed in float32.
    limit = 1e307 if tensor.dtype == torch.float64 else 1e38
    if not abs(mean) <= limit:
        raise RuntimeError(f"trunc_normal_ expects a finite mean, but found mean {_number(mean)}")
    if not 0.0 <= std <= limit:
        raise RuntimeError(f"trunc_normal_ expects a finite std >= 0.0, but found std {_number(std)}")
    if not (a <= b and a <= limit and b >= -limit):
        raise RuntimeError(
            f"trunc_normal_ expects a <= b around a finite value, but found a={_number(a)} and b={_number(b)}"
        )
