"""Compiled kernels: with them, a large keyed draw is faster than one from a generator.

On a CPU there is one for uniform and one for normal values, both of float32, and one for few normal values that starts
no threads. ``torch.compile`` makes each once, for any number of blocks: they are a dynamic dimension, and the key and the
first block are tensors. A call always has a multiple of the vector width. So every value comes from the vectorized loop,
and a piece has the bits of its whole. On a GPU a kernel in Triton draws.
"""

import functools
import math
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_dynamo_compiling

from torchinit._core.compat import mark_dynamic, plain_state
from torchinit._core.messages import warn_user
from torchinit.keyed import _gpu_kernel
from torchinit.keyed._fast_paths import runs_eagerly

# Blocks come in multiples of this many: no vector holds more values.
_STEP = 64
# Fewer values than this are not worth a second thread, as for ATen. On a CPU eager draws them if they are uniform.
_FEW = 32768
# Values that a GPU computes at once from others.
_RUN = 1 << 24


class _State(threading.local):
    active = False


_STATE = _State()
# Whether compilation has failed in this process; then everything is drawn in eager.
_FAILED: list[str] = []


@contextmanager
def compiled() -> Iterator[None]:
    """Draw by compiled kernels inside this context, in this thread.

    On a CPU there are three kernels: for uniform values, for normal ones, and for few normal ones. The first draw of each
    compiles for a few seconds; all later ones, of any size, dtype and shard, use it. They pay off for large tensors and
    whole models. Few uniform values are drawn by eager, which is as fast. On a GPU, Triton compiles a kernel for
    each dtype. Other devices draw in eager.

    Uniform values, and all that is computed from them, such as truncated normal values, have the bits of eager. Normal
    values differ by at most 4 ulp before they are scaled, and are the same for a whole and its pieces. Draws in float64,
    under ``vmap``, ``torch.compile`` or a trace, and for meta tensors are those without the context.

    Warns:
        UserWarning: once per process if nothing can be compiled, for example without a C++ compiler, or without Triton for
            a GPU; then eager draws

    Examples:
        >>> key = keyed.key(0)
        >>> with keyed.compiled():
        ...     weight = keyed.uniform_(torch.empty(256, 256), key)
        >>> torch.equal(weight, keyed.uniform_(torch.empty(256, 256), key))
        True
    """
    if is_dynamo_compiling():
        yield
        return
    before, _STATE.active = _STATE.active, True
    try:
        yield
    finally:
        _STATE.active = before


def is_active(target: Tensor, bits: Tensor, normal: bool, count: int) -> bool:
    """True if the compiled kernels draw this many values for this plain tensor."""
    return (
        not is_compiling()
        and _STATE.active
        and not _FAILED
        and (target.is_cuda or (target.is_cpu and (normal or count >= _FEW)))
        and target.dtype != torch.float64
        and runs_eagerly(target)
        and runs_eagerly(bits)
    )


def _standard_words(seed: Tensor, number: Tensor) -> list[Tensor]:
    """Compute Philox4x32-10 without signed overflow, which is undefined in the C++ that inductor writes.

    With word = 2^31 + w, word * factor = w * factor + 2^31 + (factor >> 1) * 2^32, since factor is odd.
    """
    mask, half, factor_0, factor_1 = 0xFFFFFFFF, 0x80000000, 0xD2511F53, 0xCD9E8D57
    word_0, word_1 = number & mask, (number >> 32) & mask
    word_2, word_3 = torch.zeros_like(number), torch.zeros_like(number)
    for i in range(10):
        key_0, key_1 = (seed + 0x9E3779B9 * i) & mask, ((seed >> 32) + 0xBB67AE85 * i) & mask
        p, q = (word_0 - half) * factor_0 + half, (word_2 - half) * factor_1 + half
        high_p, high_q = (p >> 32) + (factor_0 >> 1), (q >> 32) + (factor_1 >> 1)
        word_0, word_1, word_2, word_3 = (
            (high_q ^ word_1 ^ key_0) & mask,
            q & mask,
            (high_p ^ word_3 ^ key_1) & mask,
            p & mask,
        )
    return [word_0, word_1, word_2, word_3]


