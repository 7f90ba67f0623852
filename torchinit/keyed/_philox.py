"""Philox4x32-10 as integer tensor operators: the words of a key's stream.

A stream is a sequence of blocks of four 32-bit words, each block a function of the key and of its number alone
(Salmon, Moraes, Dror and Shaw 2011, https://doi.org/10.1145/2063384.2063405). Layout and word order are those of
``torch.func._random`` in torch 2.15.
"""

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_scripting

from torchinit.keyed import _fast_paths

# NB: TorchScript reads no module-level constants, and the export of torch 2.6 loses a torch.tensor() of constants. So
# literals stand where they are used, and a pair of them is an arange() of two:
# 0xD2511F53, 0xCD9E8D57    the two multipliers
# 0x9E3779B9, 0xBB67AE85    the increments of the two key halves in each round: golden ratio and sqrt(3) - 1
# 0xFFFFFFFF                the mask of a 32-bit word in 64 bits
#
# NB: >> and << of tensors are aten.__rshift__ and aten.__lshift__, for which ExecuTorch has no kernels; it has those of
# torch.bitwise_right_shift and torch.bitwise_left_shift.


def join_words(high: Tensor, low: Tensor) -> Tensor:
    """Join two words to 64 bits; their upper halves are ignored."""
    return torch.bitwise_left_shift(high, 32) | (low & 0xFFFFFFFF)


def _round_keys(seed: Tensor, dim: int) -> list[Tensor]:
    """Return the two key halves of each of the ten rounds, of shape ``(2, 1, ..., *seed.shape)``.

    Each half has ``dim`` dimensions.
    """
    batch, device = list(seed.shape), seed.device
    pair = [2] + [1] * len(batch)
    halves = torch.bitwise_right_shift(seed, torch.arange(0, 64, 32, device=device).view(pair))
    steps = torch.arange(0x9E3779B9, 0xBB67AE86, 0xBB67AE85 - 0x9E3779B9, device=device)
    rounds = torch.arange(10, device=device).unsqueeze(1) * steps
    keys = (rounds.view([10] + pair) + halves).bitwise_and_(0xFFFFFFFF)
    return list(keys.view([10, 2] + [1] * (dim - len(batch)) + batch).unbind())


def philox_words(bits: Tensor, number: Tensor) -> list[Tensor]:
    """Compute the four words of each block of a key's stream, in the lower halves of int64.

    Args:
        bits: a key, or a batch of keys of shape ``(*batch, 2)``
        number: the numbers of the blocks, of a shape that ``batch`` broadcasts to; the upper half of the counter is 0

    Returns:
        four new tensors of the shape of ``number``; or, for few blocks and off the CPU, one tensor with the words in a
        last dimension. The upper halves of the words are undefined
    """
    no_overflow = False
    if not is_scripting():
        no_overflow = is_compiling()
        if not no_overflow:
            # The numbers are made from the key, so they are plain only if it is.
            if bits.dim() == 1 and _fast_paths.can_use_python_ints(number, number.numel()):
                numbers = [n & 0xFFFFFFFFFFFFFFFF for n in number.flatten().tolist()]
                return [_fast_paths.philox_python_ints(int(bits[0]), numbers).reshape(*number.shape, 4)]
    keys = _round_keys(bits.select(-1, 0), number.dim())
    if not no_overflow:
        if number.numel() <= 4096 or number.device.type != "cpu":
            return [_philox_packed(keys, number)]
    return _philox_unpacked(keys, number, no_overflow)


def stack_words(words: list[Tensor]) -> Tensor:
    """Return the words of ``philox_words`` as one tensor, with the words of a block in the last dimension."""
    return words[0] if len(words) == 1 else torch.stack(words, -1)


def as_pairs(words: Tensor) -> Tensor:
    """View the last dimension as pairs."""
    shape = list(words.shape)
    return words.view(shape[:-1] + [shape[-1] // 2, 2])


def _philox_packed(keys: list[Tensor], number: Tensor) -> Tensor:
    """Do both multiplications of a round in one operator; fastest for few blocks, and on a GPU."""
    device, pair = number.device, [2] + [1] * number.dim()
    # Scalar tensors: otherwise each operator makes one from its number.
    mask = torch.full([], 0xFFFFFFFF, device=device)
    width = torch.full([], 32, device=device)
    first = torch.arange(0xFFFFFFFF, -1, -0xFFFFFFFF, device=device).view(pair)
    factors = torch.arange(0xD2511F53, 0xCD9E8D56, 0xCD9E8D57 - 0xD2511F53, device=device).view(pair)
    # Words 0 and 2, and words 1 and 3.
    evens, odds = number & first, torch.bitwise_right_shift(number, width) & first
    for key in keys:
        # A product of 2^63 or more wraps, with the right bits; the shift then sets upper bits, which the mask clears.
        products = (evens * factors).flip(0)
        evens = torch.bitwise_right_shift(products, width).bitwise_xor_(odds).bitwise_xor_(key).bitwise_and_(mask)
        odds = products
    return torch.stack([evens, odds], -1).movedim(0, -2).flatten(-2)


def _philox_unpacked(keys: list[Tensor], number: Tensor, no_overflow: bool) -> list[Tensor]:
    """Hold each word of all blocks in its own tensor; fastest for many blocks on a CPU."""
    device = number.device
    mask = torch.full([], 0xFFFFFFFF, device=device)
    width = torch.full([], 32, device=device)
    factor_0 = torch.full([], 0xD2511F53, device=device)
    factor_1 = torch.full([], 0xCD9E8D57, device=device)
    word_0, word_1 = number & mask, torch.bitwise_right_shift(number, width).bitwise_and_(mask)
    word_2, word_3 = torch.zeros_like(number), torch.zeros_like(number)
    for i in range(10):
        _multiply_(word_0, factor_0, no_overflow)
        if i > 0:  # word 2 is 0 before
            _multiply_(word_2, factor_1, no_overflow)
            _xor_high_half_(word_1, keys[i][0], word_2, factor_1, width, mask, no_overflow)
        else:
            word_1.bitwise_xor_(keys[i][0])
        _xor_high_half_(word_3, keys[i][1], word_0, factor_0, width, mask, no_overflow)
        word_0, word_1, word_2, word_3 = word_1, word_2, word_3, word_0
    return [word_0, word_1, word_2, word_3]


# The following work in place: a new tensor costs more than an operator.


def _multiply_(word: Tensor, factor: Tensor, no_overflow: bool) -> None:
    if no_overflow:
        # NB: signed overflow is undefined in the C++ that inductor writes. With word = 2^31 + w nothing overflows:
        # word * factor = w * factor + 2^31 + (factor >> 1) * 2^32, since factor is odd; _xor_high_half_ adds the last
        # term. Use the word only once, or inductor takes minutes for a chain of keys.
        word.sub_(0x80000000).mul_(factor).add_(0x80000000)
    else:
        # A product of 2^63 or more wraps, with the right bits.
        word.mul_(factor)


def _xor_high_half_(
    word: Tensor, key: Tensor, product: Tensor, factor: Tensor, width: Tensor, mask: Tensor, no_overflow: bool
) -> None:
    """Xor a word with a key and the upper half of a product; the word's own upper half is ignored."""
    word.bitwise_xor_(key)
    if no_overflow:
        word.bitwise_xor_(torch.bitwise_right_shift(product, 32) + torch.bitwise_right_shift(factor, 1))
    else:
        word.bitwise_left_shift_(width).bitwise_xor_(product).bitwise_right_shift_(width)
    word.bitwise_and_(mask)
