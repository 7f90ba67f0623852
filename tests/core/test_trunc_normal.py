"""Does trunc_normal_ follow the truncated normal distribution for every interval, dtype and draw?"""

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch

import torchinit
from tests.support import oracle
from tests.support.constant_generator import constant_generator

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INFINITY = math.inf
# mean, std, a, b
CENTRAL = [
    (0.0, 1.0, -2.0, 2.0),
    (0.0, 0.02, -2.0, 2.0),
    (0.5, 2.0, -1.0, 4.0),
    (0.0, 1.0, -1.0, INFINITY),
    (0.0, 1.0, -INFINITY, INFINITY),
    (0.0, 1.0, 0.3, 0.5),
    (0.0, 1.0, 1.0, 3.0),
    (0.0, 1e-3, -2e-3, 1e-3),
    (3.0, 1e3, -2e3, 2e3),
]
TAIL = [
    (0.0, 1.0, 3.0, 10.0),
    (0.0, 1.0, 5.0, 6.0),
    (0.0, 1.0, 8.0, 100.0),
    (0.0, 1.0, 20.0, 21.0),
    (0.0, 1.0, -40.0, -39.0),
    (0.0, 1.0, -6.0, -5.0),
    (0.0, 1.0, 2.01, INFINITY),
    (0.0, 1.0, -INFINITY, -3.0),
    (-20.0, 1.0, 0.0, 1.0),
    (4.0, 0.5, -1.0, 2.5),
    (0.0, 1e3, 3e3, 1e4),
    (0.0, 1.0, 2.5, 2.6),
]
# Intervals narrower than the least 16-bit values.
TINY = [(0.0, 1e-10, -2e-10, 2e-10), (0.0, 1e-10, 3e-10, 1.0), (-2.1, 1.0, 0.0, 1e-6), (-30.0, 1.0, 0.0, 1e-5)]


def _distribution(mean: float, std: float, a: float, b: float) -> scipy.stats.rv_continuous:
    return scipy.stats.truncnorm((a - mean) / std, (b - mean) / std, loc=mean, scale=std)


