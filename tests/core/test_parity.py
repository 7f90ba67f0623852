"""Does every initializer equal upstream's for every dtype, shape, layout and generator?"""

import itertools

import pytest
import torch

from tests.support.layouts import COMPLEX, FLOATING, INTEGER, LAYOUTS, SHAPES
from tests.support.pairwise import pairwise
from tests.support.parity import KNOWN_DIFFERENCES, Case, compare
from tests.support.record import Record
from tests.support.records import UPSTREAMS, call_id

USUAL_DTYPES = (torch.float32, torch.bfloat16, torch.complex64)
USUAL_SHAPES = ((17,), (17, 4), (6, 4, 3, 3))


def _cases(record: Record, layouts: list[str]) -> list[Case]:
    generators = (False, True) if record.takes_generator else (False,)
    if record.name != record.current_name:
        # A deprecated name only passes its arguments on.
        return [Case(record, *row) for row in pairwise(layouts, USUAL_DTYPES, USUAL_SHAPES, record.calls, generators)]
    rows = pairwise(layouts, FLOATING + COMPLEX + INTEGER, SHAPES, record.calls, generators)
    # Plus every layout with the usual dtypes and shapes.
    rows += itertools.product(layouts, USUAL_DTYPES, USUAL_SHAPES, record.calls[:1], generators[-1:])
    return [Case(record, *row) for row in rows]


@pytest.mark.parametrize("record", UPSTREAMS, ids=call_id)
def test_outcome_equals_the_oracles(record: Record) -> None:
    for case in _cases(record, list(LAYOUTS)):
        compare(case)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("record", UPSTREAMS, ids=call_id)
def test_outcome_on_a_cuda_device_equals_the_oracles(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.layouts.DEVICE", "cuda")
    for case in _cases(record, [layout for layout in LAYOUTS if layout != "meta"]):
        compare(case)


def test_every_known_difference_is_seen() -> None:
    seen = set()
    shapes = ((4, 3), (0, 0), (2, 3, 0), (6, 4, 3, 3))
    current = [record for record in UPSTREAMS if record.name == record.current_name]
    for record, layout in itertools.product(current, ("contiguous", "channels_last")):
        for dtype, shape, arguments in itertools.product(FLOATING + COMPLEX + INTEGER, shapes, record.calls):
            difference = compare(Case(record, layout, dtype, shape, arguments, record.takes_generator))
            seen.add(difference and difference.reason)
    assert seen - {known.reason for known in KNOWN_DIFFERENCES if known.old} == {
        None,
        *(known.reason for known in KNOWN_DIFFERENCES if not known.old),
    }
