"""The description of a recording: what fills each tensor of a model, as text, HTML and JSON."""

import json
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch.utils._pytree import tree_map

from torchinit._core.groups import together
from torchinit._core.rows import Rows
from torchinit._core.table import Cell, counted, dtype_name, text
from torchinit.recording._program import Entry, Program
from torchinit.recording._regions import box_of, index_text
from torchinit.recording._values import Value, Values, draws_of
from torchinit.recording._words import filling, owner, parts, words


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

    @property
    def is_unwritten(self) -> bool:
        """True if a part of it holds memory as it came."""
        return self.entry.ref.numel > 0 and any(step.kind == "unwritten" for step in self.value.steps())

    def shape(self, usual: str) -> str:
        """Write the shape, and the dtype if it is not the usual one."""
        dtype = dtype_name(self.entry.ref.dtype)
        return text(self.entry.ref.size) + (f" {dtype}" if dtype != usual else "")


def describe(values: Values) -> list[Described]:
    """Describe the parameters and buffers of a program, in the model's order."""
    owners: dict[int, Entry] = {}
    for entry in values.program.entries:
        known = owners.setdefault(entry.ref.storage, entry)
        if entry.ref.numel > known.ref.numel:
            owners[entry.ref.storage] = entry
    first: dict[tuple[int, int], str] = {}
    told: set[int] = set()
    found = []
    for entry in values.program.entries:
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


def _relative(source: str, name: str) -> tuple[str, ...]:
    """Return a name with a mark for each number that another name has at the same place."""
    own = [*name.split("."), *[""] * source.count(".")]
    return tuple("#" if a == b and a.isdecimal() else a for a, b in zip(source.split("."), own))


class Description(Rows[Described]):
    """What fills each tensor of a model.

    Args:
        program: the program of a recording
    """

    columns = ("tensor", "shape", "filled by", "overwritten")
    words = ("filled by",)
    least = ("shape",)
    noted = "overwritten"

    def __init__(self, program: Program) -> None:
        values = Values(program)
        super().__init__(describe(values))
        dtypes = Counter([dtype_name(entry.ref.dtype) for entry in program.entries] or ["float32"])
        self.usual_dtype = dtypes.most_common(1)[0][0]
        self._draws = {id(draw) for draw in values.draws}

    def cells(self, row: Described) -> list[Cell]:
        return [row.entry.name, row.shape(self.usual_dtype), row.words(), row.overwritten_words or None]

    def is_marked(self, row: Described) -> bool:
        return row.is_unwritten

    def key(self, row: Described) -> Hashable:
        return row.shape(""), row.words("#"), _relative(row.source, row.entry.name), row.overwritten_words

    def together(self, rows: Sequence[Described]) -> list[str]:
        """Name the other tensors of repeated layers as one."""
        sources = together(x.source for x in rows)
        first = rows[0]
        name, shape = first.entry.name, first.shape(self.usual_dtype)
        return [name, shape, first.words(", ".join(sources)), first.overwritten_words or "-"]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many tensors, values in them, draws and so on there are.

        A draw is a call of an initializer or of an operator that draws; one is dropped if its tensor is not the model's.
        """
        tensors = [x for x in self if x.relation != "as"]
        live = {id(draw) for draw in draws_of([x.value for x in tensors])}
        ended = {id(draw) for draw in draws_of([value for x in tensors for value in x.overwritten])} - live
        return {
            "tensors": len(tensors),
            "values": sum(x.entry.ref.numel for x in tensors if x.relation != "view of"),
            "draws": len(self._draws),
            "overwritten": len(ended),
            "dropped": len(self._draws - live - ended),
            "tables": sum(x.is_table for x in tensors),
            "tied": len(self) - len(tensors),
            "copies": sum(x.relation == "copy of" for x in tensors),
            "views": sum(x.relation == "view of" for x in tensors),
            "never written": sum(x.is_unwritten for x in tensors),
        }

    @property
    def summary(self) -> str:
        """The counts in words, without what there is none of."""
        shown = [(what, n) for what, n in self.counts.items() if n or what in ("tensors", "values")]
        return ", ".join(counted(n, _SINGULAR.get(what, what), what) for what, n in shown)

    def to_json(self, bad: bool = False) -> str:
        """Write the description as JSON; :meth:`torchinit.recording.Recording.to_json` lists the keys."""
        counts = {name.replace(" ", "_"): count for name, count in self.counts.items()}
        return json.dumps(
            {
                "version": 1,
                "summary": counts,
                "tensors": [_tensor_json(x) for x in self if not bad or self.is_marked(x)],
            },
            indent=2,
            allow_nan=False,
        )


def _tensor_json(x: Described) -> dict[str, Any]:
    entry = x.entry
    return {
        "name": entry.name,
        "shape": list(entry.ref.size),
        "dtype": dtype_name(entry.ref.dtype),
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
