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

# NB: TorchScript reads no module-level constant, and the export of torch 2.6 loses a torch.tensor() of constants, so
# that the literals stand where they are used, and a pair of them is a range of two:
# 0xD2511F53, 0xCD9E8D57    the two multipliers
# 0x9E3779B9, 0xBB67AE85    what each round adds to the two halves of the key: golden ratio and sqrt(3) - 1
# 0xFFFFFFFF                the 32 bits of a word, held in 64
#
# NB: >> and << of tensors are operators of their own, aten.__rshift__ and aten.__lshift__, which ExecuTorch has no
# kernels for; it has those of torch.bitwise_right_shift and torch.bitwise_left_shift.


def _joined(high: Tensor, low: Tensor) -> Tensor:
    """Join two words, whose upper halves are whatever they are, to 64 bits."""
    return torch.bitwise_left_shift(high, 32) | (low & 0xFFFFFFFF)


def _round_keys(seed: Tensor, dim: int) -> list[Tensor]:
    """Both halves of the seed as each of the ten rounds uses them, of shape ``(2, *seed.shape)`` each.

    Ones stand before the batch, so that an entry has ``dim`` dimensions.
    """
    batch, device = list(seed.shape), seed.device
    pair = [2] + [1] * len(batch)
    halves = torch.bitwise_right_shift(seed, torch.arange(0, 64, 32, device=device).view(pair))
    steps = torch.arange(0x9E3779B9, 0xBB67AE86, 0xBB67AE85 - 0x9E3779B9, device=device)
    rounds = torch.arange(10, device=device).unsqueeze(1) * steps
    keys = (rounds.view([10] + pair) + halves).bitwise_and_(0xFFFFFFFF)
    return list(keys.view([10, 2] + [1] * (dim - len(batch)) + batch).unbind())


def _words(bits: Tensor, number: Tensor) -> list[Tensor]:
    """Compute the four words of each block of a key's stream, in the lower halves of int64.

    Args:
        bits: a key, or a batch of keys of shape ``(*batch, 2)``
        number: the numbers of the blocks, of a shape that ``batch`` broadcasts to; the upper half of the counter is 0

    Returns:
        four new tensors of the shape of ``number``; or, where the number of operators is what counts and not their
        size, one that holds all in a last dimension. The upper halves are whatever they are
    """
    exact = False
    if not is_scripting():
        exact = is_compiling()
        if not exact:
            # The numbers are made from the key, so they are plain only if it is.
            if bits.dim() == 1 and _fast_paths.can_count(number, number.numel()):
                numbers = [n & 0xFFFFFFFFFFFFFFFF for n in number.flatten().tolist()]
                return [_fast_paths.words_of_few(int(bits[0]), numbers).reshape(*number.shape, 4)]
    keys = _round_keys(bits.select(-1, 0), number.dim())
    if not exact:
        if number.numel() <= 4096 or number.device.type != "cpu":
            return [_words_by_pairs(keys, number)]
    return _words_by_lanes(keys, number, exact)


def _packed(words: list[Tensor]) -> Tensor:
    """Join what ``_words`` returns to one tensor whose last dimension holds the words of a block."""
    return words[0] if len(words) == 1 else torch.stack(words, -1)


def _in_twos(words: Tensor) -> Tensor:
    """View the last dimension as pairs."""
    shape = list(words.shape)
    return words.view(shape[:-1] + [shape[-1] // 2, 2])


def _words_by_pairs(keys: list[Tensor], number: Tensor) -> Tensor:
    """Do both multiplications of a round in one operator."""
    device, pair = number.device, [2] + [1] * number.dim()
    # A scalar tensor spares each operator the making of one.
    mask = torch.full([], 0xFFFFFFFF, device=device)
    width = torch.full([], 32, device=device)
    first = torch.arange(0xFFFFFFFF, -1, -0xFFFFFFFF, device=device).view(pair)
    factors = torch.arange(0xD2511F53, 0xCD9E8D56, 0xCD9E8D57 - 0xD2511F53, device=device).view(pair)
    # Words 0 and 2, and words 1 and 3.
    evens, odds = number & first, torch.bitwise_right_shift(number, width) & first
    for key in keys:
        # A product that reaches 2^63 wraps, and has the right bits; the shift then only brings in ones above.
        products = (evens * factors).flip(0)
        evens = torch.bitwise_right_shift(products, width).bitwise_xor_(odds).bitwise_xor_(key).bitwise_and_(mask)
        odds = products
    return torch.stack([evens, odds], -1).movedim(0, -2).flatten(-2)


def _words_by_lanes(keys: list[Tensor], number: Tensor, exact: bool) -> list[Tensor]:
    """Hold each word of all blocks in a tensor of its own, which a processor goes through fastest."""
    device = number.device
    mask = torch.full([], 0xFFFFFFFF, device=device)
    width = torch.full([], 32, device=device)
    factor_0 = torch.full([], 0xD2511F53, device=device)
    factor_1 = torch.full([], 0xCD9E8D57, device=device)
    word_0, word_1 = number & mask, torch.bitwise_right_shift(number, width).bitwise_and_(mask)
    word_2, word_3 = torch.zeros_like(number), torch.zeros_like(number)
    for i in range(10):
        _multiply_(word_0, factor_0, exact)
        if i > 0:  # word 2 is 0 before
            _multiply_(word_2, factor_1, exact)
            _cross_(word_1, keys[i][0], word_2, factor_1, width, mask, exact)
        else:
            word_1.bitwise_xor_(keys[i][0])
        _cross_(word_3, keys[i][1], word_0, factor_0, width, mask, exact)
        word_0, word_1, word_2, word_3 = word_1, word_2, word_3, word_0
    return [word_0, word_1, word_2, word_3]


# What follows is all in place: a new tensor costs more than an operator.


def _multiply_(word: Tensor, factor: Tensor, exact: bool) -> None:
    if exact:
        # NB: in the C++ that inductor writes, a signed overflow is undefined. From the middle of a word's range, word =
        # 2^31 + w, nothing overflows: word * factor = w * factor + 2^31 + (factor >> 1) * 2^32, as factor is odd; the
        # last term is left for _cross_. The word must not be used twice, or inductor takes minutes for a chain of keys.
        word.sub_(0x80000000).mul_(factor).add_(0x80000000)
    else:
        # A product that reaches 2^63 wraps, and has the right bits.
        word.mul_(factor)


def _cross_(
    word: Tensor, key: Tensor, product: Tensor, factor: Tensor, width: Tensor, mask: Tensor, exact: bool
) -> None:
    """Change a word, whose upper half may be anything, by a key and the upper half of a product."""
    word.bitwise_xor_(key)
    if exact:
        word.bitwise_xor_(torch.bitwise_right_shift(product, 32) + torch.bitwise_right_shift(factor, 1))
    else:
        word.bitwise_left_shift_(width).bitwise_xor_(product).bitwise_right_shift_(width)
    word.bitwise_and_(mask)