def _drawn(dtype: torch.dtype, *arguments: float, size: int = 100_000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torchinit.trunc_normal_(torch.empty(size, dtype=dtype), *arguments, generator=generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("arguments", CENTRAL + TAIL + TINY, ids=str)
def test_values_follow_the_truncated_normal(arguments: tuple[float, ...], dtype: torch.dtype) -> None:
    values = _drawn(dtype, *arguments, size=30_000)
    assert scipy.stats.kstest(values.double().numpy(), _distribution(*arguments).cdf).pvalue > 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("arguments", CENTRAL + TAIL, ids=str)
def test_16_bit_values_follow_the_rounded_truncated_normal(arguments: tuple[float, ...], dtype: torch.dtype) -> None:
    values = _drawn(dtype, *arguments)
    distribution = _distribution(*arguments)
    quantiles = torch.tensor(distribution.ppf(np.linspace(0.005, 0.995, 199)), dtype=torch.float64)
    edges = torch.unique(quantiles.to(dtype))
    # Values below the midpoint to an edge's upper neighbour round to the edge or less.
    middles = (edges.double() + torch.nextafter(edges, torch.tensor(INFINITY, dtype=dtype)).double()) / 2
    expected = np.diff(distribution.cdf(middles.numpy()), prepend=0.0, append=1.0) * values.numel()
    counts = torch.bincount(torch.bucketize(values.double(), edges.double()), minlength=len(edges) + 1).numpy()
    used = expected > 5.0
    assert counts[~used].sum() <= 5 * (~used).sum()
    observed, expected = counts[used], expected[used]
    assert scipy.stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("arguments", CENTRAL + TAIL, ids=str)
def test_16_bit_values_are_the_float32_ones_rounded_once(arguments: tuple[float, ...], dtype: torch.dtype) -> None:
    for size in (1000, 300_000):  # one chunk, and several
        assert torch.equal(_drawn(dtype, *arguments, size=size), _drawn(torch.float32, *arguments, size=size).to(dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("arguments", [*CENTRAL, *TAIL, (0.0, 1.0, 0.3, 0.3), (0.0, 1.0, 7.0, 7.0)], ids=str)
def test_no_value_lies_past_a_bound_as_the_dtype_expresses_it(arguments: tuple[float, ...], dtype: torch.dtype) -> None:
    values = _drawn(dtype, *arguments)
    low, high = torch.tensor(arguments[2:], dtype=dtype)
    assert values.min() >= low
    assert values.max() <= high
    assert torch.isfinite(values).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("arguments", CENTRAL + TAIL, ids=str)
def test_no_bound_holds_more_than_rounding_puts_there(arguments: tuple[float, ...], dtype: torch.dtype) -> None:
    mean, std, a, b = arguments
    values = _drawn(dtype, *arguments)
    for bound in (a, b):
        if math.isinf(bound):
            continue
        # A value within an ulp of a bound may round to it; the ulp is the mean's if that is larger and near.
        ulp = torch.finfo(dtype).eps * max(abs(bound), abs(mean) if abs(bound - mean) <= 2 * std else 0.0)
        expected = abs(_distribution(*arguments).cdf(bound + ulp) - _distribution(*arguments).cdf(bound - ulp)) * 1e5
        assert (values == bound).sum().item() <= 5 + 5 * expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_tail_mass_beyond_5_of_3_to_10_is_right(dtype: torch.dtype) -> None:
    size = 4_000_000
    probability = _distribution(0.0, 1.0, 3.0, 10.0).sf(5.0)
    seen = (_drawn(dtype, 0.0, 1.0, 3.0, 10.0, size=size) > 5).sum().item()
    assert abs(seen - probability * size) < 5 * math.sqrt(probability * size)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_tail_mass_in_16_bits_is_right(dtype: torch.dtype) -> None:
    size = 4_000_000
    five = torch.tensor(5.0, dtype=dtype)
    edge = (5.0 + torch.nextafter(five, torch.tensor(INFINITY, dtype=dtype)).item()) / 2
    probability = _distribution(0.0, 1.0, 3.0, 10.0).sf(edge)
    seen = (_drawn(dtype, 0.0, 1.0, 3.0, 10.0, size=size) > 5).sum().item()
    assert abs(seen - probability * size) < 5 * math.sqrt(probability * size)


def test_seventeen_million_draws_hold_no_outlier_and_the_right_deviation() -> None:
    values = _drawn(torch.float32, 0.0, 0.001, size=17_000_000)
    assert values.abs().max() < 0.006
    assert abs(values.double().std().item() - 0.001) < 1e-5


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("word", [0, 0xFFFFFFFF], ids=["least", "greatest"])
def test_extreme_draw_is_neither_infinite_nor_on_a_far_bound(word: int, dtype: torch.dtype) -> None:
    # At std 0.001 the default bounds lie 2000 sigma out; torch 2.11 sent a draw of exactly -1 to the bound.
    values = torchinit.trunc_normal_(torch.empty(64, dtype=dtype), std=0.001, generator=constant_generator(word))
    reach = 8.3 if dtype is torch.float64 else 5.6
    assert ((values.abs() > 0.004) & (values.abs() < 0.001 * reach)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("alpha", [2.01, 2.2, 2.3, 2.5, 3.0, 3.3, 5.0, 13.0, 26.0, 300.0, 1e15])
@pytest.mark.parametrize("word", [0, 1, 0xFFFFFFFF], ids=["least", "second", "greatest"])
def test_extreme_draw_in_a_tail_is_finite_and_off_the_bound(word: int, alpha: float, dtype: torch.dtype) -> None:
    values = torchinit.trunc_normal_(
        torch.empty(64, dtype=dtype), -alpha, 1.0, 0.0, INFINITY, generator=constant_generator(word)
    )
    assert ((values > 0.0) & (values < 9.0)).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    ("arguments", "least", "most"),
    [
        ((0.0, 1.0, 3.0, 1e39), 3.0, 6.0),
        ((0.0, 1.0, -1e300, 1e300), -6.0, 6.0),
        ((3.0, 1e-39), 2.0, 2.0),
        ((-1e30, 1.0), -2.0, -2.0),
        ((0.0, 1e30), -2.0, 2.0),
    ],
    ids=str,
)
def test_extreme_arguments_give_finite_values(
    arguments: tuple[float, ...], least: float, most: float, dtype: torch.dtype
) -> None:
    values = _drawn(dtype, *arguments, size=1000)
    assert (values >= least).all()
    assert (values <= (9.0 if dtype is torch.float64 and most == 6.0 else most)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("word", [1, 0xFFFFFFFF], ids=["second", "greatest"])
def test_outermost_finite_draw_has_the_oracles_bits(word: int, dtype: torch.dtype) -> None:
    ours = torchinit.trunc_normal_(torch.empty(64, dtype=dtype), std=0.001, generator=constant_generator(word))
    theirs = oracle.trunc_normal_(torch.empty(64, dtype=dtype), std=0.001, generator=constant_generator(word))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("mean", "expected"), [(0.5, 0.5), (-3.0, -2.0), (3.0, 2.0)])
def test_zero_std_gives_the_mean_within_the_bounds(mean: float, expected: float, dtype: torch.dtype) -> None:
    state = torch.get_rng_state()
    values = torchinit.trunc_normal_(torch.zeros(9, dtype=dtype), mean, 0.0)
    assert torch.equal(values, torch.full((9,), expected, dtype=dtype))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(1_000_003,), (700, 1000), (3, 5, 70_000)], ids=str)
def test_tensor_of_several_chunks_has_the_oracles_bits(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    for make in (
        torch.empty,
        lambda shape, dtype: torch.empty(shape[::-1], dtype=dtype).permute(*range(len(shape))[::-1]),
    ):
        torch.manual_seed(0)
        ours = torchinit.trunc_normal_(make(shape, dtype=dtype), 0.1, 1.5, -3.0, 2.0)
        torch.manual_seed(0)
        assert torch.equal(ours, oracle.trunc_normal_(make(shape, dtype=dtype), 0.1, 1.5, -3.0, 2.0))


@pytest.mark.parametrize("shape", [(600, 1000), (1, 600_000), (3, 300, 1000)], ids=str)
def test_every_value_of_a_large_tail_is_written_in_any_layout(shape: tuple[int, ...]) -> None:
    wide = torch.zeros(*shape[:-1], 2 * shape[-1])
    torch.manual_seed(0)
    torchinit.trunc_normal_(wide[..., ::2], 0.0, 1.0, 3.0, 4.0)
    torch.manual_seed(0)
    assert torch.equal(wide[..., ::2], torchinit.trunc_normal_(torch.zeros(shape), 0.0, 1.0, 3.0, 4.0))
    # One draw in a million rounds to the bound.
    assert (wide[..., ::2] >= 3.0).all()
    assert not wide[..., 1::2].any()


def test_mean_far_outside_the_bounds_needs_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    torchinit.trunc_normal_(torch.empty(3), mean=50.0)
    assert not recwarn.list


@pytest.mark.parametrize("arguments", [{"std": 1e39}, {"mean": -1e39}, {"a": 1e39, "b": 1e40}], ids=str)
def test_argument_that_float32_cannot_hold_is_refused_before_a_write(arguments: dict[str, float]) -> None:
    tensor, state = torch.zeros(9), torch.get_rng_state()
    with pytest.raises(RuntimeError, match=r"^trunc_normal_ expects .* found .*1e\+39"):
        torchinit.trunc_normal_(tensor, **arguments)
    assert not tensor.any()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-7), (torch.float64, 5e-14)], ids=str)
@pytest.mark.parametrize("alpha", [2.001, 3.0, 10.0, 40.0, 1000.0])
def test_tail_is_inverted_to_the_precision_of_the_dtype(alpha: float, dtype: torch.dtype, tolerance: float) -> None:
    first = 2.0 ** (-54 if dtype is torch.float64 else -25)
    draws = torch.empty(40, dtype=dtype).uniform_(first, 1.0, generator=torch.Generator().manual_seed(3))
    # Distances into the tail that starts alpha deviations above the mean.
    distances = torch.empty(40, dtype=dtype)
    torchinit.trunc_normal_(distances, -alpha, 1.0, 0.0, INFINITY, torch.Generator().manual_seed(3))
    with mpmath.workdps(50):
        root = mpmath.sqrt(2)
        start = mpmath.erfc(alpha / root)
        for distance, draw in zip(distances.tolist(), draws.tolist(), strict=True):
            energy = -mpmath.log(mpmath.erfc((mpmath.mpf(alpha) + distance) / root) / start)
            expected = -mpmath.log1p(-mpmath.mpf(draw))
            assert abs(energy - expected) < tolerance * (1 + expected)
