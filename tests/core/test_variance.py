"""Do variance scaling and its specializations draw the distributions that JAX, Keras and the papers define?"""

import itertools
import math
from collections.abc import Callable

import pytest
import scipy.stats
import torch

import torchinit
from torchinit import keyed

# The std of a standard normal truncated at 2, the constant of jax.nn.initializers and keras.initializers.
FACTOR = 0.87962566103423978
FAN_IN, FAN_OUT = 250, 640
FANS: dict[str, float] = {
    "fan_in": FAN_IN,
    "fan_out": FAN_OUT,
    "fan_avg": (FAN_IN + FAN_OUT) / 2,
    "fan_geo_avg": math.sqrt(FAN_IN * FAN_OUT),
}


def _distribution(distribution: str, std: float) -> scipy.stats.rv_continuous:
    if distribution == "uniform":
        return scipy.stats.uniform(-math.sqrt(3) * std, 2 * math.sqrt(3) * std)
    if distribution == "normal":
        return scipy.stats.norm(0, std)
    return scipy.stats.truncnorm(-2, 2, 0, std / FACTOR)


def _check_distribution(values: torch.Tensor, distribution: str, std: float) -> None:
    values = values.detach().flatten().double()
    assert scipy.stats.kstest(values.numpy(), _distribution(distribution, std).cdf).pvalue > 1e-4
    # The KS test detects a scale off by 1 %; the std detects 0.6 %.
    assert values.std().item() == pytest.approx(std, rel=0.006)
    bound = {"uniform": math.sqrt(3) * std, "truncated_normal": 2 * std / FACTOR}.get(distribution, math.inf)
    assert values.abs().max().item() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
@pytest.mark.parametrize("mode", FANS)
def test_values_have_the_distribution_and_the_variance_that_the_arguments_say(mode: str, distribution: str) -> None:
    torch.manual_seed(3)
    weight = torchinit.variance_scaling_(torch.empty(FAN_OUT, FAN_IN), 1.7, mode, distribution)
    _check_distribution(weight, distribution, math.sqrt(1.7 / FANS[mode]))


# Our call for each initializer of JAX and Keras, its distribution and its variance.
PEERS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str, float]] = {
    "glorot_normal": (lambda w: torchinit.variance_scaling_(w, 1.0, "fan_avg"), "truncated_normal", 2 / 890),
    "glorot_uniform": (torchinit.xavier_uniform_, "uniform", 2 / 890),
    "he_normal": (lambda w: torchinit.variance_scaling_(w, 2.0), "truncated_normal", 2 / 250),
    "he_uniform": (lambda w: torchinit.kaiming_uniform_(w, nonlinearity="relu"), "uniform", 2 / 250),
    "lecun_normal": (torchinit.lecun_normal_, "truncated_normal", 1 / 250),
    "lecun_uniform": (torchinit.lecun_uniform_, "uniform", 1 / 250),
}


@pytest.mark.parametrize("name", PEERS)
def test_documented_call_is_the_initializer_of_jax_and_keras(name: str) -> None:
    torch.manual_seed(4)
    call, distribution, variance = PEERS[name]
    _check_distribution(call(torch.empty(FAN_OUT, FAN_IN)), distribution, math.sqrt(variance))


def test_bounds_of_glorot_and_he_are_keras_limits() -> None:
    # keras.initializers: limit = sqrt(6 / (fan_in + fan_out)), and stddev = sqrt(2 / fan_in) / .87962566103423978
    # truncated at 2 stddev. Its kernel has shape (3, 3, 16, 32): fan_in 144, fan_out 288.
    torch.manual_seed(0)
    weight = torch.empty(32, 16, 3, 3)
    uniform = torchinit.variance_scaling_(weight, 1.0, "fan_avg", "uniform").abs().max().item()
    assert 0.995 * 0.117851130 < uniform <= 0.117851131
    normal = torchinit.variance_scaling_(weight, 2.0).abs().max().item()
    assert 0.995 * 0.267956268 < normal <= 0.267956269


