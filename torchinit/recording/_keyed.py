"""Fills a model's tensors from a key: piece by piece where the steps are elementwise, otherwise whole and then cut."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from torchinit import keyed
from torchinit._core.writes import Done, no_grad_copy_
from torchinit.keyed._fill import one_key
from torchinit.keyed._tiles import tiles
from torchinit.recipes._keyed_apply import KEYED
from torchinit.recording._keyed_pieces import Chain, Piece, chain_of
from torchinit.recording._keyed_program import KeyedProgram
from torchinit.recording._program import Draw, Step, schedule, storages
from torchinit.recording._replay import Memory, run_scheduled
from torchinit.recording._targets import Target, by_storage, place

# Values that are computed at once: as many as a keyed function draws at once on a CPU.
_TILE = 393216


def key_words(key: Tensor) -> Tensor:
    """Return the words of one key on the CPU, where all draws are made.

    Raises:
        ValueError: if it is not a key, a batch of keys, or without values
    """
    words = one_key(key)
    if key.is_meta:
        raise ValueError("a key must have values, got one on the meta device")
    return words.cpu()


def _draw_keys(steps: Iterable[Step], key: Tensor) -> dict[Draw, Tensor]:
    found = {}
    for step in steps:
        if isinstance(step, Draw):
            named = keyed.fold_in(key, step.name)
            found[step] = keyed.fold_in(named, step.index) if step.index else named
    return found


def fill_by_key(program: KeyedProgram, targets: Sequence[Target], key: Tensor, done: Done) -> None:
    """Fill tensors, or this rank's parts of them, without communication.

    Args:
        program: the keyed program of the recording
        targets: the tensors
        key: words of the key, on the CPU
        done: called after each tensor with its name and itself

    Raises:
        RuntimeError: if a sharded tensor would need values that other ranks hold, or there is a draw that no key gives;
            then nothing is written
    """
    program.check()
    wholes, pieces = list[Target](), list[tuple[Target, Chain]]()
    for target in targets:
        chain = chain_of(program, target.entry)
        if not any(view.numel() for view, _ in target.boxes) or not _has_values(program, target):
            continue
        if chain is None:
            wholes.append(target)
        else:
            pieces.append((target, chain))
    starts = _starting_values(program, wholes, targets)
    # Pieces last: they write to tensors whose values at the start a whole may need.
    _fill_wholes(program, wholes, starts, key)
    for target in wholes:
        done(target.entry.name, target.tensor)
    for target, chain in pieces:
        _fill_pieces(program, target, chain, key)
        done(target.entry.name, target.tensor)


def _has_values(program: KeyedProgram, target: Target) -> bool:
    entry = target.entry
    return bool(program.feeds[entry.name]) or entry.ref.storage in program.program.constants


def _fill_pieces(program: KeyedProgram, target: Target, chain: Chain, key: Tensor) -> None:
    keys, constants = _draw_keys(chain.steps, key), program.program.constants
    for view, begin in target.boxes:
        for own, start in tiles(view, begin, _TILE):
            no_grad_copy_(own, Piece(chain, constants, start, own).compute(keys))


def _starting_values(
    program: KeyedProgram, wholes: Sequence[Target], targets: Sequence[Target]
) -> Mapping[int, list[Target]]:
    """Find the tensors whose values at the start some wholes need, by storage."""
    needed = {storage for target in wholes for storage in program.begins[target.entry.name]}
    found = by_storage(target for target in targets if target.entry.ref.storage in needed)
    for target in (target for number in found.keys() & program.program.given for target in found[number]):
        if not target.is_whole:
            raise RuntimeError(
                "a sharded tensor must not be computed from the whole of its earlier values, got"
                f" {target.entry.name}; record how the model is built, or fill it before it is sharded"
            )
    return found


def _fill_wholes(
    program: KeyedProgram, wholes: Sequence[Target], starts: Mapping[int, list[Target]], key: Tensor
) -> None:
    """Compute tensors as a whole, in the program's order, and place what is this rank's."""
    steps = program.steps_of(target.entry.name for target in wholes)
    keys, memory = _draw_keys(steps, key), Memory(program.program)

    def run(step: Step) -> None:
        _load_starts(memory, storages((*step.made, *step.reads)), starts)
        if isinstance(step, Draw):
            KEYED[step.initializer](memory.tensor(step.target), keys[step], **step.args)
        else:
            memory.run(step)

    found = by_storage(wholes)
    scheduled = schedule(program.program, steps, found, draws=False)
    run_scheduled(scheduled, memory, run, found, lambda number, memory: place(found[number], memory))


def _load_starts(memory: Memory, touched: set[int], starts: Mapping[int, list[Target]]) -> None:
    """Copy the values at the start to storages that are used for the first time."""
    for storage in touched & starts.keys() - memory.storages.keys():
        for target in starts[storage]:
            if target.is_whole:
                memory.tensor(target.entry.ref).copy_(target.tensor.detach())
