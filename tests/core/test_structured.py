"""Do the structured initializers hold their properties where upstream is no oracle?"""

import math

import pytest
import torch

import torchinit

# Tolerance of orthonormality, by the rounding of each dtype.
TOLERANCE = {
    torch.float16: 5e-3,
    torch.bfloat16: 4e-2,
    torch.float32: 1e-5,
    torch.float64: 1e-12,
    torch.complex32: 5e-3,
    torch.complex64: 1e-5,
    torch.complex128: 1e-12,
}


@pytest.mark.parametrize("gain", [1.0, 1.7])
@pytest.mark.parametrize("shape", [(1, 1), (6, 6), (5, 12), (12, 5), (8, 2, 3, 3)], ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_orthogonal_is_orthogonal_in_every_dtype(dtype: torch.dtype, shape: tuple[int, ...], gain: float) -> None:
    torch.manual_seed(0)
    weight = torchinit.orthogonal_(torch.empty(shape, dtype=dtype), gain)
    matrix = weight.reshape(shape[0], -1).to(torch.complex128 if dtype.is_complex else torch.float64)
    if matrix.size(0) > matrix.size(1):
        matrix = matrix.mH
    identity = torch.eye(matrix.size(0), dtype=matrix.dtype)
    assert (matrix @ matrix.mH / gain**2 - identity).abs().max() < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_orthogonal_in_16_bits_is_float32_rounded_once(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    narrow = torchinit.orthogonal_(torch.empty(7, 9, dtype=dtype), 1.3)
    torch.manual_seed(0)
    assert torch.equal(narrow, torchinit.orthogonal_(torch.empty(7, 9), 1.3).to(dtype))


def test_orthogonal_gives_the_same_values_in_any_layout() -> None:
    torch.manual_seed(0)
    plain = torchinit.orthogonal_(torch.empty(6, 4, 3, 3))
    torch.manual_seed(0)
    last = torchinit.orthogonal_(torch.empty(6, 4, 3, 3).to(memory_format=torch.channels_last))
    assert torch.equal(plain, last)
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_orthogonal_is_haar_distributed_not_just_orthogonal(dtype: torch.dtype) -> None:
    # LAPACK's Q has a diagonal of one sign. Under the Haar measure its mean is 0 and its variance 1/n.
    torch.manual_seed(0)
    diagonal = torch.cat([torchinit.orthogonal_(torch.empty(4, 4, dtype=dtype)).diagonal() for _ in range(2000)])
    assert diagonal.mean().abs() < 5 * 0.5 / math.sqrt(diagonal.numel())
    assert abs(diagonal.abs().square().mean().item() - 0.25) < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64], ids=str)
def test_sparse_depends_only_on_its_generator(dtype: torch.dtype) -> None:
    def fill(global_seed: int, seed: int) -> torch.Tensor:
        torch.manual_seed(global_seed)
        return torchinit.sparse_(torch.empty(40, 30, dtype=dtype), 0.3, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(fill(0, 5), fill(1, 5))
    assert not torch.equal(fill(0, 5) == 0, fill(0, 6) == 0)


@pytest.mark.parametrize(("rows", "sparsity", "zeros"), [(10, 0.31, 4), (10, 0.0, 0), (10, 1.0, 10), (7, 0.5, 4)])
def test_sparse_zeroes_the_ceiling_of_the_fraction_in_each_column(rows: int, sparsity: float, zeros: int) -> None:
    for generator in (None, torch.Generator().manual_seed(0)):
        weight = torchinit.sparse_(torch.empty(rows, 12), sparsity, std=1.0, generator=generator)
        assert (weight == 0).sum(dim=0).tolist() == [zeros] * 12


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_dirac_convolution_passes_its_input_on(groups: int, dimensions: int) -> None:
    convolution = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[dimensions - 1]
    layer = convolution(8, 8, 3, padding=1, groups=groups, bias=False)
    torchinit.dirac_(layer.weight, groups)
    x = torch.randn(2, 8, *[5] * dimensions)
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_identity_of_8_bit_floats_in_inference_mode_has_its_gain(dtype: torch.dtype) -> None:
    with torch.inference_mode():
        weight = torchinit.identity_(torch.empty(3, 3, dtype=dtype), gain=-2.0)
        assert torch.equal(weight.to(torch.float32), -2.0 * torch.eye(3))
