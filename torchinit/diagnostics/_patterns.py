"""Weights that are made, not drawn: identity, dirac, interpolation, orthogonal and sub-pixel kernels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from torchinit._core.layers import bilinear_
from torchinit._core.structured import dirac_, eye_
from torchinit.diagnostics._structure import Lines, Weight

# Names of gains; others are written as numbers.
_GAINS = {1.0: "1", math.sqrt(2.0): "1.41 = sqrt(2)", 5.0 / 3.0: "1.67 = 5/3"}
# Upscale factors of sub-pixel convolutions.
_UPSCALE = range(2, 9)


@dataclass(frozen=True)
class Pattern:
    """What a weight is, and its gain."""

    words: str
    gain: float | None = None


def pattern_of(weight: Weight) -> Pattern | None:
    """Recognize what a weight is; None if it is drawn."""
    rows, resolution = weight.rows, weight.found.resolution
    zeros = 1.0 - rows.nonzeros.double().mean().item() / rows.length
    if zeros > 0.3 or (weight.tensor.dim() > 2 and bool(rows.projections[0] == rows.projections[-1])):
        found = _known(weight)
        if found is not None:
            return found
    blocks = _in_blocks(weight)
    if blocks is not None:
        return blocks
    if rows.are_equally_long(resolution) or weight.columns.are_equally_long(resolution):
        gain = weight.orthogonal_gain(weight.matrix)
        if gain is not None:
            return Pattern(f"orthogonal, gain {gain_words(gain)}", gain)
    return _mirrored(weight.matrix, rows) or _of_kernel(weight)


def _mirrored(matrix: Tensor, rows: Lines) -> Pattern | None:
    """Recognize a network that looks linear: the units of one half are the negatives of the other's.

    Source: "The shattered gradients problem", Balduzzi et al. (2017), https://arxiv.org/abs/1702.08591.
    """
    half = len(matrix) // 2
    if len(matrix) != 2 * half or half < 2 or not bool(rows.projections[0] == -rows.projections[half]):
        return None
    is_mirrored = torch.equal(matrix[:half], -matrix[half:]) and not torch.equal(matrix[0], matrix[1])
    return Pattern("each row beside its negative") if is_mirrored else None


def gain_words(gain: float) -> str:
    return next((words for known, words in _GAINS.items() if abs(gain / known - 1.0) < 2e-3), f"{gain:.3g}")


def _known(weight: Weight) -> Pattern | None:
    """Compare a weight of many zeros with what the initializers without draws would fill it with."""
    tensor, largest = weight.tensor, weight.found.largest
    outputs, wide = tensor.shape[0], torch.complex128 if tensor.is_complex() else torch.float64
    tries: list[tuple[str, Callable[[Tensor], Tensor]]] = []
    if tensor.dim() == 2 and min(tensor.shape) > 1:
        tries = [("identity", eye_)]
    elif 3 <= tensor.dim() <= 5 and not weight.parameter.is_stack:
        # NB: a state dict does not tell groups.
        groups = [n for n in range(1, outputs + 1) if outputs % n == 0]
        if int(tensor.count_nonzero()) <= outputs:
            tries = [("dirac", partial(dirac_, groups=n)) for n in groups]
        tries += [("bilinear", partial(bilinear_, groups=n)) for n in groups]
    for name, fill in tries:
        filled = fill(torch.empty_like(tensor))
        ratio = largest / filled.abs().max().item()
        if torch.allclose(tensor.to(wide), filled.to(wide) * ratio, rtol=1e-2, atol=1e-6 * largest):
            return Pattern(name if abs(ratio - 1.0) < 1e-2 else f"{ratio:.3g} x {name}", ratio)
    return None


def _in_blocks(weight: Weight) -> Pattern | None:
    """Look at the matrices that a weight packs: experts, gates of a recurrent layer, or a fused projection."""
    tensor, largest = weight.tensor, weight.found.largest
    if weight.parameter.is_stack:
        blocks = list(tensor)
    elif tensor.dim() == 2 and tensor.shape[0] in (2 * tensor.shape[1], 3 * tensor.shape[1], 4 * tensor.shape[1]):
        blocks = list(tensor.chunk(tensor.shape[0] // tensor.shape[1]))
    else:
        return None
    square = blocks[0].shape[0] == blocks[0].shape[1]
    eye = eye_(torch.empty_like(blocks[0])) if square else None
    if eye is not None and all(torch.equal(block, eye * largest) for block in blocks):
        return Pattern(f"identity in {len(blocks)} blocks", largest)
    if not (weight.rows.are_equally_long(weight.found.resolution) or square):
        return None
    gains: list[float] = []
    for block in blocks[:8]:
        gain = weight.orthogonal_gain(block)
        if gain is None:
            return None
        gains.append(gain)
    if max(gains) > min(gains) * 1.01:
        return None
    return Pattern(f"orthogonal in {len(blocks)} blocks, gain {gain_words(gains[0])}", gains[0])


def _of_kernel(weight: Weight) -> Pattern | None:
    """Recognize a kernel whose center alone is orthogonal, or whose outputs are copies over each cell."""
    tensor = weight.tensor
    if tensor.dim() < 3 or tensor.dim() > 5:
        return None
    sizes = list(tensor.shape[2:])
    center = tensor
    for size in sizes:
        center = center.select(2, (size - 1) // 2)
    if math.prod(sizes) > 1 and int(tensor.count_nonzero()) == int(center.count_nonzero()):
        gain = weight.orthogonal_gain(center)
        if gain is not None:
            return Pattern(f"orthogonal at the center of the kernel, gain {gain_words(gain)}", gain)
    outputs = tensor.shape[0]
    for factor in _UPSCALE:
        cell = factor ** len(sizes)
        # A cell alone is the whole picture of one channel, if it is small.
        if outputs % cell == 0 and (outputs > cell or factor <= 3):
            grouped = tensor.reshape(outputs // cell, cell, -1)
            if bool((grouped == grouped[:, :1]).all()) and (outputs == cell or not torch.equal(tensor[0], tensor[-1])):
                return Pattern(f"each output {cell} times, as by icnr_")
    return None


def without_identity(matrix: Tensor, mean: float, std: float) -> tuple[Tensor, float] | None:
    """Return a matrix less the multiple of the identity that stands out in it, and that multiple."""
    diagonal = matrix.diagonal()
    if matrix.is_complex() or len(diagonal) < 8:
        return None
    factor, spread = diagonal.double().mean().item(), diagonal.double().std().item()
    if abs(factor - mean) < 3.0 * max(std, spread):
        return None
    rest = matrix.double().clone()
    rest.diagonal().sub_(factor)
    return rest, factor
