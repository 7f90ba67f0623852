"""Do keyed draws follow their distributions, and are they independent within a stream and between keys?

All seeds are fixed: a test passes always or never. All p-values are compared with one level: a few hundred
independent ones would fail one suite in a thousand.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from tests.support.philox_words import philox_words
from torchinit import keyed

pytestmark = pytest.mark.slow

LEVEL = 1e-6
SEED = 2026
PAIRS = 300
VALUES = 500_000


def _derived(names: list[str]) -> Tensor:
    return torch.stack([keyed.fold_in(keyed.key(SEED), name) for name in names])


# Neighbouring keys, as in one model or in two.
FAMILIES: dict[str, Callable[[], Tensor]] = {
    "seeds": lambda: torch.stack([keyed.key(SEED + i) for i in range(PAIRS + 1)]),
    "names": lambda: _derived([f"layers.{i}.weight" for i in range(PAIRS + 1)]),
    "split": lambda: keyed.split(keyed.key(SEED), PAIRS + 1),
}
families = pytest.mark.parametrize("family", FAMILIES)
# Names that differ at either end, keys derived twice, and a mixture.
OTHERS: dict[str, Callable[[], Tensor]] = {
    "first": lambda: _derived([f"{i}.layer.weight" for i in range(PAIRS + 1)]),
    "last": lambda: _derived([f"weight{i}" for i in range(PAIRS + 1)]),
    "parts": lambda: _derived([f"layers.{i // 4}.{'qkvo'[i % 4]}" for i in range(PAIRS + 1)]),
    "nested": lambda: keyed.split(keyed.split(keyed.key(SEED), 7), 43).flatten(0, 1),
    "mixed": lambda: torch.cat([make()[:100] for make in FAMILIES.values()]),
}


def _check(**p_values: float) -> None:
    """Fail on a p-value that chance does not explain."""
    assert min(p_values.values()) > LEVEL, p_values


def _two_sided(p_value: float) -> float:
    """Return the two-sided p-value: too good a fit counts too."""
    return 2 * min(p_value, 1 - p_value)


def _largest(scores: Tensor) -> float:
    """Return the p-value of the largest of standard normal scores, with Bonferroni's correction."""
    return min(1.0, scores.numel() * math.erfc(scores.abs().max().item() / math.sqrt(2)))


def _check_scores(scores: Tensor) -> None:
    """Check that scores are independent and standard normal."""
    scores = scores.flatten().double()
    _check(
        largest=_largest(scores),
        distribution=_two_sided(scipy.stats.kstest(scores.numpy(), "norm").pvalue),
        squares=_two_sided(scipy.stats.chi2.sf(scores.square().sum().item(), scores.numel())),
    )


def _chi_square(counts: Tensor) -> float:
    """Return the p-value of counts with equal expectations."""
    expected = counts.sum().item() / counts.numel()
    statistic = (counts.double() - expected).square().sum().item() / expected
    return _two_sided(scipy.stats.chi2.sf(statistic, counts.numel() - 1))


