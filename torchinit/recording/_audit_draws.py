"""Finds draws that are wasted, draws that are copied, and values that torch does not decide."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from torchinit.recording._findings import FACT, FAULT, Finding, Group, Subject, listed
from torchinit.recording._program import Operation, Program, Ref

# Lines of code that throw away a smaller share of the draws are one finding.
_SHOWN = 0.05
_UNUSED = "no tensor of the model"


def _drawn_values(operation: Operation) -> int:
    return sum(ref.numel for ref in operation.made)


def dead_draws(subject: Subject) -> Iterator[Finding]:
    """Find draws that later writes end, by the line of those writes.

    Drawing takes nearly all of the time in which a model is initialized, and a value takes about as long in any tensor.
    """
    draws = [x for x in subject.program.operations if x.draws]
    total = sum(map(_drawn_values, draws))
    dead = [operation for operation in draws if operation not in subject.live]
    ends = _ends(subject.program)
    counts: Counter[str] = Counter()
    tensors: defaultdict[str, list[str]] = defaultdict(list)
    for operation in dead:
        end = ends.get(operation)
        names = [name for ref in operation.made for name in subject.names(ref.storage)]
        place = operation.place if end is None or not names else end.place
        counts[place] += _drawn_values(operation)
        tensors[place] += names or [_UNUSED]
    large = [place for place in counts if counts[place] >= _SHOWN * total]
    small = [place for place in counts if place not in large]
    for places in [[place] for place in sorted(large, key=lambda x: -counts[x])] + ([small] if small else []):
        count = sum(counts[place] for place in places)
        share = 100 * count / total
        written = f"{share:.1f}".removesuffix(".0") if share >= 0.1 else "less than 0.1"
        what = f"{count:,} values are drawn and thrown away, {written} % of all that are drawn"
        names = [name for place in places for name in tensors[place]]
        place = places[0] if len(places) == 1 else ""
        right = "build the layers with torch.nn.utils.skip_init, or fill the model by key, which draws only what stays"
        yield Finding("overwritten", FACT, listed(names), what, place, right)


def _ends(program: Program) -> dict[Operation, Operation]:
    """Return the operation that ends the values of each draw, by the draw."""
    current: defaultdict[int, list[Operation]] = defaultdict(list)
    found = {}
    for operation in program.operations:
        for storage in program.overwritten(operation):
            for draw in current.pop(storage, ()):
                found[draw] = operation
        if operation.random:
            for ref in operation.made:
                current[ref.storage].append(operation)
    return found


def copies(subject: Subject) -> Iterator[Finding]:
    """Find tensors that are copies of one draw, and not tied."""
    program = subject.program
    origin = _origins(program)
    names: defaultdict[int, list[str]] = defaultdict(list)
    for entry in program.entries:
        storage = entry.ref.storage
        if entry.tied is None and storage in program.drawn and storage in origin and program.covers(entry.ref):
            names[origin[storage]].append(entry.name)
    group = Group("copied")
    for copied in names.values():
        if len(copied) > 1:
            what = "they have equal values, since they are copies of one draw, and are not tied"
            group.add(copied, what, subject.place(copied[-1]), "build each layer anew if they are to differ", FACT)
    yield from group.findings()


def _origins(program: Program) -> dict[int, int]:
    """Return the number of the write that the values of each storage come from; copies have that of their source."""
    found: dict[int, int] = {}
    for number, operation in enumerate(program.operations):
        source = _copied(program, operation)
        for ref in operation.made:
            found[ref.storage] = number if source is None else found.get(source.storage, number)
    return found


def _copied(program: Program, operation: Operation) -> Ref | None:
    """Return the tensor that an operation copies as it is and as a whole, or None."""
    made, read = operation.made, operation.reads
    if operation.operator not in ("clone", "copy_", "_to_copy") or len(made) != 1 or len(read) != 1:
        return None
    same = (made[0].size, made[0].stride, made[0].dtype) == (read[0].size, read[0].stride, read[0].dtype)
    return read[0] if same and program.covers(made[0]) and program.covers(read[0]) else None


def from_outside(subject: Subject) -> Iterator[Finding]:
    """Find values that torch does not decide."""
    for use in subject.program.outside:
        if use.kind == "file":
            yield Finding("outside", FACT, "", f"reads the file {use.what}", use.place, use.right)
        else:
            what = f"{use.what} gives other values each time the model is built"
            yield Finding("outside", FAULT, "", what, use.place, use.right)


def differences(subject: Subject, again: Program) -> Iterator[Finding]:
    """Find tensors that two recordings of the same code fill in different ways."""
    old, new = _digests(subject.program), _digests(again)
    group = Group("outside")
    for name in [*old, *(name for name in new if name not in old)]:
        if old.get(name) != new.get(name):
            what = "two recordings of the same code fill it in different ways"
            right = "take no number from the clock, the system or another generator; draw with torch"
            group.add([name], what, subject.place(name), right)
    yield from group.findings()


def _digests(program: Program) -> dict[str, bytes]:
    """Return a digest of all that the values of each tensor follow from, but the draws."""
    values = {number: _digest(bytes(x.numpy())) for number, x in program.constants.items()}
    seeds: dict[int | None, Any] = {}

    def described(ref: Ref) -> Any:
        return (str(ref.dtype), ref.size, ref.stride, ref.offset, values.get(ref.storage))

    for operation in program.operations:
        if operation.is_state:
            seeds[operation.generator] = (operation.name, operation.args)
            continue
        ended = program.overwritten(operation)
        given = operation.given(described)
        seed = seeds.get(operation.generator) if operation.random else None
        for index, ref in enumerate(operation.made):
            before = None if ref.storage in ended else values.get(ref.storage)
            values[ref.storage] = _digest(repr((operation.name, given, seed, index, before)).encode())
    return {
        entry.name: _digest(repr((entry.ref.size, entry.ref.offset, values.get(entry.ref.storage))).encode())
        for entry in program.entries
    }


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()
