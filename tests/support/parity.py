"""A case compared with the oracle, and the known differences as data."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tests.support.layouts import COMPLEX, INTEGER, LAYOUTS
from tests.support.oracle import oracle
from tests.support.outcome import Outcome, observe
from tests.support.record import Record


@dataclass(frozen=True)
class Case:
    """A call on a tensor of a shape, dtype and layout."""

    record: Record
    layout: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    arguments: dict[str, Any]
    with_generator: bool

    @property
    def name(self) -> str:
        return self.record.current_name

    @property
    def has_values(self) -> bool:
        """True if there are values to write."""
        return self.layout != "meta" and math.prod(self.shape) > 0

    def outcome(self, function: Callable[..., Any]) -> Outcome:
        tensor = LAYOUTS[self.layout](self.shape, self.dtype)
        return observe(function, tensor, self.arguments, self.with_generator)


@dataclass(frozen=True)
class Difference:
    """A difference by design: its reason, the cases it applies to, and the fields of the outcome that differ.

    ``old`` marks a difference from older versions of torch only.
    """

    reason: str
    applies: Callable[[Case, Outcome, Outcome], bool]
    fields: frozenset[str]
    old: bool = False


_RAISES = frozenset({"error", "memory", "returned_itself", "version_moved", "global_state", "generator_state"})


def _has_words(outcome: Outcome, words: str) -> bool:
    return outcome.error is not None and words in outcome.error[1]


def _known(
    reason: str, applies: Callable[[Case, Outcome, Outcome], bool], *fields: str, old: bool = False
) -> Difference:
    return Difference(reason, applies, frozenset(fields) or _RAISES, old)


KNOWN_DIFFERENCES = (
    _known(
        "integers are refused by a sentence, also where no kernel runs (meta, empty); upstream names a kernel",
        lambda case, ours, theirs: case.dtype in INTEGER and _has_words(ours, "needs a floating-point"),
        *("error", "returned_itself", "version_moved"),
    ),
    _known(
        "trunc_normal_ refuses complex before it draws; the inverse CDF after",
        lambda case, ours, theirs: case.dtype in COMPLEX and case.name == "trunc_normal_",
    ),
    _known(
        "orthogonal_ works in 16 bits and complex, where upstream raises after it drew",
        lambda case, ours, theirs: (
            case.name == "orthogonal_"
            and case.has_values
            and case.dtype in (torch.float16, torch.bfloat16, *COMPLEX)
            and len(case.shape) >= 2
        ),
    ),
    _known(
        "orthogonal_ works in layouts that view_as refuses, where upstream raises after it drew",
        lambda case, ours, theirs: case.name == "orthogonal_" and _has_words(theirs, "view size is not compatible"),
        *("error", "memory", "returned_itself", "version_moved"),
    ),
    _known(
        "sparse_'s zeros follow the generator; upstream's the global one",
        lambda case, ours, theirs: (
            case.name == "sparse_"
            and case.with_generator
            and case.has_values
            and len(case.shape) == 2
            and case.shape[0] > 1
            and case.dtype not in INTEGER
        ),
        *("memory", "global_state", "generator_state"),
    ),
    _known(
        "xavier_* of a tensor whose fans are both 0 is a no-op, as for other empty tensors; upstream divides by 0",
        lambda case, ours, theirs: case.name.startswith("xavier") and _has_words(theirs, "division by zero"),
        *("error", "returned_itself", "version_moved"),
    ),
    _known(
        "dirac_ of a kernel of size 0 is a no-op, as for other empty tensors; upstream indexes into it",
        lambda case, ours, theirs: case.name == "dirac_" and _has_words(theirs, "out of bounds for dimension"),
        *("error", "returned_itself"),
    ),
    _known(
        "the warning of a zero-element tensor points at the caller; in torch 2.6 into torch itself",
        lambda case, ours, theirs: (
            ours.warned != theirs.warned and ours.warned == tuple((w[0], w[1], True) for w in theirs.warned)
        ),
        "warned",
        old=True,
    ),
    _known(
        "meta tensors are left alone; torch 2.6 runs its operators on them",
        lambda case, ours, theirs: (
            case.layout == "meta"
            and case.name in ("dirac_", "orthogonal_", "sparse_")
            and (theirs.version_moved or _has_words(theirs, "expected a floating-point or complex dtype"))
        ),
        *("error", "returned_itself", "version_moved", "global_state"),
        old=True,
    ),
)


def compare(case: Case) -> Difference | None:
    """Assert that ours equals the oracle or differs by a known difference; return that difference."""
    ours, theirs = case.outcome(case.record.function), case.outcome(oracle(case.record))
    differences = ours.differences(theirs)
    known = [known for known in KNOWN_DIFFERENCES if known.applies(case, ours, theirs)]
    if not known:
        assert not differences, f"{case}: {differences} differ: ours {ours.error}, upstream {theirs.error}"
        return None
    reasons = "; ".join(difference.reason for difference in known)
    assert differences, f"{case}: equal, though a difference is known: {reasons}"
    fields = frozenset[str]().union(*(difference.fields for difference in known))
    assert fields.issuperset(differences), f"{case}: {differences} differ, not just: {reasons}"
    return known[0]
