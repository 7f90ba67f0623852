"""Are orthogonal matrices distributed by the Haar measure?

Let n be the longer side. Each column (row, if rows are longer) is then uniform on the sphere in n dimensions, and the
square of an entry has the distribution Beta(1/2, (n - 1)/2), for complex matrices Beta(1, n - 1). All seeds are fixed:
a test passes always or never.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

import torchinit
from torchinit import keyed

pytestmark = pytest.mark.slow

# A few hundred independent p-values at this level fail one suite in a thousand.
LEVEL = 3e-6
SEED = 2026
COUNT = 1000


@dataclass(frozen=True)
class Sample:
    """Matrices that an initializer makes.

    Attributes:
        fill: fills one weight, given a key that it may ignore
        shape: the shape of a weight
        dtype: its dtype
        matrices: extracts the matrices of all weights, as (draws, matrices in a weight, rows, columns)
    """

    fill: Callable[[Tensor, Tensor], Tensor]
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    matrices: Callable[[Tensor], Tensor] = lambda weights: weights.flatten(2).unsqueeze(1)

    def draw(self) -> Tensor:
        torch.manual_seed(SEED)
        keys = keyed.split(keyed.key(SEED), COUNT)
        weights = torch.stack([self.fill(torch.empty(self.shape, dtype=self.dtype), key) for key in keys])
        return self.matrices(weights).to(torch.complex128 if self.dtype.is_complex else torch.float64)


def _orthogonal(tensor: Tensor, key: Tensor) -> Tensor:
    return torchinit.orthogonal_(tensor)


def _centre(weights: Tensor) -> Tensor:
    """Return the centre of each 3x3 kernel; all else must be zero."""
    centre = weights[..., 1, 1]
    assert weights.count_nonzero() == centre.count_nonzero() == centre.numel()
    return centre


def _halves(matrices: Tensor) -> Tensor:
    return torch.stack(matrices.chunk(2, dim=1), dim=1)


SAMPLES = {
    "square": Sample(_orthogonal, (5, 5)),
    "even": Sample(_orthogonal, (4, 4), torch.float64),
    "wide": Sample(_orthogonal, (3, 7)),
    "tall": Sample(_orthogonal, (7, 3), torch.float64),
    "kernel": Sample(_orthogonal, (4, 2, 3)),
    "bfloat16": Sample(_orthogonal, (5, 5), torch.bfloat16),
    "complex": Sample(_orthogonal, (4, 4), torch.complex64),
    "complex_wide": Sample(_orthogonal, (2, 5), torch.complex64),
    "blocks": Sample(lambda w, _: torchinit.block_orthogonal_(w, 2), (6, 4), matrices=_halves),
    "square_blocks": Sample(lambda w, _: torchinit.block_orthogonal_(w, 2), (8, 4), matrices=_halves),
    "delta": Sample(lambda w, _: torchinit.delta_orthogonal_(w), (5, 4, 3, 3), matrices=lambda w: _centre(w)[:, None]),
    "delta_groups": Sample(
        lambda w, _: torchinit.delta_orthogonal_(w, groups=2), (8, 4, 3, 3), matrices=lambda w: _halves(_centre(w))
    ),
    "keyed": Sample(keyed.orthogonal_, (5, 5)),
    "keyed_tall": Sample(keyed.orthogonal_, (6, 3), torch.float64),
    "keyed_complex": Sample(keyed.orthogonal_, (3, 4), torch.complex128),
    "keyed_blocks": Sample(lambda w, key: keyed.block_orthogonal_(w, key, 2), (8, 4), matrices=_halves),
    "keyed_delta": Sample(
        lambda w, key: keyed.delta_orthogonal_(w, key, groups=2),
        (8, 4, 3, 3),
        matrices=lambda w: _halves(_centre(w)),
    ),
}
SQUARE = [
    "square",
    "even",
    "bfloat16",
    "complex",
    "square_blocks",
    "delta_groups",
    "keyed",
    "keyed_blocks",
    "keyed_delta",
]
SEVERAL = ["blocks", "square_blocks", "delta_groups", "keyed_blocks", "keyed_delta"]


@pytest.fixture(scope="module", params=SAMPLES)
def matrices(request: pytest.FixtureRequest) -> Tensor:
    return SAMPLES[request.param].draw()


def _kolmogorov_smirnov(values: Tensor, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return the least p-value of samples, one a column, with Bonferroni's correction."""
    probabilities = np.sort(cdf(values.flatten(1).numpy()), axis=0)
    count, samples = probabilities.shape
    steps = np.arange(count + 1)[:, None] / count
    distance = max((steps[1:] - probabilities).max(), (probabilities - steps[:-1]).max())
    return min(1.0, samples * scipy.stats.kstwo.sf(distance, count))


