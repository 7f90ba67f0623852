"""Runs a recipe's fills by key: each parameter is drawn by itself, in any order."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from torchinit import keyed
from torchinit._core.registry import INITIALIZERS
from torchinit._core.writes import no_grad_copy_
from torchinit.keyed._piece import part, piece_of, views
from torchinit.recipes._fill import Fill, block_shape, call
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


def _overlaps(tensor: Tensor, block: tuple[int, int, int] | None) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield the parts of a tensor within a block, and where each begins in it; a DTensor's shard may have several."""
    for view, begin in views(tensor, piece_of(tensor, None, None)):
        if block is None:
            yield view, begin
            continue
        dim, start, length = block
        first, last = max(begin[dim], start), min(begin[dim] + view.size(dim), start + length)
        if first < last:
            inside = [first - start if d == dim else index for d, index in enumerate(begin)]
            yield view.narrow(dim, first - begin[dim], last - first), inside


def _place(view: Tensor, fill: Fill, shape: list[int], begin: list[int]) -> None:
    """Write one piece of a fill that does not draw."""
    if not fill.entry.structured:
        call(view, fill, None)
        return
    no_grad_copy_(view, part(call(view.new_empty(shape), fill, None), begin, list(view.shape)))


def write_by_key(name: str, tensor: Tensor, fills: Sequence[Fill], key: Tensor) -> None:
    """Run the fills of one parameter: the key of its plain name fills the whole, that of name and start a block."""
    name_key = keyed.fold_in(key, name)
    for fill in fills:
        fill_key = name_key if fill.block is None else keyed.fold_in(name_key, fill.block[1])
        shape = block_shape(tensor.shape, fill.block)
        for view, begin in _overlaps(tensor, fill.block):
            if fill.entry.draws:
                KEYED[fill.initializer](view, fill_key, *fill.args, full_size=shape, offset=begin)
            else:
                _place(view, fill, shape, begin)
