"""Do structured kernels, blocks and biases do their job in a layer?"""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import torchinit

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_identity_convolution_multiplies_its_input_by_the_gain(groups: int, dimensions: int) -> None:
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    layer = convolution(8, 8, 3, padding=1, groups=groups, bias=False)
    torchinit.identity_(layer.weight, -0.5, groups)
    x = torch.randn(2, 8, *[5] * dimensions)
    assert torch.equal(layer(x), -0.5 * x)


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int32, torch.bool], ids=str)
def test_identity_of_gain_one_is_eye_and_dirac(dtype: torch.dtype) -> None:
    for shape in ((4, 7), (7, 4)):
        expected = torchinit.eye_(torch.empty(shape, dtype=dtype))
        assert torch.equal(torchinit.identity_(torch.empty(shape, dtype=dtype)), expected)
    for groups in (1, 3):
        expected = torchinit.dirac_(torch.empty(6, 4, 3, 2, dtype=dtype), groups)
        assert torch.equal(torchinit.identity_(torch.empty(6, 4, 3, 2, dtype=dtype), groups=groups), expected)
    if dtype.is_floating_point:
        expected = (3.3 * torch.eye(4, 7, dtype=torch.float64)).to(dtype)
        assert torch.equal(torchinit.identity_(torch.empty(4, 7, dtype=dtype), 3.3), expected)


def test_identity_of_a_grouped_matrix_is_one_in_each_group() -> None:
    weight = torchinit.identity_(torch.empty(6, 2), 2.0, groups=3)
    assert torch.equal(weight, 2 * torch.eye(2).repeat(3, 1))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", [(12, 5), (6, 20), (9, 2, 3)], ids=str)
