"""Are the statistics of parameters right, and does the verdict name the initialization used?"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.inspection import draw
from tools.bench.measure import peak_extra_bytes
from torchinit.diagnostics import ParameterStatistics, statistics

# Elements measured at a time.
CHUNK = "torchinit.diagnostics._moments._CHUNK"


def _row(tensor: Tensor, module: nn.Module | None = None, name: str = "weight") -> ParameterStatistics:
    """Return the statistics of a tensor as a layer's parameter."""
    module = nn.Module() if module is None else module
    module._parameters[name] = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, requires_grad=False)
    return next(row for row in statistics(module) if row.name == name)


def _verdict(tensor: Tensor, module: nn.Module | None = None, name: str = "weight") -> tuple[str | None, bool]:
    row = _row(tensor, module, name)
    return row.verdict, row.bad


def _random(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    values = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = values.where(values.abs() > 1, 0)
    if dtype.is_complex:
        return torch.complex(values, values.flip(0) if shape else values).to(dtype)
    return (values + 0.5).to(dtype)


DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int8, torch.uint8, torch.bool, torch.complex64),
]


@pytest.mark.parametrize("shape", [(), (5, 7)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_statistics_equal_numpys(dtype: torch.dtype, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CHUNK, 4)
    tensor = _random(shape, dtype)
    values = tensor.to(torch.complex128 if dtype.is_complex else torch.float64).numpy()
    row = _row(tensor)
    assert (row.shape, row.dtype) == (shape, dtype)
    assert row.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-15)
    assert row.std == pytest.approx(values.std(), rel=1e-12, abs=1e-15)
    assert (row.min, row.max) == ((None, None) if dtype.is_complex else (values.min(), values.max()))
    assert row.zeros == np.mean(values == 0)
    assert row.not_finite == 0


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_statistics_are_those_of_the_finite_values(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CHUNK, chunk)
    row = _row(torch.tensor([math.nan, 1.0, math.inf, 0.0, 5.0, -math.inf]))
    assert (row.not_finite, row.zeros, row.constant) == (3, 1 / 6, False)
    assert (row.mean, row.min, row.max) == (2.0, 0.0, 5.0)
    assert row.std == pytest.approx(np.std([1.0, 0.0, 5.0]))


def test_tensor_of_two_constant_chunks_is_not_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CHUNK, 4)
    assert not _row(torch.tensor([1.0] * 4 + [2.0] * 4)).constant
    assert _row(torch.tensor([1.0] * 8)).constant


def test_large_mean_does_not_drown_the_spread() -> None:
    assert _row(1e8 + torch.arange(1000.0, dtype=torch.float64) % 2).std == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize(
    "tensor",
    [torch.arange(12.0).view(3, 4).t(), torch.arange(3.0).expand(2, 3), torch.eye(4).to_sparse()],
    ids=["transposed", "expanded", "sparse"],
)
def test_layout_makes_no_difference(tensor: Tensor) -> None:
    assert _row(tensor) == _row(tensor.to_dense().contiguous() if tensor.is_sparse else tensor.clone())


def test_measuring_does_not_copy_the_tensor() -> None:
    tensor = torch.zeros(1 << 23, dtype=torch.bfloat16)
    assert peak_extra_bytes(lambda t: _row(t[0]), [tensor]) < 1 << 23 < 8 * tensor.numel()


@pytest.mark.parametrize(
    "tensor", [torch.empty(3, 4, device="meta"), torch.zeros(4, dtype=torch.uint8).view(torch.bits8)]
)
def test_tensor_without_numbers_is_not_measured(tensor: Tensor) -> None:
    row = _row(tensor)
    assert (row.verdict, row.bad) == ("no numbers", False)
    assert {row.mean, row.std, row.min, row.max, row.zeros, row.not_finite} == {None}


def test_tied_parameters_are_one_row_in_the_order_of_named_parameters() -> None:
    model = nn.Module()
    model.head = nn.Linear(4, 9, bias=False)
    model.embedding = nn.Embedding(9, 4)
    model.embedding.weight = model.head.weight
    model.one = nn.Linear(2, 2)
    model.other = model.one
    model.own = nn.Parameter(torch.ones(2))
    expected = [("own", ()), ("head.weight", ("embedding.weight",))]
    expected += [("one.weight", ("other.weight",)), ("one.bias", ("other.bias",))]
    assert [(row.name, row.tied) for row in statistics(model)] == expected
    assert statistics(model.state_dict())[1].tied == ("embedding.weight",)


