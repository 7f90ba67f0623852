"""Philox4x32-10 (Salmon et al., 2011) in Python integers, the reference of a key's stream."""

from torch import Tensor


def philox4x32(counter: list[int], halves: list[int]) -> list[int]:
    """Return the four words of a 128-bit counter and a 64-bit key."""
    a, b, c, d = counter
    low, high = halves
    for _ in range(10):
        first, second = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (second >> 32) ^ b ^ low, second % 2**32, (first >> 32) ^ d ^ high, first % 2**32
        low, high = (low + 0x9E3779B9) % 2**32, (high + 0xBB67AE85) % 2**32
    return [a, b, c, d]


def philox(key: Tensor, block: int) -> list[int]:
    """Return the four words of a block of a key's stream."""
    seed, offset = (int(word) % 2**64 for word in key.tolist())
    number = (offset + block) % 2**64
    return philox4x32([number % 2**32, number >> 32, 0, 0], [seed % 2**32, seed >> 32])