def test_blocks_are_drawn_by_orthogonal_in_turn(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    packed = torchinit.block_orthogonal_(torch.empty(shape, dtype=dtype), 3, 1.5)
    torch.manual_seed(2)
    parts = [torchinit.orthogonal_(torch.empty(shape[0] // 3, *shape[1:], dtype=dtype), 1.5) for _ in range(3)]
    assert torch.equal(packed, torch.cat(parts))


def test_each_gate_of_an_lstm_is_orthogonal() -> None:
    layer = nn.LSTM(3, 16)
    torchinit.block_orthogonal_(layer.weight_hh_l0, 4)
    for gate in layer.weight_hh_l0.chunk(4):
        assert torch.allclose(gate @ gate.T, torch.eye(16), atol=1e-5)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize(("outputs", "inputs", "groups"), [(8, 8, 1), (12, 6, 1), (16, 8, 2), (8, 8, 8)])
def test_delta_orthogonal_convolution_keeps_the_norm_of_its_input(
    dimensions: int, outputs: int, inputs: int, groups: int
) -> None:
    torch.manual_seed(0)
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    layer = convolution(inputs, outputs, 3, padding=1, groups=groups, bias=False).double()
    torchinit.delta_orthogonal_(layer.weight, 2.0, groups)
    x = torch.randn(2, inputs, *[6] * dimensions, dtype=torch.float64)
    # The norm of every pixel, not only of the whole.
    assert torch.allclose(layer(x).norm(dim=1), 2 * x.norm(dim=1))


def test_delta_orthogonal_draws_the_bits_of_orthogonal_at_the_centre() -> None:
    for dtype in FLOATS:
        torch.manual_seed(2)
        weight = torchinit.delta_orthogonal_(torch.empty(8, 5, 3, 4, dtype=dtype), 0.7)
        torch.manual_seed(2)
        assert torch.equal(weight[:, :, 1, 2], torchinit.orthogonal_(torch.empty(8, 5, dtype=dtype), 0.7))
        weight[:, :, 1, 2] = 0
        assert not weight.any()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_delta_orthogonal_and_icnr_do_not_depend_on_the_layout(layout: torch.memory_format) -> None:
    for function in (torchinit.delta_orthogonal_, torchinit.icnr_, torchinit.bilinear_):
        torch.manual_seed(1)
        expected = function(torch.empty(8, 4, 3, 3))
        torch.manual_seed(1)
        weight = torch.empty(8, 4, 3, 3).to(memory_format=layout)
        assert torch.equal(function(weight), expected)
        assert weight.is_contiguous(memory_format=layout)


INTERPOLATIONS = {
    1: (nn.ConvTranspose1d, "linear"),
    2: (nn.ConvTranspose2d, "bilinear"),
    3: (nn.ConvTranspose3d, "trilinear"),
}


@pytest.mark.parametrize("dimensions", INTERPOLATIONS)
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_bilinear_transposed_convolution_is_interpolate_away_from_the_border(
    dimensions: int, stride: int, groups: int
) -> None:
    kind, mode = INTERPOLATIONS[dimensions]
    size, padding = 2 * stride - stride % 2, math.ceil((stride - 1) / 2)
    layer = kind(4, 4, size, stride, padding, groups=groups, bias=False)
    torchinit.bilinear_(layer.weight, groups)
    x = torch.randn(1, 4, *[6] * dimensions)
    expected = functional.interpolate(x, scale_factor=stride, mode=mode, align_corners=False)
    inner = (slice(None), slice(None), *[slice(stride, 5 * stride)] * dimensions)
    assert torch.allclose(layer(x)[inner], expected[inner], atol=1e-5)


def test_bilinear_kernel_is_that_of_the_paper_in_every_dtype() -> None:
    # upsample_filt of Long et al.: 1 - |i - centre| / factor along each side.
    for size, side in ((2, [0.5, 0.5]), (3, [0.5, 1, 0.5]), (4, [0.25, 0.75, 0.75, 0.25]), (1, [1.0])):
        kernel = torch.tensor(side, dtype=torch.float64)
        for dtype in FLOATS:
            weight = torchinit.bilinear_(torch.empty(1, 1, size, size, dtype=dtype))
            assert torch.equal(weight[0, 0], torch.outer(kernel, kernel).to(dtype))
    weight = torchinit.bilinear_(torch.empty(4, 2, 3), groups=2)
    assert torch.equal(weight.sum(2) > 0, torch.eye(2).repeat(2, 1).bool())


@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated_normal"])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_sub_pixel_output_is_constant_over_each_cell(factor: int, distribution: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 3 * factor**2, 3, padding=1, bias=False)
    torchinit.icnr_(layer.weight, factor, distribution=distribution)
    image = nn.PixelShuffle(factor)(layer(torch.randn(2, 5, 7, 6)))
    cells = image.unfold(2, factor, factor).unfold(3, factor, factor).flatten(4)
    assert torch.allclose(cells, cells[..., :1].expand_as(cells), atol=1e-6)
    assert cells[0, 0, 0, 0, 0] != cells[0, 1, 0, 0, 0]
    # Equals nearest-neighbour upsampling after the convolution with the smaller weight.
    small = functional.conv2d(torch.ones(1, 5, 4, 4), layer.weight[:: factor**2], padding=1)
    assert torch.allclose(
        nn.PixelShuffle(factor)(layer(torch.ones(1, 5, 4, 4))),
        functional.interpolate(small, scale_factor=factor),
        atol=1e-6,
    )


def test_sub_pixel_weight_is_drawn_as_kaiming_normal_draws_the_smaller_one() -> None:
    torch.manual_seed(1)
    weight = torchinit.icnr_(torch.empty(12, 7, 3, 3), 2)
    torch.manual_seed(1)
    small = torchinit.kaiming_normal_(torch.empty(3, 7, 3, 3))
    assert torch.allclose(weight, small.repeat_interleave(4, 0), rtol=1e-6)
    for mode, fan in (("fan_out", 50 * 3), ("fan_in", 40 * 3)):
        weight = torchinit.icnr_(torch.empty(100, 40, 3), 2, 1.0, mode, "uniform")
        assert 0.99 < weight.abs().max().item() / math.sqrt(3 / fan) <= 1 + 1e-6


def test_cells_of_one_and_of_three_dimensions() -> None:
    for shape, cell in (((6, 2, 3), 3), ((27, 2, 1, 1, 1), 27)):
        weight = torchinit.icnr_(torch.empty(shape), 3)
        parts = weight.view(shape[0] // cell, cell, -1)
        assert torch.equal(parts, parts[:, :1].expand_as(parts))


def test_forget_gate_is_the_second_of_torch() -> None:
    layer = nn.LSTMCell(3, 5)
    torchinit.zeros_(layer.weight_ih), torchinit.zeros_(layer.weight_hh)
    torchinit.lstm_bias_(layer.bias_ih, 2.0), torchinit.zeros_(layer.bias_hh)
    cell = torch.randn(4, 5)
    _, after = layer(torch.randn(4, 3), (torch.zeros(4, 5), cell))
    # The candidate is tanh(0), so the new cell state is the part that the forget gate keeps.
    assert torch.allclose(after, torch.sigmoid(torch.tensor(2.0)) * cell)
    assert torch.equal(torchinit.lstm_bias_(torch.empty(8)), torch.tensor([0.0, 0, 1, 1, 0, 0, 0, 0]))


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.999, 1e-300, 5e-324])
def test_sigmoid_of_the_prior_bias_is_the_prior(prior: float) -> None:
    bias: Tensor = torchinit.prior_bias_(torch.empty(3, dtype=torch.float64), prior)
    assert torch.sigmoid(bias).tolist() == pytest.approx([prior] * 3, rel=1e-12)
    if prior == 0.01:
        assert bias[0].item() == pytest.approx(-math.log((1 - prior) / prior), rel=1e-15)


def test_groups_that_are_no_integer_leave_the_weight_unchanged() -> None:
    weight = torch.full((6, 4, 4, 3), 7.0)
    with pytest.raises(TypeError):
        torchinit.bilinear_(weight, groups=2.0)  # type: ignore[arg-type]
    assert (weight == 7.0).all()
