"""Runs a recipe's fills by key: each parameter is drawn by itself, in any order."""

import itertools
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from torchinit import keyed
from torchinit._core.registry import INITIALIZERS
from torchinit._core.writes import Done
from torchinit.keyed._piece import piece_of, place_, views
from torchinit.recipes._blocks import Block, split_shape, view_block
from torchinit.recipes._draws import Draws
from torchinit.recipes._fill import Fill, call
from torchinit.recipes._steps import Step

KEYED = {name: getattr(keyed, name) for name, entry in INITIALIZERS.items() if entry.draws}


def surviving_fills(steps: Sequence[Step]) -> dict[str, tuple[Tensor, list[Fill]]]:
    """Collect the surviving fills of each parameter: its last full fill, and those after it."""
    found: dict[str, tuple[Tensor, list[Fill]]] = {}
    for step in steps:
        kept = found.setdefault(step.target, (step.tensor, []))[1]
        for fill in step.fills:
            if fill.block is None:
                kept.clear()
            kept.append(fill)
    return found


# The views of a tensor that one fill writes to, and where each begins in the block as view_block() shows it.
_Places = list[tuple[Tensor, list[int]]]


def _overlaps(tensor: Tensor, block: Block | None) -> _Places:
    """Return the parts of a tensor within a block; a DTensor's shard may have several."""
    found = views(tensor, piece_of(tensor, None, None))
    if block is None:
        return found
    within = _within if block.period == 0 else _within_pieces
    return [place for view, begin in found for place in within(view, begin, block)]


def _within(view: Tensor, begin: list[int], block: Block) -> _Places:
    """Return the part of a view within a block of one piece."""
    dim, start, length, _ = block
    first, last = max(begin[dim], start), min(begin[dim] + view.size(dim), start + length)
    if first >= last:
        return []
    return [(view.narrow(dim, first - begin[dim], last - first), [*begin[:dim], first - start, *begin[dim + 1 :]])]


def _within_pieces(view: Tensor, begin: list[int], block: Block) -> _Places:
    """Return the parts of a view within a block in pieces: in its full periods, and in those at its two ends."""
    dim, start, length, period = block
    low, high = begin[dim], begin[dim] + view.size(dim)
    first = min(-(-low // period) * period, high)
    last = max(high // period * period, first)
    found: _Places = []
    for begins, ends in pairwise(sorted({low, first, last, high})):
        part, piece = view.narrow(dim, begins - low, ends - begins), begins // period
        if begins % period == ends % period == 0:
            found.append((view_block(part, *block), [*begin[:dim], piece, 0, *begin[dim + 1 :]]))
        else:
            inside = [*begin[:dim], begins, *begin[dim + 1 :]]
            one = _within(part, inside, Block(dim, piece * period + start, length))
            found += [(place.unsqueeze(dim), [*at[:dim], piece, *at[dim:]]) for place, at in one]
    return found


def _place_matrices(places: _Places, fill: Fill, shape: list[int], key: Tensor) -> None:
    """Make each matrix of a stack that the places touch, and copy their parts of it."""
    stack, touched = split_shape(shape, fill.block)[: fill.batch_dims], dict[int, _Places]()
    for view, begin in places:
        for index in itertools.product(*map(range, view.shape[: fill.batch_dims])):
            number = 0
            for size, first, i in zip(stack, begin, index):
                number = number * size + first + i
            touched.setdefault(number, []).append((view[index], begin[fill.batch_dims :]))
    for number, parts in touched.items():
        matrix = parts[0][0].new_empty(fill.matrix_shape(shape))
        if fill.entry.draws:
            KEYED[fill.initializer](matrix, keyed.fold_in(key, number) if fill.batch_dims else key, *fill.args)
        else:
            call(matrix, fill, None)
        matrix = matrix.transpose(0, 1) if fill.transposed else matrix
        place_(parts, matrix.reshape(split_shape(shape, fill.block)[fill.batch_dims :]))


def write_by_key(name: str, tensor: Tensor, fills: Sequence[Fill], key: Tensor) -> None:
    """Run the fills of one parameter: the key of its plain name fills the whole, that of name and start a block.

    A matrix of a stack that is not drawn at once has the key of the whole or the block, and its number in the stack.
    """
    name_key, shape = keyed.fold_in(key, name), list(tensor.shape)
    for fill in fills:
        fill_key = name_key if fill.block is None else keyed.fold_in(name_key, fill.block.start)
        places, whole = _overlaps(tensor, fill.block), split_shape(shape, fill.block)
        pieces = fill.block is not None and fill.block.period > 0
        if fill.entry.structured and (fill.by_matrix or pieces or not fill.entry.draws):
            _place_matrices(places, fill, shape, fill_key)
        elif fill.entry.draws:
            for view, begin in places:
                KEYED[fill.initializer](view, fill_key, *fill.args, full_size=whole, offset=begin)
        else:
            for view, _ in places:
                call(view, fill, None)


def write_all_by_key(steps: Sequence[Step], key: Tensor, done: Done) -> None:
    """Run the steps by key, and call ``done`` after each tensor.

    Raise before the first write if a parametrization does not take what is drawn.
    """
    fills = surviving_fills(steps)
    plain = {step.target: step.plain for step in steps}
    stores = [(step, step.through) for step in steps if step.through is not None]
    draws = {step.target: Draws(key=keyed.fold_in(key, step.plain)) for step, _ in stores}
    for step, through in stores:
        # A tied weight is the parameter that it is tied to.
        owner = step.source or step.target
        write_by_key(plain[owner], step.tensor, fills[owner][1], key)
        if through.can_fail:
            through.solve(step.tensor, draws[step.target])
    for name, (tensor, own) in fills.items():
        if name not in draws:
            write_by_key(plain[name], tensor, own, key)
            done(name, tensor)
    for step, through in stores:
        through.solve(step.tensor, draws[step.target]).write()
        through.finish()
        done(step.target, step.tensor)
