"""A generator that repeats one word, for draws too rare to sample."""

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
    """Return a CPU generator whose next 624 words are all ``word``; with 0, all later words too."""
    generator = torch.Generator().manual_seed(0)
    state = bytearray(generator.get_state().numpy().tobytes())
    # The state starts with: seed (u64), words left (i32), seeded (i32), next index (u64), 624 words as u64.
    struct.pack_into("<QiiQ", state, 0, 0, _WORDS, 1, 0)
    struct.pack_into(f"<{_WORDS}Q", state, 24, *([_untemper(word)] * _WORDS))
    generator.set_state(torch.frombuffer(state, dtype=torch.uint8).clone())
    return generator
