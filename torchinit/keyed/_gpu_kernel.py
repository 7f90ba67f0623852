"""The kernel of ``compiled()`` on a GPU, in Triton.

It computes the words in 32 bits, and writes each value once, in the dtype of the target. Inductor would compute them in
64 bits, write them to a scratch of its own, and fuse the product with the sum: LLVM narrows a product in float64 that is
rounded to float32, so that this does not help.
"""

import functools
from typing import Any

import torch
from torch import Tensor

# triton.language, the mathematical functions of the platform, and _standard_normal for Triton, which reads the globals of
# a kernel when it compiles it.
tl: Any = None
libdevice: Any = None
standard_normal: Any = None

# Blocks of four values for a program of the grid.
_BLOCKS = 512
# Dtypes that the kernel rounds to; others come by way of a float32 scratch.
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


# NB: without annotations, which Triton would look up.
def _standard_normal(first, second):  # type: ignore[no-untyped-def]
    """Turn two words into two normal values, by the operators of ``normal_values``."""
    uniform = first.to(tl.float32) * 2.0**-32 + 2.0**-33
    angle = (second.to(tl.float32) * 2.0**-32 + 2.0**-33) * 6.283185307179586
    radius = tl.sqrt_rn(libdevice.log(uniform) * -2.0)
    return libdevice.cos(angle) * radius, libdevice.sin(angle) * radius


def _write(  # type: ignore[no-untyped-def]
    out,
    key,
    numbers,
    seed: "tl.int64",
    start: "tl.int64",
    lead: "tl.int64",
    count: "tl.int64",
    scale: "tl.float32",
    shift: "tl.float32",
    normal: "tl.constexpr",
    has_key: "tl.constexpr",
    has_numbers: "tl.constexpr",
    aligned: "tl.constexpr",
    blocks: "tl.constexpr",
):
    """Write ``count`` values from ``lead`` on of the stream from a block on; or of whole blocks, if they are aligned."""
    if has_key:
        seed = tl.load(key)
        start += tl.load(key + 1)
    first = tl.program_id(0).to(tl.int64) * blocks
    block = first + tl.arange(0, blocks)
    number = start + block
    if has_numbers:
        number = start + tl.load(numbers + block, block < count, other=0)
    low = number.to(tl.uint32)
    word_0, word_1, word_2, word_3 = tl.philox(seed, low, (number >> 32).to(tl.uint32), low * 0, low * 0)
    if normal:
        value_0, value_1 = standard_normal(word_0, word_1)
        value_2, value_3 = standard_normal(word_2, word_3)
        values = tl.interleave(tl.interleave(value_0, value_2), tl.interleave(value_1, value_3))
    else:
        words = tl.interleave(tl.interleave(word_0, word_2), tl.interleave(word_1, word_3))
        values = (words & 0xFFFFFF).to(tl.float32) * 2.0**-24
    values = (values * scale + shift).to(out.dtype.element_ty)
    at = first * 4 + tl.arange(0, 4 * blocks)
    if aligned:
        # Four values at once.
        tl.store(out + at, values, at < count * 4)
    else:
        tl.store(out + at - lead, values, (at >= lead) & (at < lead + count))


@functools.cache
def _kernel() -> Any:
    global tl, libdevice, standard_normal
    import triton
    import triton.language
    from triton.language.extra import libdevice as functions

    tl, libdevice = triton.language, functions
    standard_normal = triton.jit(_standard_normal)
    # A number that is 1 or a multiple of 16 would compile anew.
    return triton.jit(_write, do_not_specialize=["seed", "start", "lead", "count"])


def write_(
    out: Tensor, bits: Tensor, normal: bool, first: int, affine: tuple[float, float], numbers: Tensor | None = None
) -> None:
    """Write values of a key's stream to a contiguous tensor on a GPU.

    Args:
        out: a tensor of one of ``DTYPES``
        bits: the words of the key, on the CPU or on the GPU; words on the GPU are read by the kernel alone
        normal: whether the values are normal, else uniform
        first: index of the first value in the stream
        affine: what is added to a standard value, and what it is multiplied by before
        numbers: the blocks to write, if they are not consecutive; then ``out`` holds four values for each
    """
    count, lead = out.numel(), first % 4
    on_gpu, aligned = bits.is_cuda, lead == 0 and count % 4 == 0
    if on_gpu:
        bits = bits.to(out.device).contiguous()
    seed, start = (0, 0) if on_gpu else bits.tolist()
    # A sum of 2^63 or more wraps.
    start = (start + first // 4 + 2**63) % 2**64 - 2**63
    grid = (-(-(lead + count) // (4 * _BLOCKS)),)
    # Triton launches on the current device.
    with torch.cuda.device(out.device):
        _kernel()[grid](
            out,
            bits if on_gpu else out,
            out if numbers is None else numbers,
            seed,
            start,
            lead,
            count // 4 if aligned else count,
            affine[1],
            affine[0],
            normal=normal,
            has_key=on_gpu,
            has_numbers=numbers is not None,
            aligned=aligned,
            blocks=_BLOCKS,
            # Eager rounds the product and the sum.
            enable_fp_fusion=False,
        )
    torch.autograd.graph.increment_version(out)
