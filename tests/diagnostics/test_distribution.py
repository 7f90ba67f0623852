"""Are distributions told from samples of any size, and what does not fit them?"""

import math

import pytest
import torch
from torch import Tensor

import torchinit
from torchinit.diagnostics._distribution import Distribution, distribution, sample
from torchinit.diagnostics._moments import measure

# Draws of each kind; each is told wrongly with a probability well below 1 %.
REPEATED = 20


def _told(values: Tensor) -> Distribution:
    moments = measure(values)
    assert moments is not None
    return distribution(values, moments)


def _drawn(name: str, size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if name == "uniform":
        return torch.rand(size, generator=generator) - 0.5
    values = torch.randn(size, generator=generator)
    if name.startswith("cut"):
        cut = float(name.split()[1])
        return torchinit.trunc_normal_(values, a=-cut, b=cut, generator=generator)
    return {"normal": values, "two-valued": values.sign(), "laplace": values.sign() * values.abs() ** 1.6}[name]


@pytest.mark.parametrize(
    ("name", "size", "right"),
    [
        ("normal", 200, "normal"),
        ("normal", 20000, "normal"),
        ("uniform", 100, "uniform"),
        ("uniform", 20000, "uniform"),
        ("cut 2", 1000, "truncated normal"),
        ("cut 3", 10000, "truncated normal"),
        ("cut 6", 10000, "normal"),
        ("two-valued", 40, "two-valued"),
        ("laplace", 10000, "other"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_distribution_of_a_draw_is_told(name: str, size: int, right: str, dtype: torch.dtype) -> None:
    told = [_told(_drawn(name, size, seed).to(dtype).float()).name for seed in range(REPEATED)]
    assert told.count(right) == REPEATED


@pytest.mark.parametrize("name", ["normal", "uniform"])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float16], ids=str)
def test_rounding_hides_no_distribution(name: str, dtype: torch.dtype) -> None:
    assert {_told(_drawn(name, 20000, seed).to(dtype)).name for seed in range(5)} == {name}


@pytest.mark.parametrize("cut", [2.0, 3.0])
def test_bounds_of_a_truncation_are_found(cut: float) -> None:
    told = _told(0.02 * _drawn(f"cut {cut}", 20000, 0))
    assert told.cut == pytest.approx(cut, rel=0.02)
    assert told.before == pytest.approx(0.02, rel=0.02)
    assert told.std < told.before


def test_few_values_tell_nothing() -> None:
    assert {_told(_drawn(name, 16, 0)).name for name in ("normal", "uniform")} == {None}


def test_error_of_the_standard_deviation_follows_the_size() -> None:
    for size in (100, 2500):
        stds = torch.tensor([_told(_drawn("normal", size, seed)).std for seed in range(200)])
        error = _told(_drawn("normal", size, 0)).error
        assert 2.5 * stds.std() < error < 6 * stds.std() + 0.003


@pytest.mark.parametrize("far", [3.0, 20.0])
def test_outliers_are_found_beyond_what_a_draw_reaches(far: float) -> None:
    values = _drawn("normal", 4096, 0)
    values[17] = far
    told = _told(values).outlying
    assert told == pytest.approx(20.0, rel=0.1) if far > 8 else told is None


def test_heavy_tails_are_no_outliers() -> None:
    values = torch.distributions.StudentT(3.0).sample((20000,))
    assert values.abs().max() > 10
    assert _told(values).outlying is None


@pytest.mark.parametrize(("bound", "share"), [(1.0, 0.159), (2.0, 0.0228), (3.0, 0.00135)])
def test_values_on_a_bound_are_counted(bound: float, share: float) -> None:
    values = _drawn("normal", 40000, 0)
    assert _told(values).piled is None
    assert _told(values.clamp(-bound, bound)).piled == pytest.approx(share, rel=0.35)


@pytest.mark.parametrize("step", [0.5, 0.2, 0.04])
def test_values_on_a_grid_are_counted(step: float) -> None:
    values = _drawn("normal", 4096, 0)
    rounded = (values / step).round() * step
    assert _told(values).levels is None
    assert _told(rounded).levels == len(rounded.unique())
    assert _told(rounded).name == "normal"


def test_uniform_draw_in_bfloat16_is_no_grid() -> None:
    # Some releases and devices draw 8 bits.
    values = torch.randint(256, (40000,), generator=torch.Generator().manual_seed(0)).bfloat16() / 256
    assert (_told(values).levels, _told(values.float()).levels) == (None, None)


@pytest.mark.parametrize(
    ("dtype", "std"),
    [(torch.float8_e4m3fn, 0.02), (torch.float8_e4m3fn, 0.1), (torch.float8_e5m2, 0.004), (torch.float16, 1e-6)],
    ids=str,
)
def test_subnormal_numbers_are_no_grid(dtype: torch.dtype, std: float) -> None:
    values = std * torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert _told(values.to(dtype)).levels is None
    step = 4 * values.abs().max() / 128
    assert _told(((values / step).round() * step).to(torch.float64)).levels is not None


def test_sample_is_sorted_and_spread_over_the_tensor() -> None:
    values = sample(torch.arange(1_000_003.0))
    assert len(values) == 1 << 13
    gaps = values.diff()
    assert gaps.min() >= 0
    assert gaps.max() < 2.1 * 1_000_003 / (1 << 13)
    # A period of the tensor is met everywhere.
    assert len(sample(torch.arange(1 << 20) % 64).unique()) == 64


def test_sample_has_finite_values_and_parts_of_complex_ones() -> None:
    assert sample(torch.tensor([3.0, math.nan, 1.0, math.inf])).tolist() == [1.0, 3.0]
    assert sample(torch.tensor([1 + 2j]).conj()).tolist() == [-2.0, 1.0]