def _write(out: Tensor, values: list[Tensor], scale: Tensor, shift: Tensor) -> None:
    """Scale and shift the values of each block with eager's two roundings, and write them as pairs of 64 bits.

    The vectorized loop writes one element at a time, so pairs halve the writes.
    """
    bits = [(value * scale + shift).view(torch.int32).to(torch.int64) for value in values]
    if sys.byteorder == "big":
        bits = [bits[1], bits[0], bits[3], bits[2]]
    pairs = [(bits[i] & 0xFFFFFFFF) | (bits[i + 1] << 32) for i in (0, 2)]
    out.copy_(torch.stack(pairs, -1))


def _write_uniform(out: Tensor, numbers: Tensor, seed: Tensor, start: Tensor, scale: Tensor, shift: Tensor) -> None:
    words = _standard_words(seed, numbers + start)
    _write(out, [(word & 0xFFFFFF).to(torch.float32) * 2.0**-24 for word in words], scale, shift)


def _write_normal(out: Tensor, numbers: Tensor, seed: Tensor, start: Tensor, scale: Tensor, shift: Tensor) -> None:
    words = _standard_words(seed, numbers + start)
    uniform = [word.to(torch.float32) * 2.0**-32 + 2.0**-33 for word in words]
    values = []
    for first, second in (uniform[:2], uniform[2:]):
        radius, angle = torch.sqrt(torch.log(first) * -2.0), second * (2.0 * math.pi)
        values += [torch.cos(angle) * radius, torch.sin(angle) * radius]
    _write(out, values, scale, shift)


@functools.cache
def _numbers(inference: bool) -> Tensor:
    """Return 0, 1, 2, ... for the blocks of the largest run that is drawn at once; one tensor for inference mode."""
    # The scratch of so many blocks nearly stays in the cache, and runs are few, because each waits for all threads.
    return torch.arange(1 << 19, device="cpu")


@functools.cache
def _kernel(normal: bool, threads: int) -> Callable[..., None]:
    """Compile a kernel for any number of blocks and this number of a CPU's threads."""
    write = _write_normal if normal else _write_uniform
    # Its own code object: Dynamo keeps at most 8 compilations of one.
    own = FunctionType(write.__code__.replace(co_name=f"{write.__name__}_{threads}"), write.__globals__)
    kernel: Callable[..., None] = torch.compile(own, fullgraph=True, options={"cpp.threads": threads})
    numbers = torch.arange(1 << 18, device="cpu")
    out = torch.empty([numbers.numel(), 2], dtype=torch.int64, device="cpu")
    for dynamic in (out, numbers):
        mark_dynamic(dynamic, 0)
    # NB: four tensors; Dynamo would take two arguments that are one for always equal.
    kernel(out, numbers, numbers[0].clone(), numbers[0].clone(), _scalar(1.0), _scalar(0.0))
    return kernel


def _run_on_cpu(normal: bool, out: Tensor, *args: Tensor) -> None:
    """Run a kernel on float32 values at an even offset."""
    pairs = out.view(torch.int64).view(-1, 2)
    threads = 1 if normal and out.numel() < _FEW else torch.get_num_threads()
    with plain_state("cpu"):
        _kernel(normal, threads)(pairs, *args)


def _runs(kernel: Callable[..., None], *args: object) -> bool:
    """Run a kernel; return whether it could be compiled."""
    try:
        kernel(*args)
    except Exception as error:
        _FAILED.append(str(error))
        first = str(error).strip().partition("\n")[0]
        warn_user(
            "keyed.compiled() needs a compiler that torch.compile can use, so draws are made in eager, got"
            f" {type(error).__name__}: {first}"
        )
        return False
    return True


def _scalar(value: float) -> Tensor:
    return torch.full([], value, dtype=torch.float32, device="cpu")


