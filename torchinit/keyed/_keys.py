"""Keys: explicit randomness, made from a seed and derived by number or by name."""

import torch
from torch import Tensor
from torch.jit import is_scripting

from torchinit._core.messages import dtype_name
from torchinit.keyed._philox import _in_twos, _joined, _packed, _words


def key(seed: int) -> Tensor:
    """Make a key from a seed.

    A key is a tensor of two 64-bit words: the seed, and the number of the first block of its stream, which is 0. They
    are the bits of what ``torch.func._random.key`` holds, kept as int64, because no runtime but eager has operators for
    uint64; ``key(seed).view(torch.uint64)`` is such a key, and every function here takes one.

    Args:
        seed: any integer of 64 bits, with sign or without

    Returns:
        the key, of shape (2,), on the CPU; a tensor on any device can be filled from it

    Raises:
        ValueError: if ``seed`` has more than 64 bits

    Examples:
        >>> keyed.key(42)
        tensor([42,  0])
    """
    seed = _signed(seed, "seed")
    return torch.tensor([seed, 0], dtype=torch.int64, device="cpu")


def split(key: Tensor, n: int = 2) -> Tensor:
    """Derive ``n`` keys from one; the i-th is ``fold_in(key, i)``.

    A key that others are derived from is not drawn from itself: its first values would be made of the bits of the
    others.

    Args:
        key: a key, of shape (2,), or a batch of keys, of shape (..., 2)
        n: how many keys

    Returns:
        the keys, of shape (n, ..., 2)

    Raises:
        ValueError: if ``n`` is negative, or ``key`` is none

    Examples:
        >>> keys = keyed.split(keyed.key(0), 3)
        >>> keys.shape
        torch.Size([3, 2])
        >>> torch.equal(keys[1], keyed.fold_in(keyed.key(0), 1))
        True
    """
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    bits = key_bits(key)
    return _derived(bits, torch.arange(n, device=key.device).view([n] + [1] * (bits.dim() - 1))).to(key.dtype)


def fold_in(key: Tensor, data: int | str) -> Tensor:
    """Derive a key for a number or for a name.

    The derived key is the block of the key's stream that has this number, read as a key. A name, such as a parameter's
    qualified one, stands for the FNV-1a hash of its UTF-8 bytes, of 64 bits, in Python, TorchScript and C++ alike.

    Args:
        key: a key, of shape (2,), or a batch of keys, of shape (..., 2)
        data: any integer of 64 bits, with sign or without, or a name

    Returns:
        the key or keys, of the shape of ``key``

    Raises:
        ValueError: if ``data`` has more than 64 bits, or ``key`` is none

    Examples:
        >>> key = keyed.fold_in(keyed.key(0), "layers.0.weight")
        >>> torch.equal(key, keyed.fold_in(keyed.key(0), "layers.1.weight"))
        False
    """
    number = _signed(data, "data") if isinstance(data, int) else _hash(data)
    bits = key_bits(key)
    return _derived(bits, torch.full([1] * (bits.dim() - 1), number, device=key.device)).to(key.dtype)


def _signed(value: int, name: str) -> int:
    """Take an integer of 64 bits, with sign or without, as one with sign."""
    if not is_scripting():
        if not -(2**63) <= value < 2**64:
            raise ValueError(f"{name} must be in [-2**63, 2**64 - 1], got {value}")
        if value >= 2**63:
            value -= 2**64
    return value


def _hash(name: str) -> int:
    """Hash a name's UTF-8 bytes by FNV-1a of 64 bits (https://www.rfc-editor.org/rfc/rfc9923), with sign."""
    # In halves of 32 bits, of which no product overflows. The prime is 2^40 + 0x1B3.
    high, low = 0xCBF29CE4, 0x84222325
    for byte in _utf8(name):
        low = low ^ byte
        product = low * 0x1B3
        high = (high * 0x1B3 + (low << 8) + (product >> 32)) & 0xFFFFFFFF
        low = product & 0xFFFFFFFF
    return ((high - 0x100000000 if high >= 0x80000000 else high) << 32) + low


def _utf8(name: str) -> list[int]:
    if is_scripting():
        # A string of TorchScript's is its bytes.
        return [ord(name[i]) for i in range(len(name))]
    else:
        return list(name.encode())


def key_bits(key: Tensor) -> Tensor:
    """Check a key, or a batch of keys, and return its words as int64, which every runtime has operators for."""
    if not (key.dtype == torch.int64 or key.dtype == torch.uint64):
        kind = "floating-point words" if key.is_floating_point() else f"words of {dtype_name(key)}"
        raise ValueError(f"a key holds words of torch.int64, got {kind}")
    if key.dim() < 1 or key.size(-1) != 2:
        raise ValueError(f"a key holds two words in its last dimension, got shape {list(key.shape)}")
    # NB: not view(), of which TorchScript takes a dtype for a size. What uint64 alone holds wraps.
    return key.to(torch.int64)


def _derived(bits: Tensor, number: Tensor) -> Tensor:
    words = _in_twos(_packed(_words(bits, bits.select(-1, 1) + number)))
    return _joined(words.select(-1, 1), words.select(-1, 0))
