"""Runs the steps of a recipe in order, drawing from a generator."""

from collections.abc import Sequence

import torch
from torch import Tensor

from torchinit._core.writes import Done, ignore, no_grad_copy_
from torchinit.recipes._draws import Draws, kept_generators
from torchinit.recipes._fill import write
from torchinit.recipes._steps import Step


def write_in_order(steps: Sequence[Step], generator: torch.Generator | None, done: Done) -> None:
    """Run the steps, and call ``done`` after each; raise before the first write if a parametrization refuses a draw."""
    doubtful = [index for index, step in enumerate(steps) if step.through is not None and step.through.can_fail]
    if doubtful:
        with kept_generators([step.tensor.device for step in steps], generator):
            _run(steps[: doubtful[-1] + 1], generator, ignore, rehearsal=True)
    _run(steps, generator, done, rehearsal=False)


def _run(steps: Sequence[Step], generator: torch.Generator | None, done: Done, rehearsal: bool) -> None:
    """Run steps; a rehearsal writes to copies, of which it keeps those that later steps read."""
    own = {step.target for step in steps if step.through is not None}
    read = own | {step.source for step in steps if step.source is not None}
    tensors: dict[str, Tensor] = {}
    for step in steps:
        if step.through is not None:
            solution = step.through.solve(tensors[step.source or step.target], Draws(generator))
            if not rehearsal:
                solution.write()
                step.through.finish()
            done(step.target, step.tensor)
            continue
        target = torch.empty_like(step.tensor) if rehearsal and step.target not in own else step.tensor
        if step.source is None:
            write(target, step.fills, generator)
        else:
            no_grad_copy_(target, tensors[step.source])
        if step.target in read:
            tensors[step.target] = target
        done(step.target, target)
