"""What eager code can do sooner: few blocks in Python's integers, and torch's own kernel where it has one."""

import sys
from array import array

import torch
from torch import Tensor
from torch.compiler import is_compiling

from torchinit._core.compat import dispatch_modes, has_philox_kernel, philox_uniform_
from torchinit._core.door import is_plain


def runs_at_once(tensor: Tensor) -> bool:
    """True for a plain tensor whose operators no exporter or dispatch mode sees either."""
    return is_plain(tensor) and not is_compiling() and dispatch_modes() == 0


# More blocks are faster in tensor operators.
_FEW = 256


def can_count(tensor: Tensor, blocks: int) -> bool:
    """True where Python's integers may take the place of tensor operators, for few blocks."""
    return 0 < blocks <= _FEW and tensor.device.type == "cpu" and runs_at_once(tensor)


def words_of_few(seed: int, numbers: list[int]) -> Tensor:
    """Compute the words of the blocks with these numbers, of shape ``(blocks, 4)``.

    Python's integers hold one word of every block, each in 64 bits of its own.
    """
    ones = _in_lanes([1] * len(numbers))
    mask, counter = ones * 0xFFFFFFFF, _in_lanes(numbers)
    key_0, key_1 = ones * (seed & 0xFFFFFFFF), ones * (seed >> 32 & 0xFFFFFFFF)
    step_0, step_1 = ones * 0x9E3779B9, ones * 0xBB67AE85
    a, b, c, d = counter & mask, counter >> 32 & mask, 0, 0
    for _ in range(10):
        # No product reaches the next block's bits.
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32 & mask) ^ b ^ key_0, q & mask, (p >> 32 & mask) ^ d ^ key_1, p & mask
        key_0, key_1 = key_0 + step_0 & mask, key_1 + step_1 & mask
    lanes = b"".join([word.to_bytes(8 * len(numbers), sys.byteorder) for word in (a, b, c, d)])
    return torch.frombuffer(bytearray(lanes), dtype=torch.int64).view(4, -1).t()


def words_of_run(bits: Tensor, first: int, blocks: int) -> Tensor:
    """Compute the words of consecutive blocks, counted from where the key's stream begins."""
    seed, start = bits.tolist()
    return words_of_few(seed, [number & 0xFFFFFFFFFFFFFFFF for number in range(start + first, start + first + blocks)])


def _in_lanes(numbers: list[int]) -> int:
    return int.from_bytes(array("Q", numbers).tobytes(), sys.byteorder)


# Where torch's kernel was seen to draw this stream; asked at the first use on a device.
_KNOWN: dict[torch.device, bool] = {}


def fill_uniform_(target: Tensor, bits: Tensor, bounds: list[float], full_size: list[int], begin: list[int]) -> bool:
    """Fill a plain tensor by torch's kernel, if there is one that draws this very stream and can; say whether.

    Uniform values alone: a kernel's normal ones differ in the last bits, so that a piece would not equal its whole.
    """
    # NB: the dtypes are those in which upstream computes; its 16-bit uniform values have but 8 or 11 bits.
    if (
        not has_philox_kernel
        or target.numel() == 0
        or target.dtype not in (torch.float32, torch.float64)
        or not target.is_contiguous()
        or not runs_at_once(target)
        or not runs_at_once(bits)
    ):
        return False
    # One run of the stream that begins with a block: all dimensions but the first are the whole's.
    per_block = 2 if target.dtype == torch.float64 else 4
    start = begin[0] * (target.numel() // target.size(0)) if begin else 0
    if list(target.shape)[1:] != full_size[1:] or start % per_block != 0:
        return False
    if target.device not in _KNOWN:
        _KNOWN[target.device] = _draws_the_stream(target.device)
    if _KNOWN[target.device]:
        key = torch.stack([bits[0], bits[1] + start // per_block]) if start > 0 else bits
        philox_uniform_(target, key.to(target.device), bounds[0], bounds[1])
    return _KNOWN[target.device]


def _draws_the_stream(device: torch.device) -> bool:
    """Ask torch's kernel for values that are known, of a key whose offset tells blocks from words."""
    # As torch 2.15.0 draws them on a processor. A fused multiply and add would give others.
    known = torch.tensor(
        [0.3504362, 0.53650767, 0.39777085, 0.17542112, 0.38076216, 0.0022194833, 0.10534526, 0.2162601, 0.47872677],
        device="cpu",
    )
    try:
        values = philox_uniform_(torch.empty(9, device=device), torch.tensor([42, 4], device=device), -0.1, 0.7)
    except (NotImplementedError, RuntimeError):
        return False
    return torch.equal(values.cpu(), known)
