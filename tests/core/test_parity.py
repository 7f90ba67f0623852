"""Does every initializer do what upstream does, for every dtype, shape, layout and generator?"""

import itertools

import pytest
import torch

from tests.support.layouts import COMPLEX, FLOATING, INTEGER, LAYOUTS, SHAPES
from tests.support.parity import KNOWN_DIFFERENCES, Case, compare
from tests.support.records import UPSTREAMS, Record, call_id


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("record", UPSTREAMS, ids=call_id)
def test_outcome_equals_the_oracles(record: Record, layout: str) -> None:
    generators = (False, True) if record.takes_generator else (False,)
    for dtype, shape, arguments, with_generator in itertools.product(
        FLOATING + COMPLEX + INTEGER, SHAPES, record.calls, generators
    ):
        compare(Case(record, layout, dtype, shape, arguments, with_generator))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "meta"])
@pytest.mark.parametrize("record", UPSTREAMS, ids=call_id)
def test_outcome_on_a_cuda_device_equals_the_oracles(
    record: Record, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.layouts.DEVICE", "cuda")
    test_outcome_equals_the_oracles(record, layout)


def test_every_known_difference_is_seen() -> None:
    seen = set()
    shapes = ((4, 3), (0, 0), (2, 3, 0), (6, 4, 3, 3))
    for record, layout in itertools.product(UPSTREAMS, ("contiguous", "channels_last")):
        for dtype, shape, arguments in itertools.product(FLOATING + COMPLEX + INTEGER, shapes, record.calls):
            difference = compare(Case(record, layout, dtype, shape, arguments, record.takes_generator))
            seen.add(difference and difference.reason)
    assert seen - {known.reason for known in KNOWN_DIFFERENCES if known.old} == {
        None,
        *(known.reason for known in KNOWN_DIFFERENCES if not known.old),
    }
