"""Fast paths of eager code: few blocks in Python integers, and torch's own kernel."""

import functools
import struct
import sys
from array import array

import torch
from torch import Tensor
from torch.compiler import is_compiling

from torchinit._core.compat import dispatch_modes, has_philox_kernel, philox_uniform_
from torchinit._core.door import is_plain


def runs_eagerly(tensor: Tensor) -> bool:
    """True for a plain tensor whose operators no exporter or dispatch mode sees."""
    return is_plain(tensor) and not is_compiling() and dispatch_modes() == 0


# More blocks are faster in tensor operators.
_MAX_BLOCKS = 256
# More are faster as tensors, from the words on.
_FEW_BLOCKS = 48


def can_use_python_ints(tensor: Tensor, blocks: int) -> bool:
    """True if Python integers can replace the tensor operators: for few blocks, in eager on a CPU."""
    return 0 < blocks <= _MAX_BLOCKS and tensor.is_cpu and runs_eagerly(tensor)


def takes_few_blocks(tensor: Tensor, key: Tensor, full_size: list[int]) -> bool:
    """True for a whole of few blocks and one key if both are plain and on a CPU, so that nothing else is to be checked.

    Complex tensors are left out.
    """
    per_block = 2 if tensor.dtype == torch.float64 else 4
    return (
        # First, because a compiler makes a guard of a size that is compared.
        runs_eagerly(tensor)
        and 0 < tensor.numel() <= per_block * _FEW_BLOCKS
        and tensor.is_cpu
        and tensor.is_floating_point()
        and list(tensor.shape) == full_size
        and type(key) is Tensor
        and key.dtype == torch.int64
        and key.shape == (2,)
        and key.is_cpu
    )


def philox_python_ints(seed: int, numbers: list[int]) -> Tensor:
    """Compute the words of the blocks with these numbers, of shape ``(blocks, 4)``.

    One Python integer holds a word of every block, in 64 bits each.
    """
    size = 8 * len(numbers)
    words = _philox_lanes(seed, _pack_lanes(numbers), _pack_lanes([1] * len(numbers)))
    lanes = b"".join([word.to_bytes(size, sys.byteorder) for word in words])
    return torch.frombuffer(bytearray(lanes), dtype=torch.int64).view(4, -1).t()


def _pack_lanes(numbers: list[int]) -> int:
    return int.from_bytes(array("Q", numbers).tobytes(), sys.byteorder)


def _philox_lanes(seed: int, counter: int, ones: int) -> tuple[int, int, int, int]:
    """Compute the four words of every block, each in its lane of 64 bits or more; ``ones`` has a 1 in every lane."""
    mask = ones * 0xFFFFFFFF
    key_0, key_1 = ones * (seed & 0xFFFFFFFF), ones * (seed >> 32 & 0xFFFFFFFF)
    step_0, step_1 = ones * 0x9E3779B9, ones * 0xBB67AE85
    a, b, c, d = counter & mask, counter >> 32 & mask, 0, 0
    for _ in range(10):
        # No product reaches the next block's lane. Only the factors need clear upper halves.
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32 ^ b ^ key_0) & mask, q, (p >> 32 ^ d ^ key_1) & mask, p
        key_0, key_1 = key_0 + step_0, key_1 + step_1
    return a, b & mask, c, d & mask


@functools.lru_cache(_FEW_BLOCKS)
def _wide_lanes(blocks: int) -> tuple[int, int]:
    """Return the numbers 1, 1, ... and 0, 1, ... in lanes of 128 bits."""
    ones = sum([1 << 128 * i for i in range(blocks)])
    return ones, sum([i << 128 * i for i in range(blocks)])


def philox_python_run(bits: Tensor, blocks: int) -> Tensor:
    """Compute the words of the first blocks of a key's stream, of shape ``(blocks, 4)``."""
    seed, start = bits.tolist()
    numbers = range(start, start + blocks)
    return philox_python_ints(seed, [number & 0xFFFFFFFFFFFFFFFF for number in numbers])


def philox_python_words(bits: Tensor, blocks: int) -> tuple[int, ...]:
    """Compute the words of the first blocks of a key's stream, in its order, without a tensor."""
    seed, start = bits.tolist()
    ones, steps = _wide_lanes(blocks)
    # A number of 2^64 or more wraps: its upper half is masked.
    a, b, c, d = _philox_lanes(seed, ones * (start & 0xFFFFFFFFFFFFFFFF) + steps, ones)
    return struct.unpack(f"<{4 * blocks}I", (a | b << 32 | c << 64 | d << 96).to_bytes(16 * blocks, "little"))


# Whether torch's kernel draws this stream, by device; tested on first use.
_KERNEL_MATCHES: dict[torch.device, bool] = {}


def fill_uniform_(target: Tensor, bits: Tensor, bounds: list[float], full_size: list[int], begin: list[int]) -> bool:
    """Fill a plain tensor by torch's kernel if that draws this stream; return whether it did.

    Only uniform values: the kernel's normal ones differ in the last bits, so a piece would not equal its whole.
    """
    # NB: only float32 and float64; the kernel's 16-bit uniform values have only 8 or 11 bits.
    if (
        not has_philox_kernel
        or target.numel() == 0
        or target.dtype not in (torch.float32, torch.float64)
        or not target.is_contiguous()
        or not runs_eagerly(target)
        or not runs_eagerly(bits)
        or target.is_neg()
    ):
        return False
    # The piece must be one run of the stream that starts at a block: only dimension 0 may differ from the whole.
    per_block = 2 if target.dtype == torch.float64 else 4
    start = begin[0] * (target.numel() // target.size(0)) if begin else 0
    if list(target.shape)[1:] != full_size[1:] or start % per_block != 0:
        return False
    if target.device not in _KERNEL_MATCHES:
        _KERNEL_MATCHES[target.device] = _kernel_matches(target.device)
    if _KERNEL_MATCHES[target.device]:
        key = torch.stack([bits[0], bits[1] + start // per_block]) if start > 0 else bits
        philox_uniform_(target, key.to(target.device), bounds[0], bounds[1])
    return _KERNEL_MATCHES[target.device]


def _kernel_matches(device: torch.device) -> bool:
    """Compare torch's kernel with known values; the key's offset tells blocks from words."""
    # Drawn by torch 2.15.0 on a CPU. A fused multiply-add would give other values.
    known = torch.tensor(
        [0.3504362, 0.53650767, 0.39777085, 0.17542112, 0.38076216, 0.0022194833, 0.10534526, 0.2162601, 0.47872677],
        device="cpu",
    )
    try:
        values = philox_uniform_(torch.empty(9, device=device), torch.tensor([42, 4], device=device), -0.1, 0.7)
    except (NotImplementedError, RuntimeError):
        return False
    return torch.equal(values.cpu(), known)
