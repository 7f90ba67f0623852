"""Makes the report of a model."""

import copy
import html
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torchinit import keyed
from torchinit._core.output_file import check_target, write_whole
from torchinit.diagnostics._parameters import module_of
from torchinit.diagnostics._preview import with_rest_kept
from torchinit.diagnostics._report._facts import Facts, timed
from torchinit.diagnostics._report._kinds import kinds
from torchinit.diagnostics._report._meant import by_recipe, by_recording
from torchinit.diagnostics._report._page import page
from torchinit.diagnostics._report._summary import judged
from torchinit.diagnostics._signal import Signal, signal
from torchinit.diagnostics._statistics import Statistics, statistics
from torchinit.recipes import Recipe
from torchinit.recording import Recording


class Report:
    """A page about how a model is initialized; :func:`report` makes it. A notebook shows it.

    Attributes:
        html: the page, one file without a script and without anything from elsewhere
        summary: what it says first, in a sentence or a few
        statistics: the rows of :func:`statistics` that it shows
        signal: the rows of :func:`signal`; None if it was made without inputs

    Examples:
        >>> print(torchinit.diagnostics.report(torch.nn.Linear(64, 64)))
        Nothing is wrong with this initialization, as far as it was measured.
    """

    def __init__(self, html: str, summary: str, statistics: Statistics, signal: Signal | None) -> None:
        self.html, self.summary, self.statistics, self.signal = html, summary, statistics, signal

    def __repr__(self) -> str:
        return f"<Report of {self.statistics.summary}>"

    def __str__(self) -> str:
        return self.summary

    def _repr_html_(self) -> str:
        # A frame keeps its style apart from that of the notebook.
        style = "width:100%;height:80vh;border:0"
        return f'<iframe srcdoc="{html.escape(self.html)}" title="Initialization report" style="{style}"></iframe>'

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the page to a file.

        Args:
            path: the file to write; it is written whole or not at all
            overwrite: whether to overwrite a file that exists

        Raises:
            FileExistsError: if the file exists and ``overwrite`` is not set
            OSError: if the file cannot be written; an existing file is still whole
        """
        check_target(path, overwrite)
        write_whole(path, self.html.encode())


def _times(model: nn.Module, by: Recipe | Recording | None) -> dict[str, float]:
    """Measure how long it takes to draw a copy of a model."""
    if by is None or any(x.is_meta for x in model.parameters()):
        return {}
    other = copy.deepcopy(model)
    draw: Callable[..., object] = by.apply_ if isinstance(by, Recipe) else partial(by.materialize_, strict=False)
    device = next((x.device for x in model.parameters()), torch.device("cpu"))
    generator = torch.Generator(device if isinstance(by, Recipe) else "cpu").manual_seed(0)
    return {
        "in order, from a seed": timed(lambda: draw(other, generator=generator)),
        "by key": timed(lambda: draw(other, key=keyed.key(0))),
    }


def report(
    model: nn.Module | Mapping[str, Any],
    recipe: Recipe | None = None,
    recording: Recording | None = None,
    inputs: Any = None,
    *,
    title: str = "",
    generator: torch.Generator | None = None,
    measure_time: bool = False,
    date: str = "",
    progress: Callable[[str, str, int], object] | None = None,
) -> Report:
    """Make a page that says whether a model's initialization is any good, to look at and to show around.

    It has what is marked and what to do about it, what the recipe or the recording means each tensor to be, histograms
    with the density to expect, the scale of the signal layer by layer, overwritten draws, and the memory. Parameters of
    repeated layers are shown as one. The page is one file of HTML, light or dark, for screens of any width and for
    paper. Equal arguments give equal bytes, but for the times.

    Args:
        model: a module (eager, scripted, traced or loaded) or its state dict; it is left as it is
        recipe: what the model is meant to be
        recording: the same, if there is no recipe; it also tells which draws are overwritten
        inputs: the argument of the module's forward, or a sequence of them, to measure the signal (default: no signal)
        title: the heading (default: the name of the module's type)
        generator: draws the noise, see :func:`signal`; None for one with seed 0
        measure_time: whether to measure how long the recipe or the recording takes to draw a copy of the model
        date: a date to show (default: none)
        progress: called at each step with what is done, the name of a parameter or layer, and the number of steps

    Returns:
        the report, whose ``html`` is the page and whose ``save`` writes it

    Raises:
        ValueError: if the recording is of another model, a state dict has a name that is not dotted or a value that is
            not a tensor, or there are inputs for a state dict
        RecipeError: if a rule does not fit a parameter
        RuntimeError: if the module cannot be run forward and backward

    Examples:
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
        >>> page = torchinit.diagnostics.report(model, torchinit.recipes.xavier(), inputs=torch.randn(8, 64))
        >>> page
        <Report of 4 tensors, 19,210 values, 0 marked>
        >>> print(page)
        4 tensors are not as the recipe xavier says.
        >>> "xavier_uniform_" in page.html
        True
    """
    is_module = isinstance(model, nn.Module)
    if inputs is not None and not is_module:
        raise ValueError("report() measures the signal of a module, got inputs for a state dict")
    module: nn.Module = model if isinstance(model, nn.Module) else module_of(model)
    whole = None if recipe is None else with_rest_kept(recipe)
    recorded = None if recording is None else by_recording(module, recording, progress)
    intent = recorded if whole is None else by_recipe(module, whole, progress)
    rows = statistics(model, progress)
    probed = None
    if inputs is not None:
        given: Sequence[Any] = [inputs] if isinstance(inputs, Tensor) else inputs
        probed = signal(module, *given, generator=generator, progress=progress)
    facts = Facts(
        title=title or (type(module).__name__ if is_module else "State dict"),
        model=module,
        rows=rows,
        kinds=kinds(rows, rows.tensors, None if intent is None else intent.of),
        intent=intent,
        recorded=recorded,
        findings=[] if recording is None else recording.audit(),
        signal=probed,
        seconds=_times(module, whole or recording) if measure_time else {},
        date=date,
    )
    return Report(page(facts), " ".join(judged(facts)), rows, probed)
