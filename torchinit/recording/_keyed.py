"""Fills a model's tensors from a key: piece by piece where the steps are elementwise, otherwise whole and then cut."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from torchinit import keyed
from torchinit._core.writes import Done, no_grad_copy_
from torchinit.keyed._fill import one_key
from torchinit.keyed._piece import place_
from torchinit.keyed._tiles import tiles
from torchinit.recipes._keyed_apply import KEYED
from torchinit.recording._boxes import Chain, chain_of
from torchinit.recording._keyed_draws import Draw, Step
from torchinit.recording._keyed_program import KeyedProgram, node
from torchinit.recording._pieces import Piece
from torchinit.recording._replay import Memory, States, run
from torchinit.recording._targets import Target

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
    found: dict[int, list[Target]] = {}
    for target in targets:
        if target.entry.ref.storage in needed:
            if not target.is_whole and target.entry.ref.storage in program.program.given:
                raise RuntimeError(
                    "a sharded tensor must not be computed from the whole of its earlier values, got"
                    f" {target.entry.name}; record how the model is built, or fill it before it is sharded"
                )
            found.setdefault(target.entry.ref.storage, []).append(target)
    return found


def _fill_wholes(
    program: KeyedProgram, wholes: Sequence[Target], starts: Mapping[int, list[Target]], key: Tensor
) -> None:
    """Compute tensors as a whole, in the program's order, and place what is this rank's."""
    numbers = sorted({n for target in wholes for n in program.feeds[target.entry.name]})
    nodes = {n: node(program.steps[n]) for n in numbers}
    touched = {n: {ref.storage for ref in (*nodes[n].made, *nodes[n].reads)} for n in numbers}
    last = {storage: n for n in numbers for storage in touched[n]}
    memory, states = Memory(program.program), States()
    keys = _draw_keys((nodes[n].step for n in numbers), key)
    due: dict[int, list[Target]] = {}
    for target in wholes:
        due.setdefault(max(program.feeds[target.entry.name], default=-1), []).append(target)
    for n in [-1, *numbers]:
        if n >= 0:
            _load_starts(memory, touched[n], starts)
            _run_whole(nodes[n].step, memory, states, keys)
        for target in due.get(n, ()):
            place_(list(target.boxes), memory.tensor(target.entry.ref))
        memory.drop(storage for storage in touched.get(n, ()) if last[storage] == n)


def _load_starts(memory: Memory, touched: set[int], starts: Mapping[int, list[Target]]) -> None:
    """Copy the values at the start to storages that are used for the first time."""
    for storage in touched & starts.keys() - memory.storages.keys():
        for target in starts[storage]:
            if target.is_whole:
                memory.tensor(target.entry.ref).copy_(target.tensor.detach())


def _run_whole(step: Step, memory: Memory, states: States, keys: Mapping[Draw, Tensor]) -> None:
    if isinstance(step, Draw):
        KEYED[step.initializer](memory.tensor(step.target), keys[step], **step.args)
    elif step.operation.is_state:
        states.apply(step.operation)
    else:
        own = step.operation.generator
        run(step.operation, memory, None if own is None else states.own[own])
