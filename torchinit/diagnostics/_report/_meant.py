"""What a recipe or a recording means each parameter to be, to show and to compare with what it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from torchinit import keyed
from torchinit._core.groups import grouped
from torchinit._core.table import Cell
from torchinit.diagnostics._parameters import module_of
from torchinit.diagnostics._report._density import DRAWN, Law, drawn, mixed
from torchinit.diagnostics._report._html import counted
from torchinit.recipes import Recipe
from torchinit.recipes._expected import mixed_moments
from torchinit.recipes._fill import Fill
from torchinit.recipes._plan import fills_of
from torchinit.recipes._rule import KEEP
from torchinit.recording import Recording
from torchinit.recording._describe import Described, Description
from torchinit.recording._program import Entry
from torchinit.recording._recipe import Laws
from torchinit.recording._targets import match


@dataclass(frozen=True)
class Meant:
    """What a parameter is meant to be.

    Attributes:
        words: the initializer, as the plan or the recording says it
        mean: the mean to expect; None if it is not known
        std: the standard deviation, likewise
        fills: the plain fills that write it; none if no rule can say it
        draw: returns it drawn anew, or None if no key draws it; None if it is too large
    """

    words: str
    mean: float | None = None
    std: float | None = None
    fills: tuple[Fill, ...] = ()
    draw: Callable[[], Tensor | None] | None = field(default=None, compare=False)

    def law(self, shape: Sequence[int], dtype: torch.dtype) -> Law | None:
        """Return the law of a parameter of this shape and type; None if there is no way to know it."""
        if self.fills:
            return mixed(self.fills, shape, dtype)
        values = None if self.draw is None else self.draw()
        return None if values is None else drawn(values)


@dataclass(frozen=True)
class Intent:
    """What all parameters are meant to be.

    Attributes:
        source: the recipe or the recording, in words
        of: what each parameter is meant to be, by name; without those that are kept as they are
        columns: heads of the table that says it
        lines: its rows, repeated layers as one
        note: a sentence below the table
    """

    source: str
    of: Mapping[str, Meant]
    columns: list[str]
    lines: list[list[Cell]]
    note: str = ""


def of_recipe(model: nn.Module, recipe: Recipe) -> Intent:
    """Say what a recipe does to a model.

    Raises:
        RecipeError: if a rule does not fit a parameter
    """
    plan = recipe.plan(model)
    fills, found = fills_of(plan.steps), {}
    for row in plan.rows:
        if row.std is not None and row.mean is not None:
            # A parametrization changes what a rule draws.
            written = () if row.initializer.endswith(")") else tuple(fills.get(row.name, ()))
            found[row.name] = Meant(row.initializer, row.mean, row.std, written)
    keys = [(row.name, (row.shape, row.module, row.rule, row.initializer, row.mean, row.std)) for row in plan.rows]
    lines: list[list[Cell]] = []
    for group in grouped(keys):
        row, name = plan.rows[group.members[0]], counted(group.name, len(group.members))
        lines.append([name, row.module, row.shape, row.initializer, row.mean, row.std, row.rule])
    kept = sum(row.initializer == KEEP for row in plan.rows)
    note = f"{kept} of {len(plan.rows)} tensors have no rule, or one that keeps them as they are." if kept else ""
    columns = ["tensor", "layer", "shape", "initializer", "mean", "std", "rule"]
    return Intent(f"the recipe {recipe.name}".rstrip(), found, columns, lines, note)


def of_recording(model: nn.Module, recording: Recording) -> Intent:
    """Say what a recording does to a model.

    Raises:
        ValueError: if the recording is of another model
    """
    try:
        pairs = match(recording.program.entries, model, strict=False)
    except ValueError as error:
        raise ValueError(f"report() takes a recording of the same model: {error}") from None
    if recording.program.entries and not pairs and any(True for _ in model.parameters()):
        raise ValueError("report() takes a recording of the same model, got one with none of its names")
    description, laws = Description(recording.program), Laws(recording.keyed_program, None)
    known = {x.entry.name: x for x in description.tensors}
    found = {entry.name: _recorded(recording, laws, known[entry.name]) for entry, _ in pairs}
    lines: list[list[Cell]] = []
    for line in description.rows:
        first, name = line.members[0], counted(line.group.name, len(line.members))
        lines.append([name, first.shape(description.usual_dtype), line.words, first.overwritten_words])
    columns = ["tensor", "shape", "filled by", "overwritten"]
    if not any(line[-1] for line in lines):
        columns, lines = columns[:-1], [line[:-1] for line in lines]
    return Intent("the recorded code", found, columns, lines, f"{description.summary}.")


def _recorded(recording: Recording, laws: Laws, x: Described) -> Meant:
    entry = x.entry
    fills = () if x.relation in ("as", "view of") else tuple(laws.fills(entry))
    mean, std = mixed_moments(fills, entry.ref.size, entry.ref.dtype.is_complex) or (None, None)
    is_small = not fills and 0 < entry.ref.numel <= DRAWN and x.relation != "as"
    return Meant(x.words(), mean, std, fills, (lambda: _drawn(recording, entry)) if is_small else None)


def _drawn(recording: Recording, entry: Entry) -> Tensor | None:
    """Draw one tensor of a recording, by key, since that needs no other; None if a key cannot."""
    alone = Recording(replace(recording.program, entries=(entry,)))
    empty = torch.zeros(entry.ref.size, dtype=entry.ref.dtype, device="cpu")
    try:
        alone.keyed_program.check()
    except RuntimeError:
        return None
    filled: nn.Module = alone.materialize_(module_of({entry.name: nn.Parameter(empty, False)}), key=keyed.key(0))
    return next(filled.parameters())