def test_fans_are_the_layers_and_so_are_he_and_xavier() -> None:
    row, norm = (statistics(each)[0] for each in (nn.ConvTranspose2d(6, 4, 3, groups=2), nn.LayerNorm(5)))
    assert (row.fan_in, row.fan_out) == (27, 18)
    assert row.he == math.sqrt(2 / 27)
    assert row.xavier == pytest.approx(math.sqrt(2 / 45))
    assert {norm.fan_in, norm.fan_out, norm.he, norm.xavier} == {None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": 1}, "got int for a tensor at 'a'"),
        ({"a..b": torch.ones(2)}, "got 'a..b' for a dotted name"),
        ({1: torch.ones(2)}, "got 1 for a dotted name"),
    ],
)
def test_argument_that_is_not_a_state_dict_is_refused(state: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^a state dict must map dotted names to tensors, {message}$"):
        statistics(state)


def test_progress_is_reported_before_each_parameter() -> None:
    told = []
    statistics(nn.Linear(2, 3), lambda *step: told.append(step))
    assert told == [("measuring", "weight", 2), ("measuring", "bias", 2)]


VERDICTS: dict[str, tuple[Tensor, tuple[str | None, bool]]] = {
    "zeros of a matrix": (torch.zeros(4, 5), ("constant 0", True)),
    "a half of a matrix": (torch.full((4, 5), 0.5), ("constant 0.5", True)),
    "zeros of a vector": (torch.zeros(4), ("constant 0", False)),
    "ones of a vector": (torch.ones(4), ("constant 1", False)),
    "scalar": (torch.tensor(2.5), ("constant 2.5", False)),
    "matrix of one": (torch.ones(1, 1), ("constant 1", False)),
    "complex ones": (torch.ones(3, dtype=torch.complex64), ("constant 1+0j", False)),
    "complex that differ in sign": (torch.tensor([1 + 1j, 1 - 1j]), (None, False)),
    "true": (torch.ones(3, dtype=torch.bool), ("constant 1", False)),
    "nan": (torch.tensor([[0.1, math.nan], [0.2, 0.3]]), ("not finite", True)),
    "inf": (torch.tensor([0.1, -math.inf]), ("not finite", True)),
    "all nan": (torch.full((3,), math.nan), ("not finite", True)),
    "constant but for nan": (torch.tensor([1.0, math.nan]), ("not finite", True)),
    "empty": (torch.empty(0, 3), ("empty", False)),
    "vector of no known kind": (torch.arange(5.0), (None, False)),
    "integers": (torch.arange(20).view(4, 5), (None, False)),
    "too large": (draw("normal_", (256, 256), std=1.0), ("far from any known scale", True)),
    "too small": (draw("normal_", (256, 256), std=1e-3), ("far from any known scale", True)),
    "denormal": (torch.tensor([[5e-324, 0.0]], dtype=torch.float64), ("far from any known scale", True)),
    "overflow": (torch.tensor([[1.7e308, -1.7e308]], dtype=torch.float64), ("far from any known scale", True)),
    "uniform from 0": (draw("uniform_", (256, 256), b=0.1), ("mean far from 0", True)),
    "He": (draw("kaiming_normal_", (256, 64)), ("like He", False)),
    "He, uniform": (draw("kaiming_uniform_", (64, 32, 3, 3)), ("like He", False)),
    "He fan_out": (draw("kaiming_normal_", (256, 64), mode="fan_out"), ("like He fan_out", False)),
    "Xavier": (draw("xavier_uniform_", (256, 64)), ("like Xavier", False)),
    "larger than all": (2 * draw("kaiming_normal_", (64, 256), mode="fan_out"), ("2 x He fan_out", False)),
    "smaller than all": (draw("normal_", (300, 200), std=0.01), ("0.5 x N(0, 0.02)", False)),
    "LeCun": (draw("kaiming_normal_", (256, 64), nonlinearity="linear"), ("like LeCun", False)),
    "orthogonal": (draw("orthogonal_", (256, 64)), ("like orthogonal", False)),
    "square": (draw("orthogonal_", (64, 64)), ("like Xavier or LeCun or orthogonal", False)),
    "square He": (draw("kaiming_normal_", (64, 64)), ("like He", False)),
    "torch's default": (draw("kaiming_uniform_", (256, 64), a=5**0.5), ("like torch's default", False)),
    "0.02": (draw("normal_", (300, 200), std=0.02), ("like N(0, 0.02)", False)),
    "half precision": (draw("kaiming_normal_", (256, 64)).bfloat16(), ("like He", False)),
    "few values": (draw("kaiming_normal_", (4, 3)), ("like He", False)),
}


@pytest.mark.parametrize("label", VERDICTS)
def test_verdict(label: str) -> None:
    tensor, expected = VERDICTS[label]
    assert _verdict(tensor) == expected


@pytest.mark.parametrize(
    ("shape", "factor", "said"),
    [
        ((256, 64), 1.04, "like He"),
        ((256, 64), 0.96, "like He"),
        ((256, 64), 1.07, "1.1 x He"),
        ((256, 64), 0.93, "0.93 x He"),
        # The std of 12 draws has a standard error of 20 %.
        ((3, 4), 1.5, "like He fan_out"),
    ],
)
def test_like_allows_5_percent_or_the_sampling_error(shape: tuple[int, int], factor: float, said: str) -> None:
    values = draw("normal_", shape)
    values -= values.mean()
    std = max(math.sqrt(2 / shape[1]), math.sqrt(2 / shape[0]) if said.endswith("fan_out") else 0.0)
    assert _verdict(values / values.std(correction=0) * std * factor) == (said, False)


def test_mean_of_few_values_may_be_off() -> None:
    values = torch.tensor([[0.5, 0.1], [0.6, 0.2]])
    assert values.mean() > values.std()
    assert _verdict(values)[1] is False
    assert _verdict(draw("uniform_", (8, 8), b=0.5)) == ("mean far from 0", True)


@pytest.mark.parametrize("factor", [1 / 3.1, 1 / 2.9, 2.9, 3.1])
def test_far_is_three_times_beyond_all_known_scales(factor: float) -> None:
    # For 200 inputs and 400 outputs He's std is the largest known and 0.02 the least.
    edge = math.sqrt(2 / 200) if factor > 1 else 0.02
    values = draw("normal_", (400, 200))
    assert _verdict(values / values.std() * edge * factor)[1] is (not 1 / 3 < factor < 3)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: nn.Linear(64, 256), "weight"),
        (lambda: nn.Linear(64, 1000), "bias"),
        (lambda: nn.Conv2d(32, 64, 3, groups=4), "weight"),
        (lambda: nn.ConvTranspose2d(32, 64, 3, groups=4), "weight"),
        (lambda: nn.ConvTranspose2d(32, 900, 3), "bias"),
        (lambda: nn.Bilinear(30, 20, 40), "weight"),
        (lambda: nn.LSTM(200, 30), "weight_ih_l0"),
        (lambda: nn.GRU(20, 300), "bias_hh_l0"),
        (lambda: nn.LSTM(20, 300, proj_size=10), "weight_hr_l0"),
        (lambda: nn.LSTM(20, 300, proj_size=10), "bias_ih_l0"),
        (lambda: nn.LSTMCell(20, 300), "weight_ih"),
    ],
)
def test_default_of_torch_is_recognized(make: Callable[[], nn.Module], name: str) -> None:
    torch.manual_seed(0)
    module = make()
    assert _verdict(module._parameters[name], module, name) == ("like torch's default", False)


