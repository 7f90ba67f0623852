"""Is trunc_normal_ the truncated normal distribution, in every dtype and for every draw?"""

import math

import pytest
import scipy.stats
import torch

import torchinit
from tests import oracle
from tests.stuck import stuck_generator

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# mean, std, a, b
INTERVALS = [(0.0, 1.0, -2.0, 2.0), (0.0, 0.02, -2.0, 2.0), (0.5, 2.0, -1.0, 4.0), (0.0, 1.0, -1.0, math.inf)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("mean", "std", "a", "b"), INTERVALS)
def test_values_follow_the_truncated_normal(mean: float, std: float, a: float, b: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    values = torchinit.trunc_normal_(torch.empty(100_000, dtype=dtype), mean, std, a, b)
    expected = scipy.stats.truncnorm((a - mean) / std, (b - mean) / std, loc=mean, scale=std)
    assert scipy.stats.kstest(values.double().numpy(), expected.cdf).pvalue > 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("mean", "std", "a", "b"), INTERVALS)
def test_16_bit_values_are_the_float32_ones_rounded_once(
    mean: float, std: float, a: float, b: float, dtype: torch.dtype
) -> None:
    torch.manual_seed(1)
    values = torchinit.trunc_normal_(torch.empty(100_000, dtype=dtype), mean, std, a, b)
    torch.manual_seed(1)
    wide = torchinit.trunc_normal_(torch.empty(100_000), mean, std, a, b)
    assert torch.equal(values, wide.to(dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("a", "b"), [(-2.0, 2.0), (-0.1, 0.3), (0.3, 0.3), (-math.inf, math.inf)])
def test_no_value_lies_past_a_bound_as_the_dtype_expresses_it(a: float, b: float, dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    values = torchinit.trunc_normal_(torch.empty(100_000, dtype=dtype), a=a, b=b)
    low, high = torch.tensor([a, b], dtype=dtype)
    assert values.min() >= low
    assert values.max() <= high
    assert torch.isfinite(values).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("word", [0, 0xFFFFFFFF], ids=["least", "greatest"])
def test_extreme_draw_is_neither_infinite_nor_on_a_far_bound(word: int, dtype: torch.dtype) -> None:
    # At std 0.001 the default bounds lie 2000 sigma out; torch 2.11 put a draw of exactly -1 there.
    values = torchinit.trunc_normal_(torch.empty(64, dtype=dtype), std=0.001, generator=stuck_generator(word))
    reach = 8.3 if dtype is torch.float64 else 5.6
    assert ((values.abs() > 0.004) & (values.abs() < 0.001 * reach)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("word", [1, 0xFFFFFFFF], ids=["second", "greatest"])
def test_outermost_finite_draw_is_left_as_it_is(word: int, dtype: torch.dtype) -> None:
    ours = torchinit.trunc_normal_(torch.empty(64, dtype=dtype), std=0.001, generator=stuck_generator(word))
    theirs = oracle.trunc_normal_(torch.empty(64, dtype=dtype), std=0.001, generator=stuck_generator(word))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("mean", "expected"), [(0.5, 0.5), (-3.0, -2.0), (3.0, 2.0)])
def test_zero_std_gives_the_mean_within_the_bounds(mean: float, expected: float, dtype: torch.dtype) -> None:
    state = torch.get_rng_state()
    values = torchinit._no_grad_trunc_normal_(torch.zeros(9, dtype=dtype), mean, 0.0, -2.0, 2.0)
    assert torch.equal(values, torch.full((9,), expected, dtype=dtype))
    assert torch.equal(torch.get_rng_state(), state)


def test_mean_far_outside_the_bounds_warns_at_the_caller() -> None:
    with pytest.warns(UserWarning, match="mean is more than 2 std from") as caught:
        torchinit.trunc_normal_(torch.empty(3), mean=5.0)
    assert caught[0].filename == __file__
