"""What a recipe or a recording means each parameter to be, to show and to compare with what it is."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import nn

from torchinit._core.groups import grouped
from torchinit._core.table import Cell, counted
from torchinit._core.wrappers import plain_names
from torchinit.diagnostics._compare import compare
from torchinit.diagnostics._fills import Filled, density_of, of_plan, of_recording
from torchinit.diagnostics._laws import Cdf
from torchinit.diagnostics._pairs import OTHER_DTYPE
from torchinit.diagnostics._report._html import repeated
from torchinit.recipes import Plan, Recipe
from torchinit.recipes._expected import mixed_moments
from torchinit.recipes._rule import KEEP
from torchinit.recording import Recording
from torchinit.recording._describe import Description
from torchinit.recording._targets import match

# A plan and a recording have both; the statistics of a report are those of parameters.
_TENSOR, _TENSORS = "parameter or buffer", "parameters and buffers"

Progress = Callable[[str, str, int], object]


@dataclass(frozen=True)
class Meant:
    """What a parameter is meant to be.

    Attributes:
        words: the initializer, as the plan or the recording says it
        mean: the mean to expect; None if it is not known
        std: the standard deviation, likewise
        filled: what fills it
        agrees: whether its values are that; None if it cannot be told
    """

    words: str
    mean: float | None
    std: float | None
    filled: Filled = field(compare=False)
    agrees: bool | None

    @cached_property
    def cdf(self) -> Cdf | None:
        """The distribution function to expect; None if there is no way to know it."""
        return density_of(self.filled)


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


def _meant(
    model: nn.Module, by: Plan | Recording, words: Mapping[str, str], progress: Progress | None
) -> dict[str, Meant]:
    """Compare the parameters of a model with what fills them."""
    filled, tied = of_plan(by) if isinstance(by, Plan) else of_recording(by)
    others = {row.name for row in compare(model, by, progress=progress) if row.what != OTHER_DTYPE}
    plain, found = plain_names(model), {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        own = plain.get(name, name)
        each = filled.get(tied.get(own, own))
        if each is not None and each.draw is not None:
            is_complex = each.dtype is not None and each.dtype.is_complex
            mean, std = mixed_moments(each.fills or (), each.shape, is_complex) or (None, None)
            agrees = None if parameter.is_meta or parameter.numel() == 0 else own not in others
            found[name] = Meant(words.get(own, each.words), mean, std, each, agrees)
    return found


def by_recipe(model: nn.Module, recipe: Recipe, progress: Progress | None) -> Intent:
    """Say what a recipe does to a model.

    Raises:
        RecipeError: if a rule does not fit a parameter
    """
    plan = recipe.plan(model)
    keys = [(row.name, (row.shape, row.module, row.rule, row.initializer, row.mean, row.std)) for row in plan.rows]
    lines: list[list[Cell]] = []
    for group in grouped(keys):
        row, name = plan.rows[group.members[0]], repeated(group.name, len(group.members))
        lines.append([name, row.module, row.shape, row.initializer, row.mean, row.std, row.rule])
    kept, total = sum(row.initializer == KEEP for row in plan.rows), counted(len(plan.rows), _TENSOR, _TENSORS)
    note = f"{kept} of {total} have no rule, or one that keeps them as they are." if kept else ""
    columns = ["tensor", "layer", "shape", "initializer", "mean", "std", "rule"]
    found, called = _meant(model, plan, {}, progress), {row.name: row.initializer for row in plan.rows}
    for own, each in found.items():
        # xavier_uniform_: uniform_(-0.15, 0.15)
        if own in called and not each.words.startswith(called[own]):
            found[own] = replace(each, words=f"{called[own]}: {each.words}")
    return Intent(f"the recipe {recipe.name}".rstrip(), found, columns, lines, note)


def by_recording(model: nn.Module, recording: Recording, progress: Progress | None) -> Intent:
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
    description = Description(recording.program)
    lines: list[list[Cell]] = []
    for group, members in description.groups(description.rows):
        _, shape, filled_by, _ = description.together(members)
        lines.append([repeated(group.name, len(members)), shape, filled_by, members[0].overwritten_words])
    columns = ["tensor", "shape", "filled by", "overwritten"]
    if not any(line[-1] for line in lines):
        columns, lines = columns[:-1], [line[:-1] for line in lines]
    words = {x.entry.name: x.words() for x in description}
    kinds = Counter(x.entry.kind for x in description if x.entry.tied is None)
    told = " and ".join(counted(count, kind) for kind, count in kinds.items())
    note = f"{told}: {description.summary}." if told else ""
    return Intent("the recorded code", _meant(model, recording, words, progress), columns, lines, note)
