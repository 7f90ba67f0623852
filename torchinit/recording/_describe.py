"""The description of a recording: what fills each tensor of a model, as text, HTML and JSON."""

import json
import math
import shutil
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch.utils._pytree import tree_map

from torchinit._core.groups import Group, grouped
from torchinit._core.table import fitted, html_table, text
from torchinit.recording._program import Entry, Program, Ref
from torchinit.recording._regions import box_of, index_text
from torchinit.recording._terms import filling, owner
from torchinit.recording._values import Value, Values, draws_of
from torchinit.recording._words import parts, words

_COLUMNS = ("tensor", "", "shape", "filled by")

# Where whole names leave less than this to the words, the names of repeated layers are shared.
_ENOUGH = 40


@dataclass(frozen=True)
class Described:
    """What fills one tensor.

    Args:
        entry: the tensor
        value: what it holds in the end
        relation: ``"as"`` for a tied tensor, ``"copy of"`` or ``"view of"`` another; empty if it is none of these
        source: name of the other tensor
        index: which part of the other tensor it is
        overwritten: draws of which nothing is left
    """

    entry: Entry
    value: Value
    relation: str = ""
    source: str = ""
    index: str = ""
    overwritten: tuple[Value, ...] = ()

    @property
    def own(self) -> str:
        """How it is filled, in words, whatever other tensor it comes from."""
        return words(self.value, self.entry.ref.numel) if self.entry.ref.numel else "empty"

    @property
    def kind(self) -> str:
        """``"parameter"``, ``"buffer"`` or ``"non-persistent buffer"``."""
        return self.entry.kind if self.entry.persistent else f"non-persistent {self.entry.kind}"

    def filled_by(self, source: str | None = None) -> str:
        """Say what fills it; ``source`` names the other tensors of a group."""
        return f"{self.relation} {source or self.source}{self.index}" if self.relation else self.own

    def words(self, source: str | None = None) -> str:
        """Say what fills it, with its kind if it is a buffer."""
        return ("" if self.entry.kind == "parameter" else f"{self.kind}: ") + self.filled_by(source)

    @property
    def overwritten_words(self) -> str:
        """The draws of which nothing is left, in words."""
        counts = Counter(words(value, self.entry.ref.numel) for value in self.overwritten)
        return ", ".join(f"{draw} {count} times" if count > 1 else draw for draw, count in counts.items())

    @property
    def is_table(self) -> bool:
        """True if it holds different numbers, none of them drawn."""
        computed = [
            step for step in self.value.steps() if step.kind in ("operator", "constant") and filling(step) is None
        ]
        return not self.relation and not self.value.drawn and bool(computed) and self.entry.ref.numel > 0

    def shape(self, usual: str) -> str:
        """Write the shape, and the dtype if it is not the usual one."""
        dtype = dtype_of(self.entry.ref)
        return text(self.entry.ref.size) + (f" {dtype}" if dtype != usual else "")


def dtype_of(ref: Ref) -> str:
    """Return the name of a dtype."""
    return str(ref.dtype).removeprefix("torch.")


def describe(program: Program, values: Values) -> list[Described]:
    """Describe the parameters and buffers of a program, in the model's order."""
    owners: dict[int, Entry] = {}
    for entry in program.entries:
        known = owners.setdefault(entry.ref.storage, entry)
        if entry.ref.numel > known.ref.numel:
            owners[entry.ref.storage] = entry
    first: dict[tuple[int, int], str] = {}
    told: set[int] = set()
    found = []
    for entry in program.entries:
        value, whole = values.of(entry), owners[entry.ref.storage]
        relation = source = index = ""
        box = box_of(whole.ref, entry.ref)
        if entry.tied is not None:
            relation, source = "as", entry.tied
        elif whole.name != entry.name and box is not None and entry.ref.numel:
            relation, source, index = "view of", whole.name, index_text(whole.ref, box)
        elif value.drawn:
            source = first.setdefault((id(value), entry.ref.numel), entry.name)
            relation, source = ("copy of", source) if source != entry.name else ("", "")
        ended = [] if relation in ("as", "view of") else values.overwritten(entry)
        # A deep copy does not count again what its source overwrote.
        overwritten = tuple(each for each in ended if relation != "copy of" or id(each) not in told)
        told |= {id(each) for each in overwritten}
        found.append(Described(entry, value, relation, source, index, overwritten))
    return found