def draw(bits: Tensor, normal: bool, blocks: Tensor) -> Tensor | None:
    """Compute the standard values of the given blocks, in a last dimension; None if nothing can be compiled."""
    device, count = blocks.device, blocks.numel()
    if blocks.is_cuda:
        out = torch.empty([*blocks.shape[:-1], blocks.size(-1) * 4], dtype=torch.float32, device=device)
        return out if _runs(_gpu_kernel.write_, out, bits, normal, 0, (0.0, 1.0), blocks.contiguous()) else None
    numbers = torch.zeros([-(-count // _STEP) * _STEP], dtype=torch.int64, device=device)
    numbers[:count] = blocks.flatten()
    out = torch.empty([4 * numbers.numel()], dtype=torch.float32, device=device)
    if not _runs(_run_on_cpu, normal, out, numbers, bits[0].clone(), bits[1].clone(), _scalar(1.0), _scalar(0.0)):
        return None
    return out[: 4 * count].view([*blocks.shape, 4]).flatten(blocks.dim() - 1)


def fill_run_(
    target: Tensor,
    bits: Tensor,
    normal: bool,
    first: int,
    affine: tuple[float, float],
    finish: Callable[[Tensor], None] | None,
) -> bool:
    """Fill a contiguous tensor by values of the stream from ``first`` on; return whether the kernels could be compiled.

    Args:
        target: the tensor
        bits: the words of the key
        normal: whether the values are normal, else uniform
        first: index of the first value in the stream
        affine: mean and std of normal values, or bounds of uniform ones
        finish: turns these values into those of the distribution, in place; None if they are
    """
    flat = target.view(-1)
    if target.is_cuda:
        return _fill_gpu_run_(flat, bits, normal, first, affine, finish)
    bits, numbers = bits.to(target.device), _numbers(torch.is_inference_mode_enabled())
    shift, seed = _scalar(affine[0]), bits[0].clone()
    scale = _scalar(affine[1]) if normal else _scalar(affine[1]) - shift
    done, steps = 0, 4 * _STEP
    while done < flat.numel():
        lead = (first + done) % 4
        size = min(flat.numel() - done, 4 * numbers.numel() - lead)
        # Whole steps are written at once, all else by way of a scratch.
        direct = lead == 0 and size >= steps and flat.dtype == torch.float32 and not flat.is_neg()
        # A pair of values must be an element of 64 bits.
        direct = direct and (flat.storage_offset() + done) % 2 == 0
        part = flat[done : done + (size // steps * steps if direct else size)]
        out = part if direct else flat.new_empty([-(-(lead + size) // steps) * steps], dtype=torch.float32)
        start = bits[1] + (first + done) // 4
        if not _runs(_run_on_cpu, normal, out, numbers[: out.numel() // 4], seed, start, scale, shift):
            return False
        values = out[lead : lead + part.numel()]
        if finish is not None:
            finish(values)
        if not direct:
            part.copy_(values)
        done += part.numel()
    return True


def _round(value: float) -> float:
    """Round to float32."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _fill_gpu_run_(
    flat: Tensor,
    bits: Tensor,
    normal: bool,
    first: int,
    affine: tuple[float, float],
    finish: Callable[[Tensor], None] | None,
) -> bool:
    """Fill a vector on a GPU: at once if the kernel writes its dtype, else by way of a scratch."""
    shift = _round(affine[0])
    numbers = shift, _round(affine[1]) if normal else _round(_round(affine[1]) - shift)
    direct = flat.dtype in _gpu_kernel.DTYPES[: 3 if finish is None else 1] and not flat.is_neg()
    size = flat.numel() if direct and finish is None else _RUN
    for begin in range(0, flat.numel(), size):
        part = flat[begin : begin + size]
        values = part if direct else torch.empty_like(part, dtype=torch.float32)
        if not _runs(_gpu_kernel.write_, values, bits, normal, first + begin, numbers):
            return False
        if finish is not None:
            finish(values)
        if not direct:
            part.copy_(values)
    return True