def _check_uniform(values: np.ndarray) -> None:
    """Check that values in [0, 1], and consecutive pairs, triples and fours of them, are uniform."""
    assert values.min() >= 0.0
    assert values.max() <= 1.0
    p_values = {"ks": _two_sided(scipy.stats.kstest(values, "uniform").pvalue)}
    for together, bins in ((1, 1000), (2, 64), (3, 16), (4, 8)):
        cells = np.minimum(values * bins, bins - 1).astype(np.int64)[: len(values) // together * together]
        cell = cells.reshape(-1, together) @ bins ** np.arange(together)
        p_values[f"chi_square_{together}"] = _chi_square(torch.from_numpy(np.bincount(cell, minlength=bins**together)))
    _check(**p_values)


def _bits(words: Tensor) -> Tensor:
    """Return the bits of words, lowest first, as (blocks, 32 * words of a block)."""
    flat = np.ascontiguousarray(words.numpy().astype("<u4")).view(np.uint8)
    return torch.from_numpy(np.unpackbits(flat, axis=-1, bitorder="little"))


def _signs(words: Tensor) -> Tensor:
    """Return the bits of words as -1 and 1."""
    return _bits(words).float().mul_(2).sub_(1)


# Between keys.


@families
def test_values_of_one_key_and_of_the_next_are_uncorrelated(family: str) -> None:
    count = 2**15
    values, previous = torch.empty(count), torch.empty(count)
    correlation, mean, square = [], [], []
    for i, key in enumerate(FAMILIES[family]()):
        keyed.uniform_(values, key).sub_(0.5)
        if i > 0:
            # Sums over their exact standard deviations: no moment is estimated.
            correlation.append(torch.dot(values, previous) * 12 / math.sqrt(count))
        mean.append(values.sum() * math.sqrt(12 / count))
        square.append((torch.dot(values, values) / count - 1 / 12) * math.sqrt(180 * count))
        values, previous = previous, values
    assert len(correlation) == PAIRS
    for scores in (correlation, mean, square):
        _check_scores(torch.stack(scores))


@families
def test_normal_values_of_one_key_and_of_the_next_are_uncorrelated_and_so_are_their_squares(family: str) -> None:
    count = 2**14
    values, previous = torch.empty(count), torch.empty(count)
    correlation, squares = [], []
    for i, key in enumerate(FAMILIES[family]()):
        keyed.normal_(values, key)
        if i > 0:
            correlation.append(torch.dot(values, previous) / math.sqrt(count))
            squares.append(torch.dot(values.square().sub_(1), previous.square().sub_(1)) / (2 * math.sqrt(count)))
        values, previous = previous, values
    _check_scores(torch.stack(correlation))
    _check_scores(torch.stack(squares))


@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS])
def test_no_two_of_300_keys_are_correlated(family: str) -> None:
    keys, count = {**FAMILIES, **OTHERS}[family](), 8192
    values = torch.stack([keyed.uniform_(torch.empty(count), key) for key in keys]).sub_(0.5)
    # Normalize the rows: a row's length would be common to all of its scores.
    values = torch.nn.functional.normalize(values)
    scores = (values @ values.t()).mul_(math.sqrt(count))
    _check_scores(scores[tuple(torch.triu_indices(len(keys), len(keys), 1))])


@families
def test_streams_of_neighbouring_keys_do_not_overlap(family: str) -> None:
    # Correlate at all shifts, by FFT. Only this test would detect overlapping streams.
    count, largest, previous = 16384, 0.0, torch.empty(0)
    for i, key in enumerate(FAMILIES[family]()):
        spectrum = torch.fft.rfft(keyed.uniform_(torch.empty(count), key).sub_(0.5))
        if i > 0:
            shifted = torch.fft.irfft(spectrum * previous.conj()).abs().max()
            largest = max(largest, shifted.item() * 12 / math.sqrt(count))
        previous = spectrum
    _check(largest=PAIRS * count * math.erfc(largest / math.sqrt(2)))


@families
def test_bits_of_a_block_are_independent_of_the_next_keys(family: str) -> None:
    blocks, previous = 1024, torch.empty(0)
    together = torch.zeros(128, 128)
    streams = (words for keys in FAMILIES[family]().split(64) for words in philox_words(keys, blocks).unbind(-1))
    for i, words in enumerate(streams):
        signs = _signs(words)
        if i > 0:
            together += signs.t() @ previous
        previous = signs
    _check_scores(together / math.sqrt(PAIRS * blocks))


@pytest.mark.parametrize("changed", ["seed", "counter"])
@pytest.mark.parametrize("near", [True, False], ids=["small", "any"])
def test_each_bit_of_key_and_counter_changes_each_bit_of_a_block_half_the_time(changed: str, near: bool) -> None:
    count = 4096
    generator = np.random.default_rng(SEED)
    drawn = torch.from_numpy(generator.integers(-(2**63), 2**63, (2, count)))
    # Seeds and blocks as people choose them: small and consecutive.
    seeds, numbers = (torch.arange(count), torch.arange(count)) if near else drawn
    single = torch.tensor([1 << bit if bit < 63 else -(1 << 63) for bit in range(64)]).unsqueeze(1)
    others = (
        (seeds ^ single, numbers.expand(64, count))
        if changed == "seed"
        else (seeds.expand(64, count), numbers ^ single)
    )
    # (4, count) and (4, 64 * count)
    words = philox_words(torch.stack([seeds, numbers], -1), 1)[0]
    changed_words = philox_words(torch.stack(others, -1).flatten(0, 1), 1)[0].unflatten(1, (64, count))
    flipped = (words.unsqueeze(1) ^ changed_words).permute(1, 2, 0)
    flips = torch.stack([_bits(of_one_bit).sum(0) for of_one_bit in flipped])
    _check_scores((flips - count / 2) / math.sqrt(count / 4))


# Within a stream.