@dataclass(frozen=True)
class Row:
    """A line of the table: one tensor, or those of repeated layers.

    Args:
        group: the names
        members: the tensors
        words: what fills them
    """

    group: Group
    members: tuple[Described, ...]
    words: str

    @property
    def count(self) -> str:
        """How many tensors it stands for; empty for one."""
        return f"x{len(self.members)}" if len(self.members) > 1 else ""


def _relative(source: str, name: str) -> tuple[str, ...]:
    """Return a name with a mark for each number that another name has at the same place."""
    own = [*name.split("."), *[""] * source.count(".")]
    return tuple("#" if a == b and a.isdecimal() else a for a, b in zip(source.split("."), own))


def rows(tensors: Sequence[Described]) -> list[Row]:
    """Group the tensors of repeated layers that have equal shapes and words."""
    keys = [
        (x.entry.name, (x.shape(""), x.words("#"), _relative(x.source, x.entry.name), x.overwritten_words))
        for x in tensors
    ]
    found = []
    for group in grouped(keys):
        members = tuple(tensors[index] for index in group.members)
        sources = [each.name for each in grouped([(x, None) for x in dict.fromkeys(x.source for x in members)])]
        found.append(Row(group, members, members[0].words(", ".join(sources))))
    return found


def _under_heads(found: Sequence[Row], cells: Sequence[list[str]]) -> list[list[str]]:
    """Write the common beginning of the names of repeated layers once, in a line above theirs."""
    heads: dict[str, list[tuple[Row, list[str]]]] = {}
    for row, line in zip(found, cells):
        heads.setdefault(row.group.layers or row.group.name, []).append((row, line))
    lines = []
    for head, members in heads.items():
        if len(members) > 1:
            lines.append([f"{head}  {members[0][0].count}", "", "", ""])
        for row, line in members:
            lines.append(line if len(members) == 1 else [f"  {row.group.name[len(head) :]}", "", *line[2:]])
    return lines


class Description:
    """What fills each tensor of a model.

    Args:
        program: the program of a recording
    """

    def __init__(self, program: Program) -> None:
        values = Values(program)
        self.tensors = describe(program, values)
        self.usual_dtype = Counter([dtype_of(entry.ref) for entry in program.entries] or ["float32"]).most_common(1)[0][
            0
        ]
        self._draws = {id(draw) for draw in values.draws}

    @cached_property
    def rows(self) -> list[Row]:
        """The lines of the table."""
        return rows(self.tensors)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many tensors, values in them, draws and so on there are.

        A draw is a call of an initializer or of an operator that draws; one is dropped if its tensor is not the model's.
        """
        tensors = [x for x in self.tensors if x.relation != "as"]
        live = {id(draw) for draw in draws_of([x.value for x in tensors])}
        ended = {id(draw) for draw in draws_of([value for x in tensors for value in x.overwritten])} - live
        return {
            "tensors": len(tensors),
            "values": sum(x.entry.ref.numel for x in tensors if x.relation != "view of"),
            "draws": len(self._draws),
            "overwritten": len(ended),
            "dropped": len(self._draws - live - ended),
            "tables": sum(x.is_table for x in tensors),
            "tied": len(self.tensors) - len(tensors),
            "copies": sum(x.relation == "copy of" for x in tensors),
            "views": sum(x.relation == "view of" for x in tensors),
            "never written": sum(
                any(y.kind == "unwritten" for y in x.value.steps()) for x in tensors if x.entry.ref.numel
            ),
        }

    @property
    def summary(self) -> str:
        """The counts in words, without what there is none of."""
        told = []
        for what, count in self.counts.items():
            if count or what in ("tensors", "values"):
                plural = what if count != 1 or not what.endswith("s") else _SINGULAR[what]
                told.append(f"{rounded(count)} {plural}")
        return ", ".join(told)

    def text(self, width: int | None = None) -> str:
        """Write the table in lines of at most ``width`` characters, at least 40; the terminal's by default."""
        width = max(width or shutil.get_terminal_size().columns, 40)
        notes: dict[str, int] = {}
        cells = []
        for row in self.rows:
            note = row.members[0].overwritten_words
            mark = f" [{notes.setdefault(note, len(notes) + 1)}]" if note else ""
            cells.append([row.group.name, row.count, row.members[0].shape(self.usual_dtype), row.words + mark])
        *others, longest = (max(map(len, column)) for column in zip(_COLUMNS, *cells))
        if width - sum(others) - 2 * len(others) < min(longest, _ENOUGH):
            cells = _under_heads(self.rows, cells)
        lines = [fitted(_COLUMNS, cells, [3], width), ""]
        for note, index in notes.items():
            lines.append(textwrap.fill(f"[{index}] overwritten: {note}", width, subsequent_indent="    "))
        return "\n".join([*lines, textwrap.fill(self.summary, width)])

    def html(self) -> str:
        """Write the table as HTML."""
        cells = [
            [x.group.name, x.count, x.members[0].shape(self.usual_dtype), x.words, x.members[0].overwritten_words]
            for x in self.rows
        ]
        return html_table((*_COLUMNS, "overwritten"), cells, self.summary)

    def to_json(self) -> str:
        """Write the description as JSON; :meth:`torchinit.recording.Recording.to_json` lists the keys."""
        counts = {name.replace(" ", "_"): count for name, count in self.counts.items()}
        return json.dumps(
            {"version": 1, "summary": counts, "tensors": [_tensor_json(x) for x in self.tensors]},
            indent=2,
            allow_nan=False,
        )


