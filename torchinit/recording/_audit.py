"""Audits a recording: what people cannot see in a model's initialization."""

from collections.abc import Callable

from torch import nn

from torchinit.recording._audit_calls import wrong_fans, wrong_laws
from torchinit.recording._audit_draws import copies, dead_draws, differences, from_outside
from torchinit.recording._audit_memory import lost, unwritten
from torchinit.recording._findings import FAULT, Finding, Findings, Subject
from torchinit.recording._program import Program

Record = Callable[[Callable[[], nn.Module]], Program]


def audit(program: Program, skeleton: nn.Module | None, again: Program | None, record: Record) -> Findings:
    """Return all findings of a program, faults first.

    Args:
        program: what fills the model's tensors
        skeleton: the model with fake tensors; without it, what ``to_empty()`` loses is not looked for
        again: another recording's program of the same code, or None
        record: returns the program of a callable that returns a model
    """
    subject = Subject(program)
    found: list[Finding] = [*unwritten(subject), *wrong_laws(subject), *wrong_fans(subject), *from_outside(subject)]
    if again is not None:
        found += differences(subject, again)
    if skeleton is not None:
        found += lost(subject, skeleton, record)
    found += [*copies(subject), *dead_draws(subject)]
    return Findings(sorted(found, key=lambda finding: finding.severity != FAULT))