@pytest.mark.parametrize("seed", [0, 1, 2**40, 2**64 - 1])
@pytest.mark.parametrize("distribution", ["uniform", "normal", "square"])
def test_values_of_a_stream_are_uncorrelated_at_every_lag(distribution: str, seed: int) -> None:
    count, values = 2**20, torch.empty(2**20, dtype=torch.float64)
    single = torch.empty(count)
    if distribution == "uniform":
        values.copy_(keyed.uniform_(single, keyed.key(seed))).sub_(0.5).mul_(math.sqrt(12))
    else:
        values.copy_(keyed.normal_(single, keyed.key(seed)))
    if distribution == "square":
        values.square_().sub_(1).div_(math.sqrt(2))
    spectrum = torch.fft.rfft(values)
    scores = torch.fft.irfft(spectrum * spectrum.conj())[1 : count // 2] / math.sqrt(count)
    _check(largest=_largest(scores))
    # The squares of the first 1024 are nearly independent; the squares of all are not.
    _check_scores(scores[:1024])


@pytest.mark.parametrize("key", [keyed.key(0), keyed.key(1), keyed.fold_in(keyed.key(0), "layers.0.weight")], ids=str)
def test_bits_of_a_block_are_fair_and_independent_of_each_other_and_of_the_next_block(key: Tensor) -> None:
    blocks = 2**18
    signs = _signs(philox_words(key, blocks))
    _check_scores(signs.sum(0) / math.sqrt(blocks))
    scores = (signs.t() @ signs) / math.sqrt(blocks)
    _check_scores(scores[tuple(torch.triu_indices(128, 128, 1))])
    _check_scores((signs[1:].t() @ signs[:-1]) / math.sqrt(blocks - 1))


@pytest.mark.parametrize("lane", range(4))
def test_each_byte_and_each_half_of_a_word_has_all_its_values_equally_often(lane: int) -> None:
    words = philox_words(keyed.key(SEED), 2**21)[:, lane]
    p_values = {}
    for shift, width in ((0, 8), (8, 8), (16, 8), (24, 8), (0, 16), (16, 16)):
        part = words.bitwise_right_shift(shift).bitwise_and_((1 << width) - 1)
        p_values[f"{width}_at_{shift}"] = _chi_square(torch.bincount(part, minlength=1 << width))
    _check(**p_values)


# Values.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.3, 0.9)], ids=str)
def test_uniform_values_are_uniform(bounds: tuple[float, float], dtype: torch.dtype) -> None:
    values = keyed.uniform_(torch.empty(VALUES, dtype=dtype), keyed.key(SEED), *bounds).double().numpy()
    # NB: -0.3 and 0.9 differ in float32 and float64.
    low, high = torch.tensor(bounds, dtype=dtype).double().tolist()
    _check_uniform((values - low) / (high - low))


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 24), (torch.float64, 53)], ids=str)
def test_every_bit_of_a_uniform_value_is_fair_down_to_the_last(dtype: torch.dtype, width: int) -> None:
    scaled = keyed.uniform_(torch.empty(VALUES, dtype=dtype), keyed.key(SEED + 1)).double() * 2.0**width
    steps = scaled.long()
    assert torch.equal(steps.double(), scaled)
    bits = torch.stack([steps.bitwise_right_shift(bit).bitwise_and_(1).sum() for bit in range(width)])
    _check_scores((bits - VALUES / 2) / math.sqrt(VALUES / 4))
    _check(
        low=_chi_square(torch.bincount(steps & 0xFFF, minlength=4096)),
        high=_chi_square(torch.bincount(steps >> (width - 12), minlength=4096)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_normal_values_are_normal(dtype: torch.dtype) -> None:
    values = keyed.normal_(torch.empty(VALUES, dtype=dtype), keyed.key(SEED), 0.5, 0.02).double().sub_(0.5).div_(0.02)
    _check_uniform(scipy.special.ndtr(values.numpy()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_normal_values_have_the_right_tail_mass(dtype: torch.dtype) -> None:
    # A radius drawn from 16 bits would end at 4.854; 16 of these draws should lie beyond 4.86.
    bounds, observed, count = [3.0, 3.5, 4.0, 4.5, 4.86], torch.zeros(2, 5), 14_000_000
    values = torch.empty(count // 10, dtype=dtype)
    for key in keyed.split(keyed.key(SEED), 10):
        keyed.normal_(values, key)
        for i, bound in enumerate(bounds):
            observed[:, i] += torch.stack([(values > bound).sum(), (values < -bound).sum()])
    for i, bound in enumerate(bounds):
        for times, numbers in ((1, observed[0, i]), (1, observed[1, i]), (2, observed[:, i].sum())):
            expected, number = times * count * scipy.special.ndtr(-bound), int(numbers)
            lower, upper = scipy.stats.poisson.cdf(number, expected), scipy.stats.poisson.sf(number - 1, expected)
            _check(beyond=2 * min(lower, upper))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0.0, 1.0, -2.0, 2.0),
        (0.0, 0.02, -2.0, 2.0),
        (0.5, 2.0, -1.0, 4.0),
        (0.0, 1.0, 0.3, 0.5),
        (0.0, 1.0, 3.0, 10.0),
        (0.0, 1.0, -math.inf, -6.0),
    ],
    ids=str,
)
def test_trunc_normal_values_follow_the_truncated_normal(
    mean: float, std: float, a: float, b: float, dtype: torch.dtype
) -> None:
    values = keyed.trunc_normal_(torch.empty(VALUES, dtype=dtype), keyed.key(SEED), mean, std, a, b).double().numpy()
    scores, low, high = (values - mean) / std, (a - mean) / std, (b - mean) / std
    if low > 0:
        # Mirror it, to avoid differences of numbers near 1.
        scores, low, high = -scores, -high, -low
    below, above = scipy.special.ndtr([low, high])
    # NB: a value at a bound, rounded to float32, may lie beyond it.
    _check_uniform(np.clip((scipy.special.ndtr(scores) - below) / (above - below), 0.0, 1.0))


# Matrices.


def test_zeros_of_a_sparse_matrix_are_uniform_over_rows_and_fixed_in_each_column() -> None:
    rows, columns, count = 64, 50_000, 20  # ceil(0.3 * 64)
    matrix = keyed.sparse_(torch.empty(rows, columns), keyed.key(SEED), 0.3)
    zero = matrix == 0.0
    assert (zero.sum(0) == count).all()
    # Each column has a fixed number of zeros, so one degree of freedom is lost: scale by (rows - 1) / rows.
    share = count / rows
    deviation = (zero.sum(1) - columns * share).double()
    statistic = deviation.square().sum().item() * (rows - 1) / (rows * columns * share * (1 - share))
    # The number of rows that are zero in both of two adjacent columns is hypergeometric.
    shared = (zero[:, 1:] & zero[:, :-1]).sum(0)[::2]
    hypergeometric = scipy.stats.hypergeom(rows, count, count)
    common = (shared.double().mean().item() - hypergeometric.mean()) / (hypergeometric.std() / math.sqrt(len(shared)))
    _check(
        rows=_two_sided(scipy.stats.chi2.sf(statistic, rows - 1)),
        common=math.erfc(abs(common) / math.sqrt(2)),
        values=_two_sided(scipy.stats.kstest(matrix[~zero].numpy() / 0.01, "norm").pvalue),
    )


def test_orthogonal_matrices_are_orthogonal_and_haar_distributed() -> None:
    size, count = 8, 4000
    keys = keyed.split(keyed.key(SEED), count)
    matrices = torch.stack([keyed.orthogonal_(torch.empty(size, size, dtype=torch.float64), key) for key in keys])
    assert (matrices.mT @ matrices - torch.eye(size, dtype=torch.float64)).abs().max() < 1e-14
    beta = scipy.stats.beta(0.5, (size - 1) / 2)
    p_values = {}
    for row, column in ((0, 0), (0, size - 1), (size - 1, 0), (size - 1, size - 1), (3, 4)):
        entry = matrices[:, row, column]
        p_values[f"square_{row}_{column}"] = _two_sided(scipy.stats.kstest(entry.square().numpy(), beta.cdf).pvalue)
        p_values[f"sign_{row}_{column}"] = scipy.stats.binomtest(int((entry > 0).sum()), count).pvalue
    p_values["determinant"] = scipy.stats.binomtest(int((torch.linalg.det(matrices) > 0).sum()), count).pvalue
    # The trace of a matrix of O(n) approaches a normal variable faster than exponentially (Johansson 1997,
    # https://doi.org/10.2307/2951843).
    trace = matrices.diagonal(dim1=1, dim2=2).sum(1)
    p_values["trace"] = _two_sided(scipy.stats.kstest(trace.numpy(), "norm").pvalue)
    _check(**p_values)