def test_lecun_and_truncated_scaling_equal_trunc_normal() -> None:
    torch.manual_seed(1)
    std = math.sqrt(1 / 7) / FACTOR
    expected = torchinit.trunc_normal_(torch.empty(5, 7), 0.0, std, -2 * std, 2 * std)
    for call in (torchinit.lecun_normal_, torchinit.variance_scaling_):
        torch.manual_seed(1)
        assert torch.equal(call(torch.empty(5, 7)), expected)
    torch.manual_seed(1)
    bound = math.sqrt(3) * math.sqrt(1 / 7)
    expected = torchinit.uniform_(torch.empty(5, 7), -bound, bound)
    torch.manual_seed(1)
    assert torch.equal(torchinit.lecun_uniform_(torch.empty(5, 7)), expected)


def test_scale_2_equals_kaiming_and_mode_fan_avg_equals_xavier() -> None:
    for name, arguments, sibling in (
        ("kaiming_normal_", {"nonlinearity": "relu"}, {"scale": 2.0, "distribution": "normal"}),
        ("xavier_uniform_", {}, {"mode": "fan_avg", "distribution": "uniform"}),
    ):
        torch.manual_seed(1)
        one = getattr(torchinit, name)(torch.empty(30, 20, 3), **arguments)
        torch.manual_seed(1)
        assert torch.allclose(torchinit.variance_scaling_(torch.empty(30, 20, 3), **sibling), one, rtol=1e-6)


@pytest.mark.parametrize("mode", FANS)
def test_given_fans_take_the_place_of_those_of_the_shape(mode: str) -> None:
    torch.manual_seed(1)
    expected = torchinit.variance_scaling_(torch.empty(FAN_OUT, FAN_IN), 1.0, mode, "normal")
    # Weights of x @ w, of experts as (E, in, out), and a flat vector.
    for shape in ((FAN_IN, FAN_OUT), (10, 25, 640), (FAN_IN * FAN_OUT,)):
        torch.manual_seed(1)
        given = torch.empty(shape)
        torchinit.variance_scaling_(given, 1.0, mode, "normal", fan_in=FAN_IN, fan_out=FAN_OUT)
        assert torch.equal(given.flatten(), expected.flatten())
    alone = {"fan_in": {"fan_in": 9}, "fan_out": {"fan_out": 9}}.get(mode)
    if alone:
        assert torchinit.variance_scaling_(torch.empty(4), 1.0, mode, **alone).isfinite().all()
    else:
        with pytest.raises(ValueError, match="Fan in and fan out can not be computed for tensor with fewer than 2"):
            torchinit.variance_scaling_(torch.empty(4), 1.0, mode, fan_in=9)


def test_one_given_fan_leaves_the_other_to_the_shape() -> None:
    for given, n in (({"fan_in": 90}, (90 + 640) / 2), ({"fan_out": 90}, (250 + 90) / 2)):
        torch.manual_seed(3)
        weight = torchinit.variance_scaling_(torch.empty(FAN_OUT, FAN_IN), 1.0, "fan_avg", "normal", **given)
        assert weight.std().item() == pytest.approx(math.sqrt(1 / n), rel=0.006)


def test_fans_of_a_grouped_convolution_can_be_given() -> None:
    layer = torch.nn.Conv2d(64, 64, 3, groups=64, bias=False)
    fan_in, fan_out = torchinit.fans_of(layer)
    torchinit.variance_scaling_(layer.weight, 2.0, "fan_out", "uniform", fan_in, fan_out)
    assert 0.98 * math.sqrt(6 / 9) < layer.weight.abs().max().item() <= math.sqrt(6 / 9)


