"""Does parity hold for random calls?"""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

from tests.support.layouts import COMPLEX, FLOATING, LAYOUTS
from tests.support.parity import Case, compare
from tests.support.record import Record
from tests.support.records import UPSTREAMS, call_id

_VALUES = st.floats(-1e4, 1e4, width=32)
_SCALES = st.floats(0.0, 1e4, width=32)
_UNIT = st.floats(0.0, 1.0)


@st.composite
def _bounds(draw: st.DrawFn) -> dict[str, float]:
    a, b = sorted((draw(_VALUES), draw(_VALUES)))
    return {"a": a, "b": b}


@st.composite
def _truncated(draw: st.DrawFn) -> dict[str, float]:
    # Only with the mean within the bounds, and these within 5 sigma, are the bits the inverse CDF's.
    std = draw(st.floats(1e-3, 1e3))
    low, high = draw(st.floats(-5.0, 0.0)), draw(st.floats(0.0, 5.0))
    return {"std": std, "a": low * std, "b": high * std}


_FANS = st.sampled_from(["fan_in", "fan_out", "FAN_IN"])
_NONLINEARITIES = st.sampled_from(["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
_KAIMING = st.fixed_dictionaries({}, optional={"a": st.floats(0, 10), "mode": _FANS, "nonlinearity": _NONLINEARITIES})
ARGUMENTS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "uniform_": _bounds(),
    "normal_": st.fixed_dictionaries({"mean": _VALUES, "std": _SCALES}),
    "trunc_normal_": _truncated(),
    "constant_": st.fixed_dictionaries({"val": _VALUES}),
    "ones_": st.just({}),
    "zeros_": st.just({}),
    "eye_": st.just({}),
    "dirac_": st.fixed_dictionaries({}, optional={"groups": st.integers(1, 4)}),
    "xavier_uniform_": st.fixed_dictionaries({}, optional={"gain": _SCALES}),
    "xavier_normal_": st.fixed_dictionaries({}, optional={"gain": _SCALES}),
    "kaiming_uniform_": _KAIMING,
    "kaiming_normal_": _KAIMING,
    "orthogonal_": st.fixed_dictionaries({}, optional={"gain": _VALUES}),
    "sparse_": st.fixed_dictionaries({"sparsity": _UNIT}, optional={"std": _SCALES}),
}


@pytest.mark.parametrize("record", [r for r in UPSTREAMS if r.name == r.current_name], ids=call_id)
@hypothesis.settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
@hypothesis.given(data=st.data())
def test_random_call_equals_the_oracles(record: Record, data: st.DataObject) -> None:
    dimensions = data.draw(st.integers(0, 5))
    case = Case(
        record,
        data.draw(st.sampled_from(sorted(LAYOUTS))),
        data.draw(st.sampled_from((torch.float16, torch.bfloat16, *FLOATING[2:], *COMPLEX))),
        tuple(
            data.draw(st.lists(st.integers(0, 18 if dimensions < 3 else 5), min_size=dimensions, max_size=dimensions))
        ),
        data.draw(ARGUMENTS[record.name]),
        record.takes_generator and data.draw(st.booleans()),
    )
    hypothesis.assume(case.shape != (0, 0))
    compare(case)
