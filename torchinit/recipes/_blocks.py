"""Packed and stacked parameters: the blocks that a dimension packs, and the matrices that a parameter stacks.

A block may lie in several pieces, such as the rows of all queries between those of keys and values. Its pieces are one
matrix. TorchScript compiles the functions that return views.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Block(NamedTuple):
    """A part of a parameter along one dimension; with a period, one piece of this length in each period."""

    dim: int
    start: int
    length: int
    period: int = 0


def block_shape(shape: Sequence[int], block: Block | None) -> list[int]:
    """Return the shape of a block, its pieces joined, or of the whole."""
    if block is None:
        return list(shape)
    pieces = shape[block.dim] // block.period if block.period else 1
    return [*shape[: block.dim], pieces * block.length, *shape[block.dim + 1 :]]


def split_shape(shape: Sequence[int], block: Block | None) -> list[int]:
    """Return the shape that :func:`view_block` gives to a tensor of this shape."""
    if block is None or block.period == 0:
        return block_shape(shape, block)
    pieces = shape[block.dim] // block.period
    return [*shape[: block.dim], pieces, block.length, *shape[block.dim + 1 :]]


def matrix_shape(shape: Sequence[int], batch_dims: int, transposed: bool) -> list[int]:
    """Return the shape of each matrix of a stack, its outputs first if it is stored the other way round."""
    matrix = list(shape[batch_dims:])
    return [matrix[1], matrix[0], *matrix[2:]] if transposed else matrix


def view_block(tensor: Tensor, dim: int, start: int, length: int, period: int) -> Tensor:
    """View a block; one in pieces gets two dimensions for ``dim``, of the number of pieces and their length."""
    if period == 0:
        return tensor.narrow(dim, start, length)
    return torch.unflatten(tensor, dim, [-1, period]).narrow(dim + 1, start, length)


def view_matrices(tensor: Tensor, batch_dims: int, transposed: bool) -> list[Tensor]:
    """View each matrix of a stack, in index order, its outputs first."""
    matrices = [tensor]
    for _ in range(batch_dims):
        inner: list[Tensor] = []
        for matrix in matrices:
            inner.extend(torch.unbind(matrix))
        matrices = inner
    return [matrix.transpose(0, 1) for matrix in matrices] if transposed else matrices


def cut(sizes: Sequence[int], dim: int, repeat: int = 1) -> list[Block]:
    """Return the blocks of these sizes along a dimension, which holds them one after the other ``repeat`` times."""
    period = sum(sizes) if repeat > 1 else 0
    return [Block(dim, sum(sizes[:index]), size, period) for index, size in enumerate(sizes)]
