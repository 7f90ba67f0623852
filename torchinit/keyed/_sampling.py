"""Turns the words of a key's stream into values, by the conversions of ``torch.func._random`` in torch 2.15."""

import math

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_scripting

from torchinit.keyed._philox import _in_twos, _joined, _packed


def uniform_values(words: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Turn the words of blocks into values in [0, 1), in a last dimension: four of 24 bits, or two of 53 for float64."""
    # NB: the export of torch 2.6 takes what to() returns for a view of its argument, and lets nothing write to it.
    if dtype == torch.float64:
        pairs = _in_twos(_packed(words))
        return _joined(pairs.select(-1, 0).bitwise_and(0x1FFFFF), pairs.select(-1, 1)).to(dtype).mul(2.0**-53)
    lanes = [word.bitwise_and_(0xFFFFFF) for word in words]
    return lanes[0].to(dtype).mul(2.0**-24) if len(lanes) == 1 else _interleaved(lanes, dtype).mul_(2.0**-24)


def _interleaved(lanes: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Lay four tensors of equal shape side by side in a new last dimension."""
    if not is_scripting():
        if is_compiling():
            # NB: inductor takes minutes for writes to parts of what is read whole.
            return torch.stack([lane.to(dtype) for lane in lanes], -1)
    # NB: what stack() does in twice the time. new_empty() is batched under vmap where its tensor is.
    values = lanes[0].new_empty(list(lanes[0].shape) + [4], dtype=dtype)
    for i in range(4):
        values.select(-1, i).copy_(lanes[i])
    return values


def normal_values(words: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Turn the words of blocks into standard normal values, in a last dimension, by Box and Muller (1958).

    A pair of uniform values, each in the middle of its step, so that the logarithm is finite, becomes a radius and an
    angle, and these a cosine and a sine. They are made of 32 bits each, or for float64 of 64.
    """
    if dtype == torch.float64:
        # Both terms are exact, so that their sum is the 65 bits rounded once. Rounding first to 53 bits and then adding
        # the half step is up to a thousand ulp of a normal value away, where the radius or a sine is small.
        halves = _in_twos(_packed(words).bitwise_and_(0xFFFFFFFF).to(dtype))
        uniform = halves.select(-1, 1).mul(2.0**-64).add_(2.0**-65).add_(halves.select(-1, 0).mul(2.0**-32))
        return torch.stack(_rotated(uniform.select(-1, 0), uniform.select(-1, 1)), -1)
    lanes = [word.bitwise_and_(0xFFFFFFFF).to(dtype).mul(2.0**-32).add_(2.0**-33) for word in words]
    if len(lanes) == 1:
        pairs = _in_twos(lanes[0])
        return torch.stack(_rotated(pairs.select(-1, 0), pairs.select(-1, 1)), -1).flatten(-2)
    return _interleaved(_rotated(lanes[0], lanes[1]) + _rotated(lanes[2], lanes[3]), dtype)


def _rotated(radius: Tensor, angle: Tensor) -> list[Tensor]:
    radius = radius.log().mul_(-2.0).sqrt_()
    angle = angle.mul(2.0 * math.pi)
    return [angle.cos().mul_(radius), angle.sin().mul_(radius)]
