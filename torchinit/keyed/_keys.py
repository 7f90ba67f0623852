"""Keys: made from a seed, and derived by number or by name."""

import operator
from contextlib import suppress
from typing import Any

import torch
from torch import SymInt, Tensor
from torch.jit import is_scripting

from torchinit._core.messages import called_function, dtype_name
from torchinit.keyed._philox import as_pairs, join_words, philox_words, stack_words


def key(seed: int) -> Tensor:
    """Make a key from a seed.

    A key is a tensor of two 64-bit words: the seed, and the number of the first block of its stream, which is 0. They
    are the bits of ``torch.func._random.key``, kept as int64, because only eager has operators for uint64. Every
    function here also takes ``key(seed).view(torch.uint64)``, a key of that module.

    Args:
        seed: any 64-bit integer, signed or unsigned

    Returns:
        the key, of shape (2,), on the CPU; a tensor on any device can be filled from it

    Raises:
        ValueError: if ``seed`` has more than 64 bits
        TypeError: if ``seed`` is no integer, of Python or numpy or a tensor without dimensions

    Examples:
        >>> keyed.key(42)
        tensor([42,  0])
    """
    if not is_scripting():
        if not isinstance(seed, (int, SymInt)):
            return _key_of(seed)
    seed = _signed(seed, "seed")
    return torch.tensor([seed, 0], dtype=torch.int64, device="cpu")


def split(key: Tensor, n: int = 2) -> Tensor:
    """Derive ``n`` keys from one; the i-th is ``fold_in(key, i)``.

    Do not draw from a key that others are derived from: its first values would have the bits of the derived keys.

    Args:
        key: a key, of shape (2,), or a batch of keys, of shape (..., 2)
        n: number of keys

    Returns:
        the keys, of shape (n, ..., 2)

    Raises:
        ValueError: if ``n`` is negative, or ``key`` is not a key

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
    return _derive(bits, torch.arange(n, device=key.device).view([n] + [1] * (bits.dim() - 1))).to(key.dtype)


def fold_in(key: Tensor, data: int | str) -> Tensor:
    """Derive a key for a number or for a name.

    The derived key is the block of the key's stream with this number, read as a key. A name, such as a parameter's
    qualified name, stands for the 64-bit FNV-1a hash of its UTF-8 bytes, in Python, TorchScript and C++.

    Args:
        key: a key, of shape (2,), or a batch of keys, of shape (..., 2)
        data: any 64-bit integer, signed or unsigned, or a name

    Returns:
        the key or keys, of the shape of ``key``

    Raises:
        ValueError: if ``data`` has more than 64 bits, or ``key`` is not a key

    Examples:
        >>> key = keyed.fold_in(keyed.key(0), "layers.0.weight")
        >>> torch.equal(key, keyed.fold_in(keyed.key(0), "layers.1.weight"))
        False
    """
    if not is_scripting():
        if not isinstance(data, (int, str)):
            return _fold_in_any(key, data)
    number = _signed(data, "data") if isinstance(data, int) else _hash(data)
    bits = key_bits(key)
    return _derive(bits, torch.full([1] * (bits.dim() - 1), number, device=key.device)).to(key.dtype)


def _integer(value: Any, kind: str) -> Any:
    """Return an integer that is not Python's, or int64 words for a tensor without dimensions, which may be batched."""
    if isinstance(value, Tensor):
        if value.dim() == 0 and not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool):
            return value.detach().to(torch.int64)
        what = f"a tensor of {value.dtype!s} and shape {list(value.shape)}"
    else:
        with suppress(TypeError):
            return operator.index(value)
        what = type(value).__name__
    raise TypeError(f"{called_function()} needs {kind}, got {what}")


def _key_of(seed: Any) -> Tensor:
    number = _integer(seed, "an integer for a seed")
    if isinstance(number, Tensor):
        return torch.stack([number, torch.zeros_like(number)]).cpu()
    return key(number)


def _fold_in_any(key: Tensor, data: Any) -> Tensor:
    number = _integer(data, "an integer or a name")
    if not isinstance(number, Tensor):
        return fold_in(key, number)
    bits = key_bits(key)
    return _derive(bits, number.to(key.device).view([1] * (bits.dim() - 1))).to(key.dtype)


def _signed(value: int, name: str) -> int:
    """Convert a 64-bit integer, signed or unsigned, to a signed one."""
    if not is_scripting():
        if not -(2**63) <= value < 2**64:
            raise ValueError(f"{name} must be in [-2**63, 2**64 - 1], got {value}")
        if value >= 2**63:
            value -= 2**64
    return value


def _hash(name: str) -> int:
    """Return the signed 64-bit FNV-1a hash of a name's UTF-8 bytes (https://www.rfc-editor.org/rfc/rfc9923)."""
    # In halves of 32 bits, so that no product overflows. The prime is 2^40 + 0x1B3.
    high, low = 0xCBF29CE4, 0x84222325
    for byte in _utf8(name):
        low = low ^ byte
        product = low * 0x1B3
        high = (high * 0x1B3 + (low << 8) + (product >> 32)) & 0xFFFFFFFF
        low = product & 0xFFFFFFFF
    return ((high - 0x100000000 if high >= 0x80000000 else high) << 32) + low


def _utf8(name: str) -> list[int]:
    if is_scripting():
        # In TorchScript a string is its bytes.
        return [ord(name[i]) for i in range(len(name))]
    else:
        return list(name.encode())


def key_bits(key: Tensor) -> Tensor:
    """Check a key, or a batch of keys, and return its words as int64; every runtime has operators for that."""
    if not is_scripting():
        if not isinstance(key, Tensor):
            got = str(key) if isinstance(key, int) else type(key).__name__
            raise TypeError(f"{called_function()} needs a key, which keyed.key(seed) makes, got {got}")
    if not (key.dtype == torch.int64 or key.dtype == torch.uint64):
        kind = "floating-point words" if key.is_floating_point() else f"words of {dtype_name(key)}"
        raise ValueError(f"a key holds words of torch.int64, got {kind}")
    if key.dim() < 1 or key.size(-1) != 2:
        raise ValueError(f"a key holds two words in its last dimension, got shape {list(key.shape)}")
    # NB: not view(), where TorchScript takes a dtype for a size. Words of 2^63 and more wrap.
    return key.to(torch.int64)


def _derive(bits: Tensor, number: Tensor) -> Tensor:
    words = as_pairs(stack_words(philox_words(bits, bits.select(-1, 1) + number)))
    return join_words(words.select(-1, 1), words.select(-1, 0))
