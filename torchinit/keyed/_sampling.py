"""Turns the words of a key's stream into values, as ``torch.func._random`` of torch 2.15 does."""

import math
from array import array

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_scripting

from torchinit.keyed._philox import as_pairs, join_words, stack_words


def uniform_values(words: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Turn words into values in [0, 1), in a last dimension: four of 24 bits, or two of 53 bits for float64."""
    # NB: no write to the result of to(), which the export of torch 2.6 takes for a view of its argument.
    if dtype == torch.float64:
        pairs = as_pairs(stack_words(words))
        return join_words(pairs.select(-1, 0).bitwise_and(0x1FFFFF), pairs.select(-1, 1)).to(dtype).mul(2.0**-53)
    lanes = [word.bitwise_and_(0xFFFFFF) for word in words]
    return lanes[0].to(dtype).mul(2.0**-24) if len(lanes) == 1 else _interleaved(lanes, dtype).mul_(2.0**-24)


def _interleaved(lanes: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Lay four tensors of equal shape side by side in a new last dimension."""
    if not is_scripting():
        if is_compiling():
            # NB: inductor takes minutes for writes to slices of a tensor that is read whole.
            return torch.stack([lane.to(dtype) for lane in lanes], -1)
    # NB: stack() takes twice as long. new_empty() is batched under vmap if its tensor is.
    values = lanes[0].new_empty(list(lanes[0].shape) + [4], dtype=dtype)
    for i in range(4):
        values.select(-1, i).copy_(lanes[i])
    return values


def normal_values(words: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Turn words into standard normal values, in a last dimension, by Box and Muller (1958).

    A pair of uniform values becomes a radius and an angle, which give two normal values. A uniform value has 32 bits,
    or 64 for float64, and lies in the middle of its step, so that the logarithm is finite.
    """
    if dtype == torch.float64:
        # Both terms are exact, so the sum of 65 bits is rounded once. Rounding to 53 bits before adding the half step
        # would be off by up to a thousand ulp of a normal value, where the radius or a sine is small.
        halves = as_pairs(stack_words(words).bitwise_and_(0xFFFFFFFF).to(dtype))
        uniform = halves.select(-1, 1).mul(2.0**-64).add_(2.0**-65).add_(halves.select(-1, 0).mul(2.0**-32))
        return torch.stack(_box_muller(uniform.select(-1, 0), uniform.select(-1, 1)), -1)
    lanes = [word.bitwise_and_(0xFFFFFFFF).to(dtype).mul(2.0**-32).add_(2.0**-33) for word in words]
    if len(lanes) == 1:
        pairs = as_pairs(lanes[0])
        return torch.stack(_box_muller(pairs.select(-1, 0), pairs.select(-1, 1)), -1).flatten(-2)
    return _interleaved(_box_muller(lanes[0], lanes[1]) + _box_muller(lanes[2], lanes[3]), dtype)


def _box_muller(radius: Tensor, angle: Tensor) -> list[Tensor]:
    radius = radius.log().mul_(-2.0).sqrt_()
    angle = angle.mul(2.0 * math.pi)
    return [angle.cos().mul_(radius), angle.sin().mul_(radius)]


def few_values(words: tuple[int, ...], normal: bool, dtype: torch.dtype) -> Tensor:
    """Turn words in the order of the stream into standard values, in eager code.

    Python's floats replace the operators before the logarithm and the sines, with their bits: in float32 each result is
    exact before the array rounds it, and float64 is Python's own.
    """
    if dtype == torch.float64:
        kind = "d"
        pairs = zip(words[::2], words[1::2])
        if normal:
            units = [low * 2.0**-64 + 2.0**-65 + high * 2.0**-32 for high, low in pairs]
        else:
            units = [((high & 0x1FFFFF) << 32 | low) * 2.0**-53 for high, low in pairs]
    else:
        kind = "f"
        if normal:
            units = [word * 2.0**-32 + 2.0**-33 for word in array("f", words)]
        else:
            units = [(word & 0xFFFFFF) * 2.0**-24 for word in words]
    if not normal:
        return torch.frombuffer(array(kind, units), dtype=dtype)
    radius = torch.frombuffer(array(kind, units[::2]), dtype=dtype)
    angle = torch.frombuffer(array(kind, units[1::2]), dtype=dtype)
    return torch.stack(_box_muller(radius, angle), -1).flatten()
