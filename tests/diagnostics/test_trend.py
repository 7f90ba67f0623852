"""Is a trend the right factor per layer?"""

import math

import pytest

from torchinit.diagnostics import trend


@pytest.mark.parametrize(
    ("values", "factor", "total", "verdict"),
    [
        ([1.0, 0.5, 0.25], 0.5, 0.25, "keep their scale"),
        ([1.0, 1.0, 50.0, 1.0, 1.0], 1.0, 1.0, "keep their scale"),
        ([3.0, 3.0 * 101.0], 101.0, 101.0, "explode"),
        ([3.0, 3.0 * 100 / 1.01], 100 / 1.01, 100 / 1.01, "keep their scale"),
        ([3.0, 3.0 / 100 / 1.01], 1 / 100 / 1.01, 1 / 100 / 1.01, "vanish"),
        ([3.0, 3.0 / 100 * 1.01], 1.01 / 100, 1.01 / 100, "keep their scale"),
        # None or 0 in the middle keeps its place and does not enter the fit.
        ([1.0, None, 0.0, 0.001], 0.1, 0.001, "vanish"),
        ([1e-300, 1e300], math.exp(709), math.exp(709), "explode"),
        ([1.0, 1.0, 0.0], 0.0, 0.0, "vanish"),
        ([0.0, 0.0, 1.0], 0.0, 0.0, "vanish"),
    ],
)
def test_a_trend_is_a_factor_per_layer(values: list, factor: float, total: float, verdict: str) -> None:
    fitted = trend(values)
    assert fitted.factor == pytest.approx(factor)
    assert fitted.total == pytest.approx(total)
    assert fitted.verdict == verdict


def test_a_trend_needs_two_finite_values() -> None:
    assert trend([]) is trend([1.0]) is trend([None, 2.0, None]) is None
    assert trend([1.0, math.nan]).verdict == trend([math.inf]).verdict == "not finite"
