"""What a recipe's steps become when a key draws: each parameter's fills, in any order of parameters."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from torchinit import keyed
from torchinit._core.writes import no_grad_copy_ as _no_grad_copy_
from torchinit.keyed._piece import part as _part, piece_of, views
from torchinit.recipes._fills import DRAWING, STRUCTURED, Fill, block_shape, call
from torchinit.recipes._plan import Step

INITIALIZERS = {name: getattr(keyed, name) for name in DRAWING}

# What torch's wrappers put into a qualified name, which means the same parameter with it and without.
_WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")


def plain_name(name: str) -> str:
    """Take what torch.compile and its like have added out of a qualified name."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def lasting(steps: Sequence[Step]) -> dict[str, tuple[Tensor, list[Fill]]]:
    """Collect what is to be seen of each parameter's fills: the last of the whole, and what comes after it."""
    found: dict[str, tuple[Tensor, list[Fill]]] = {}
    for step in steps:
        kept = found.setdefault(step.target, (step.tensor, []))[1]
        for fill in step.fills:
            if fill.block is None:
                kept.clear()
            kept.append(fill)
    return found


def _overlaps(tensor: Tensor, block: tuple[int, int, int] | None) -> Iterator[tuple[Tensor, list[int]]]:
    """Narrow a tensor, or each box of a DTensor's local part, to a block; say where in the block it begins."""
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
    """Write a piece of what is not drawn."""
    if fill.initializer not in STRUCTURED:
        call(view, fill, None)
        return
    _no_grad_copy_(view, _part(call(view.new_empty(shape), fill, None), begin, list(view.shape)))


def write_by_key(name: str, tensor: Tensor, fills: Sequence[Fill], key: Tensor) -> None:
    """Run the fills of one parameter: the whole from the key of its name, a block from one of where it begins."""
    of_name = keyed.fold_in(key, plain_name(name))
    for fill in fills:
        of_fill = of_name if fill.block is None else keyed.fold_in(of_name, fill.block[1])
        shape = block_shape(tensor.shape, fill.block)
        for view, begin in _overlaps(tensor, fill.block):
            if fill.initializer in DRAWING:
                INITIALIZERS[fill.initializer](view, of_fill, *fill.args, full_size=shape, offset=begin)
            else:
                _place(view, fill, shape, begin)