def test_scale_of_zero_and_a_weight_without_elements() -> None:
    for distribution in ("truncated_normal", "normal", "uniform"):
        assert not torchinit.variance_scaling_(torch.ones(3, 4), 0.0, distribution=distribution).any()
        for shape in ((0, 3), (3, 0), (0, 0)):
            for mode in FANS:
                empty = torch.empty(shape)
                assert torchinit.variance_scaling_(empty, 1.0, mode, distribution) is empty


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_trunc_normal_tf_equals_trunc_normal_with_absolute_bounds(dtype: torch.dtype) -> None:
    for mean, std, a, b in itertools.product((0.0, 0.7), (1.0, 0.02), (-2.0, -0.5), (2.0, 3.0)):
        torch.manual_seed(1)
        drawn = torchinit.trunc_normal_tf_(torch.empty(50, 40, dtype=dtype), mean, std, a, b)
        torch.manual_seed(1)
        expected = torch.empty(50, 40, dtype=dtype)
        torchinit.trunc_normal_(expected, mean, std, mean + a * std, mean + b * std)
        assert torch.equal(drawn, expected)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [(0.0, 1.0, -2.0, 2.0), (0.0, 0.02, -2.0, 2.0), (1.0, 0.5, -1.0, 3.0), (-2.0, 0.1, 2.0, 9.0), (0.0, 3.0, 0.1, 0.2)],
)
def test_corrected_std_is_that_of_the_values(mean: float, std: float, a: float, b: float) -> None:
    torch.manual_seed(1)
    values = torchinit.trunc_normal_tf_(torch.empty(10**6), mean, std, a, b, correct_std=True).double()
    assert values.std().item() == pytest.approx(std, rel=0.005)
    wide = std / scipy.stats.truncnorm(a, b).std()
    law = scipy.stats.truncnorm(a, b, mean, wide)
    assert scipy.stats.kstest(values[:200_000].numpy(), law.cdf).pvalue > 1e-4
    plain = torchinit.trunc_normal_tf_(torch.empty(10**6), mean, std, a, b).double()
    assert plain.std().item() == pytest.approx(std * scipy.stats.truncnorm(a, b).std(), rel=0.005)


def test_correction_at_two_deviations_is_the_constant_of_jax_and_keras() -> None:
    from torchinit._core.special import truncated_moments

    mean, std = truncated_moments(-2.0, 2.0)
    assert mean == 0.0
    assert std == pytest.approx(FACTOR, rel=1e-14)


# Computed with 60 digits from the closed form (Johnson, Kotz and Balakrishnan 1994, section 13.10).
@pytest.mark.parametrize(
    ("a", "b"),
    [(-1.0, 1.0), (-30.0, 30.0), (3.0, 10.0), (2.0, 2.0001), (-9.0, 1e-4), (0.0, 1e-6), (40.0, 41.0), (1000.0, 2000.0)],
)
def test_moments_of_a_truncated_normal_have_nearly_all_digits(a: float, b: float) -> None:
    import mpmath

    from torchinit._core.special import truncated_moments

    with mpmath.workdps(60):
        low, high = mpmath.mpf(a), mpmath.mpf(b)
        mass = (mpmath.erfc(low / mpmath.sqrt(2)) - mpmath.erfc(high / mpmath.sqrt(2))) / 2
        mean = (mpmath.npdf(low) - mpmath.npdf(high)) / mass
        variance = 1 + (low * mpmath.npdf(low) - high * mpmath.npdf(high)) / mass - mean**2
        expected = float(mean), float(mpmath.sqrt(variance))
    assert truncated_moments(a, b) == pytest.approx(expected, rel=1e-13, abs=1e-15)
    assert truncated_moments(-b, -a) == pytest.approx((-expected[0], expected[1]), rel=1e-13, abs=1e-15)


def test_moments_of_an_empty_interval_are_its_point_and_zero() -> None:
    from torchinit._core.special import truncated_moments

    for place in (0.0, 1.5, -1e30):
        assert truncated_moments(place, place) == (place, 0.0)