def test_vector_beside_a_weight_is_a_bias_only_by_name() -> None:
    layer = nn.Linear(64, 1000)
    assert _verdict(layer.bias.detach().clone(), layer, "scale") == (None, False)


def test_bias_around_another_value_has_no_scale() -> None:
    layer = nn.Linear(64, 1000)
    assert _verdict(layer.bias.detach() + 1.0, layer, "bias") == (None, False)


def test_bias_that_has_hardly_moved_from_zero_is_near_it() -> None:
    layer = nn.Linear(64, 1000)
    assert _verdict(draw("normal_", (1000,), std=1e-4), layer, "bias") == ("near 0", False)
    assert _verdict(1 + draw("normal_", (1000,), std=1e-4), layer, "bias") == (None, False)
    assert _verdict(draw("normal_", (1000,), std=5.0), layer, "bias") == ("far from any known scale", True)


def test_norms_of_weight_norm_have_no_scale() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(64, 100))
    parametrized = layer.parametrizations.weight
    assert _verdict(parametrized.original0.detach(), parametrized, "original0") == (None, False)


def test_embedding_is_like_a_standard_normal() -> None:
    torch.manual_seed(0)
    embedding = nn.Embedding(1000, 64)
    assert _verdict(embedding.weight.detach(), embedding) == ("like N(0, 1)", False)
    assert _verdict(embedding.weight.detach(), nn.Linear(64, 1000))[0] != "like N(0, 1)"
    # The default of a linear layer is not the default of an embedding.
    assert _verdict(draw("kaiming_uniform_", (1000, 64), a=5**0.5), nn.Embedding(1000, 64))[0] != "like torch's default"


@pytest.mark.parametrize(
    ("path", "known"),
    [("wte", True), ("bert.embeddings.word_embeddings", True), ("shared", True), ("embeddings.dense", False)],
)
def test_name_identifies_an_embedding_without_a_module(path: str, known: bool) -> None:
    values = draw("normal_", (1000, 64))
    assert (statistics({f"{path}.weight": values})[0].verdict == "like N(0, 1)") is known
    model = nn.Module()
    model.wte = nn.Linear(64, 1000)
    assert _row(values, model.wte).verdict != "like N(0, 1)"
    assert statistics(model)[0].verdict == "far from any known scale"


def test_error_that_is_not_of_a_missing_kernel_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, chunk: Tensor) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("torchinit.diagnostics._moments.Moments.add", fail)
    with pytest.raises(RuntimeError, match=r"^out of memory$"):
        _row(torch.zeros(3))