def _mean(values: Tensor, expected: float) -> float:
    """Return the p-value of the mean farthest from ``expected``, one sample a column, with Bonferroni's correction."""
    values = values.reshape(len(values), -1)
    scores = (values.mean(0) - expected) / (values.std(0) / math.sqrt(len(values)))
    return min(1.0, scores.numel() * math.erfc(scores.abs().max().item() / math.sqrt(2)))


def _length(matrices: Tensor) -> int:
    return max(matrices.shape[-2:])


def _squares_follow_beta(entries: Tensor, n: int) -> float:
    shape = (1.0, n - 1.0) if entries.is_complex() else (0.5, (n - 1) / 2)
    # NB: rounding can take an entry of 1 beyond 1.
    return _kolmogorov_smirnov(entries.abs().square().clamp(max=1.0), lambda x: scipy.special.betainc(*shape, x))


def _phases_are_uniform(entries: Tensor) -> float:
    """Return the p-value of the signs; of the angles, for complex numbers."""
    if entries.is_complex():
        return _kolmogorov_smirnov(entries.angle(), lambda x: x / (2 * math.pi) + 0.5)
    return _mean(entries.sign(), 0.0)


def _check(**p_values: float) -> None:
    """Fail on a p-value that chance does not explain."""
    assert min(p_values.values()) > LEVEL, p_values


def test_every_entry_is_distributed_as_that_of_a_point_on_the_sphere(matrices: Tensor) -> None:
    _check(squares=_squares_follow_beta(matrices, _length(matrices)), phases=_phases_are_uniform(matrices))


def test_distribution_is_the_same_in_every_direction(matrices: Tensor) -> None:
    # The Haar measure is invariant under rotations on either side.
    generator = torch.Generator().manual_seed(SEED)
    rows, columns = matrices.shape[-2:]
    left = torch.randn(rows, 20, dtype=matrices.dtype, generator=generator)
    right = torch.randn(columns, 20, dtype=matrices.dtype, generator=generator)
    left, right = (torch.nn.functional.normalize(vectors, dim=0) for vectors in (left, right))
    entries = torch.einsum("ra,...rc,ca->...a", left.conj(), matrices, right)
    _check(squares=_squares_follow_beta(entries, _length(matrices)), phases=_phases_are_uniform(entries))


def test_entries_of_one_and_of_two_vectors_correlate_as_on_the_sphere(matrices: Tensor) -> None:
    n = _length(matrices)
    vectors = (matrices if matrices.size(-1) == n else matrices.mT).abs().square()
    # Moments of U(n) and O(n): Collins and Sniady (2006), https://arxiv.org/abs/math-ph/0402073.
    alone, together = (2 / (n + 1), 1 / (n + 1)) if matrices.is_complex() else (3 / (n + 2), 1 / (n + 2))
    _check(
        alone=_mean(vectors.square().sum(-1), alone),
        together=_mean((vectors[..., :-1, :] * vectors[..., 1:, :]).sum(-1), together),
    )


@pytest.mark.parametrize("matrices", SQUARE, indirect=True)
def test_trace_and_determinant_of_a_square_matrix_are_those_of_the_whole_group(matrices: Tensor) -> None:
    trace = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
    # The moments of a normal variable (Diaconis and Shahshahani 1994, https://doi.org/10.2307/3214948).
    fourth = 2.0 if trace.is_complex() else 3.0
    _check(
        real=_mean(trace.real, 0.0),
        imaginary=_mean(trace.imag, 0.0) if trace.is_complex() else 1.0,
        second=_mean(trace.abs().square(), 1.0),
        fourth=_mean(trace.abs().square().square(), fourth),
        determinant=_phases_are_uniform(torch.linalg.det(matrices)),
    )


@pytest.mark.parametrize("matrices", SEVERAL, indirect=True)
def test_matrices_of_one_weight_are_independent(matrices: Tensor) -> None:
    one, other = matrices.flatten(2).unbind(1)
    deviations = [entries.abs().square() - 1 / _length(matrices) for entries in (one, other)]
    _check(
        entries=_mean(one[:, :, None] * other[:, None], 0.0),
        squares=_mean(deviations[0][:, :, None] * deviations[1][:, None], 0.0),
    )