def test_sines_pre_activations_have_the_variance_that_the_formula_gives_in_every_layer() -> None:
    torch.manual_seed(0)
    # E[sin(z)^2] is 1/2 for the uniform phases of the first layer, and (1 - exp(-2 v)) / 2 for z ~ N(0, v).
    variance = 1.0
    x = torch.rand(4000, 2) * 2 - 1
    first = torchinit.sine_uniform_(torch.empty(512, 2), is_first=True)
    assert 0.98 * 0.5 < first.abs().max().item() <= 0.5
    x = torch.sin(30 * x @ first.T)
    for _ in range(5):
        weight = torchinit.sine_uniform_(torch.empty(512, 512), omega=30.0)
        assert 0.999 < weight.abs().max().item() / (math.sqrt(6 / 512) / 30) <= 1 + 1e-6
        z = 30 * x @ weight.T
        assert z.var().item() == pytest.approx(variance, rel=0.05)
        x, variance = torch.sin(z), 1 - math.exp(-2 * variance)


# Complex values.


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_complex_values_have_the_variance_of_real_ones(distribution: str, dtype: torch.dtype) -> None:
    """As in JAX, where the mean of abs(x)**2 is scale / fan; there uniform values fill a disc, here a square."""
    torch.manual_seed(1)
    shape, scaled = (FAN_OUT, FAN_IN), {"scale": 3.0, "mode": "fan_avg", "distribution": distribution}
    key, mean = keyed.key(1), 3.0 / ((FAN_IN + FAN_OUT) / 2)
    drawn = [
        (torchinit.variance_scaling_(torch.empty(shape, dtype=dtype), **scaled), mean),
        (keyed.variance_scaling_(torch.empty(shape, dtype=dtype), key, **scaled), mean),
    ]
    if distribution == "uniform":
        drawn.append((torchinit.lecun_uniform_(torch.empty(shape, dtype=dtype)), 1.0 / FAN_IN))
        drawn.append((keyed.lecun_uniform_(torch.empty(shape, dtype=dtype), key), 1.0 / FAN_IN))
    for values, variance in drawn:
        assert values.abs().square().mean().item() == pytest.approx(variance, rel=0.01)
        assert values.real.var().item() == pytest.approx(variance / 2, rel=0.01)
        assert values.imag.var().item() == pytest.approx(variance / 2, rel=0.01)
        assert abs((values.real * values.imag).mean().item()) < 0.01 * variance
        if distribution == "uniform":
            parts = torch.view_as_real(values).abs().max().item()
            assert 0.99 * math.sqrt(1.5 * variance) < parts <= math.sqrt(1.5 * variance)


def test_complex_icnr_weight_has_the_variance_that_it_says() -> None:
    torch.manual_seed(1)
    weight = torchinit.icnr_(torch.empty(256, 64, 3, 3, dtype=torch.complex64), distribution="uniform")
    assert weight.abs().square().mean().item() == pytest.approx(2.0 / (64 * 9), rel=0.02)


@pytest.mark.parametrize("name", ["xavier_uniform_", "kaiming_uniform_"])
def test_uniform_initializers_of_upstream_give_each_part_the_whole_variance(name: str) -> None:
    torch.manual_seed(1)
    ours = getattr(torchinit, name)(torch.empty(8, 4, dtype=torch.complex64))
    torch.manual_seed(1)
    assert torch.equal(ours, getattr(torch.nn.init, name)(torch.empty(8, 4, dtype=torch.complex64)))


def test_traced_sizes_do_not_change_the_variance_of_complex_values() -> None:
    """With a dynamic size the graph draws within 1 and multiplies by the bound."""

    class Fill(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torchinit.lecun_uniform_(torch.empty_like(x))

    dynamic = {"x": {1: torch.export.Dim("n", min=2, max=1000)}}
    program = torch.export.export(Fill(), (torch.zeros(4, 8, dtype=torch.complex64),), dynamic_shapes=dynamic)
    values = program.module()(torch.zeros(4, 1000, dtype=torch.complex64))
    assert values.abs().square().mean().item() == pytest.approx(1 / 1000, rel=0.1)