def _tensor_json(x: Described) -> dict[str, Any]:
    entry = x.entry
    return {
        "name": entry.name,
        "shape": list(entry.ref.size),
        "dtype": dtype_of(entry.ref),
        "kind": entry.kind,
        "persistent": entry.persistent,
        "module": entry.module,
        "words": x.words(),
        "writes": [_write_json(value, place, x) for place, value in parts(x.value)] if x.relation != "as" else [],
        "overwritten": [_write_json(value, "", x) for value in x.overwritten],
        **{key: x.source + x.index if x.relation == relation else None for key, relation in _RELATIONS.items()},
    }


_RELATIONS = {"tied": "as", "copy_of": "copy of", "view_of": "view of"}


def _write_json(value: Value, place: str, x: Described) -> dict[str, Any]:
    steps = value.steps()
    numbers = {id(step): index for index, step in enumerate(steps)}
    return {
        "part": place or None,
        "words": words(value, x.entry.ref.numel),
        "draws": value.drawn,
        "steps": [{**_step_json(step, numbers), "place": step.operation and step.operation.place} for step in steps],
    }


def _step_json(step: Value, numbers: Mapping[int, int]) -> dict[str, Any]:
    def plain(x: Any) -> Any:
        if isinstance(x, Value):
            return {"step": numbers[id(x)]}
        if isinstance(x, float) and not math.isfinite(x):
            return str(x)
        return x if isinstance(x, (bool, int, float, str, type(None))) else str(x)

    if step.call is not None:
        args = {name: plain(x) for name, x in step.call.args.items()}
        return {"function": step.call.function, "package": owner(step.call) or "torch", "args": args}
    if step.operation is not None:
        args, kwargs = tree_map(plain, step.arguments)
        seed = {} if step.seed is None else {"seed": step.seed}
        return {"operator": step.operation.name, "args": args, "kwargs": kwargs, **seed}
    if step.tensor is not None:
        values = step.tensor.tolist() if step.tensor.numel() <= 4 else None
        return {"constant": tree_map(plain, values), "numel": step.tensor.numel()}
    return {step.kind.replace(" ", "_"): tree_map(plain, list(step.inputs))}


_SINGULAR = {"copies": "copy", **{f"{each}s": each for each in ("tensor", "value", "draw", "table", "view")}}


def rounded(count: int) -> str:
    """Write a count, a large one to 4 digits."""
    for unit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if count >= unit:
            return f"{count / unit:.4g} {letter}"
    return f"{count:,}"
