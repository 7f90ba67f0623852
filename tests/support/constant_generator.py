"""A generator that draws the same word for ever, for the draws that chance does not show."""

import struct

import torch

_WORDS = 624


def _untemper(word: int) -> int:
    """Invert mt19937's tempering (Matsumoto and Nishimura, 1998)."""
    word ^= word >> 18
    word = (word ^ ((word << 15) & 0xEFC60000)) & 0xFFFFFFFF
    tempered = word
    for _ in range(5):
        word = tempered ^ ((word << 7) & 0x9D2C5680)
    tempered = word & 0xFFFFFFFF
    word = tempered
    for _ in range(3):
        word = tempered ^ (word >> 11)
    return word


def constant_generator(word: int) -> torch.Generator:
    """Make a CPU generator whose next 624 words are all ``word``; 0 stays 0 beyond that."""
    generator = torch.Generator().manual_seed(0)
    state = bytearray(generator.get_state().numpy().tobytes())
    # The state begins: seed (u64), words left (i32), seeded (i32), next word (u64), 624 words in a u64 each.
    struct.pack_into("<QiiQ", state, 0, 0, _WORDS, 1, 0)
    struct.pack_into(f"<{_WORDS}Q", state, 24, *([_untemper(word)] * _WORDS))
    generator.set_state(torch.frombuffer(state, dtype=torch.uint8).clone())
    return generator
