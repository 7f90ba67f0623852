"""Does inspect measure right, and name the initialization that was used?"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.inspected_models import drawn
from tools.bench.measure import peak_extra_bytes
from torchinit.commands import _inspect
from torchinit.commands._inspect import Parameter, measure, scales, verdict
from torchinit.recipes._layers import Layer


def _said(tensor: Tensor, module: nn.Module | None = None, name: str = "weight") -> tuple[str | None, bool]:
    """The verdict on a tensor as the parameter of a layer."""
    module = nn.Module() if module is None else module
    module._parameters[name] = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, requires_grad=False)
    parameter = Parameter(name, Layer("", module), name, tensor)
    return verdict(measure(tensor), scales(parameter), tensor.dim() > 1 and tensor.numel() > 0)


def _random(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    values = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = values.where(values.abs() > 1, 0)
    if dtype.is_complex:
        return torch.complex(values, values.flip(0)).to(dtype)
    return (values + 0.5).to(dtype)


DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int8, torch.uint8, torch.bool),
]


@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 7), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_statistics_are_numpys(dtype: torch.dtype, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inspect, "_CHUNK", 4)
    tensor = _random(shape, dtype)
    values = tensor.to(torch.float64).numpy()
    statistics = measure(tensor)
    assert statistics is not None
    assert statistics.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-15)
    assert statistics.std == pytest.approx(values.std(), rel=1e-12, abs=1e-15)
    assert (statistics.low, statistics.high) == (values.min(), values.max())
    assert statistics.zeros == np.sum(values == 0)
    assert statistics.not_finite == 0


def test_statistics_of_complex_numbers_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inspect, "_CHUNK", 4)
    tensor = _random((5, 7), torch.complex64)
    values = tensor.to(torch.complex128).numpy()
    statistics = measure(tensor)
    assert statistics is not None
    assert statistics.mean == pytest.approx(values.mean(), rel=1e-12)
    assert statistics.std == pytest.approx(values.std(), rel=1e-12)
    assert statistics.zeros == np.sum(values == 0)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_statistics_are_those_of_the_finite_values(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inspect, "_CHUNK", chunk)
    statistics = measure(torch.tensor([math.nan, 1.0, math.inf, 0.0, 5.0, -math.inf]))
    assert statistics is not None
    assert (statistics.size, statistics.not_finite, statistics.zeros) == (6, 3, 1)
    assert (statistics.mean, statistics.low, statistics.high) == (2.0, 0.0, 5.0)
    assert statistics.std == pytest.approx(np.std([1.0, 0.0, 5.0]))


def test_what_changes_once_is_not_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inspect, "_CHUNK", 4)
    statistics = measure(torch.tensor([1.0] * 4 + [2.0] * 4))
    assert statistics is not None
    assert statistics.constant is None


def test_large_mean_does_not_drown_the_spread() -> None:
    statistics = measure(1e8 + torch.arange(1000.0, dtype=torch.float64) % 2)
    assert statistics is not None
    assert statistics.std == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize(
    "tensor",
    [torch.arange(12.0).view(3, 4).t(), torch.arange(3.0).expand(2, 3), torch.eye(4).to_sparse()],
    ids=["transposed", "expanded", "sparse"],
)
def test_layout_makes_no_difference(tensor: Tensor) -> None:
    statistics, dense = measure(tensor), measure(tensor.to_dense().contiguous() if tensor.is_sparse else tensor.clone())
    assert statistics == dense


def test_measuring_takes_no_copy_of_the_whole() -> None:
    tensor = torch.zeros(1 << 23, dtype=torch.bfloat16)
    assert peak_extra_bytes(lambda t: measure(t[0]), [tensor]) < 4 * 8 * _inspect._CHUNK < 8 * tensor.numel()


def test_what_has_no_numbers_is_not_measured() -> None:
    assert measure(torch.empty(3, device="meta")) is None
    assert measure(torch.zeros(4, dtype=torch.uint8).view(torch.bits8)) is None
    assert _said(torch.empty(3, 4, device="meta")) == ("no numbers", False)


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
    "too large": (drawn("normal_", (256, 256), std=1.0), ("far from any known scale", True)),
    "too small": (drawn("normal_", (256, 256), std=1e-3), ("far from any known scale", True)),
    "denormal": (torch.tensor([[5e-324, 0.0]], dtype=torch.float64), ("far from any known scale", True)),
    "overflow": (torch.tensor([[1.7e308, -1.7e308]], dtype=torch.float64), ("far from any known scale", True)),
    "uniform from 0": (drawn("uniform_", (256, 256), b=0.1), ("mean far from 0", True)),
    "He": (drawn("kaiming_normal_", (256, 64)), ("like He", False)),
    "He, uniform": (drawn("kaiming_uniform_", (64, 32, 3, 3)), ("like He", False)),
    "He fan_out": (drawn("kaiming_normal_", (256, 64), mode="fan_out"), ("like He fan_out", False)),
    "Xavier": (drawn("xavier_uniform_", (256, 64)), ("like Xavier", False)),
    "larger than all": (2 * drawn("kaiming_normal_", (64, 256), mode="fan_out"), ("2 x He fan_out", False)),
    "smaller than all": (drawn("normal_", (300, 200), std=0.01), ("0.5 x N(0, 0.02)", False)),
    "LeCun": (drawn("kaiming_normal_", (256, 64), nonlinearity="linear"), ("like LeCun", False)),
    "orthogonal": (drawn("orthogonal_", (256, 64)), ("like orthogonal", False)),
    "square": (drawn("orthogonal_", (64, 64)), ("like Xavier or LeCun or orthogonal", False)),
    "square He": (drawn("kaiming_normal_", (64, 64)), ("like He", False)),
    "torch's default": (drawn("kaiming_uniform_", (256, 64), a=5**0.5), ("like torch's default", False)),
    "0.02": (drawn("normal_", (300, 200), std=0.02), ("like N(0, 0.02)", False)),
    "half precision": (drawn("kaiming_normal_", (256, 64)).bfloat16(), ("like He", False)),
    "few values": (drawn("kaiming_normal_", (4, 3)), ("like He", False)),
}


@pytest.mark.parametrize("label", VERDICTS)
def test_verdict(label: str) -> None:
    tensor, expected = VERDICTS[label]
    assert _said(tensor) == expected


@pytest.mark.parametrize(
    ("shape", "factor", "said"),
    [
        ((256, 64), 1.04, "like He"),
        ((256, 64), 0.96, "like He"),
        ((256, 64), 1.07, "1.1 x He"),
        ((256, 64), 0.93, "0.93 x He"),
        # The std of 12 draws has a standard error of a fifth.
        ((3, 4), 1.5, "like He fan_out"),
    ],
)
def test_like_allows_for_a_twentieth_or_the_sampling_error(shape: tuple[int, int], factor: float, said: str) -> None:
    values = drawn("normal_", shape)
    values -= values.mean()
    std = max(math.sqrt(2 / shape[1]), math.sqrt(2 / shape[0]) if said.endswith("fan_out") else 0.0)
    assert _said(values / values.std(correction=0) * std * factor) == (said, False)


def test_mean_of_few_values_may_be_off() -> None:
    values = torch.tensor([[0.5, 0.1], [0.6, 0.2]])
    assert values.mean() > values.std()
    assert _said(values)[1] is False


@pytest.mark.parametrize("factor", [1 / 3.1, 1 / 2.9, 2.9, 3.1])
def test_far_is_three_times_beyond_all_known_scales(factor: float) -> None:
    tensor = torch.empty(400, 200)
    module = nn.Module()
    module.weight = nn.Parameter(tensor)
    known = scales(Parameter("weight", Layer("", module), "weight", tensor))
    edge = max(known.values()) if factor > 1 else min(known.values())
    values = drawn("normal_", (400, 200))
    assert _said(values / values.std() * edge * factor)[1] is (not 1 / 3 < factor < 3)


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
def test_what_torch_draws_is_like_torchs_default(make: Callable[[], nn.Module], name: str) -> None:
    torch.manual_seed(0)
    module = make()
    assert _said(module._parameters[name], module, name) == ("like torch's default", False)


def test_vector_beside_a_weight_is_a_bias_only_by_name() -> None:
    layer = nn.Linear(64, 1000)
    assert _said(layer.bias.detach(), layer, "scale") == (None, False)


def test_bias_around_another_value_has_no_scale() -> None:
    layer = nn.Linear(64, 1000)
    assert _said(layer.bias.detach() + 1.0, layer, "bias") == (None, False)


def test_bias_that_has_hardly_moved_from_zero_is_near_it() -> None:
    layer = nn.Linear(64, 1000)
    assert _said(drawn("normal_", (1000,), std=1e-4), layer, "bias") == ("near 0", False)
    assert _said(1 + drawn("normal_", (1000,), std=1e-4), layer, "bias") == (None, False)
    assert _said(drawn("normal_", (1000,), std=5.0), layer, "bias") == ("far from any known scale", True)


def test_norms_of_weight_norm_have_no_scale() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(64, 100))
    parametrized = layer.parametrizations.weight
    assert _said(parametrized.original0.detach(), parametrized, "original0") == (None, False)


def test_embedding_is_like_a_standard_normal() -> None:
    torch.manual_seed(0)
    embedding = nn.Embedding(1000, 64)
    assert _said(embedding.weight.detach(), embedding) == ("like N(0, 1)", False)
    assert _said(embedding.weight.detach(), nn.Linear(64, 1000))[0] != "like N(0, 1)"
    assert "torch's default" not in scales(Parameter("weight", Layer("", embedding), "weight", embedding.weight))


@pytest.mark.parametrize(
    ("path", "known"),
    [("wte", True), ("bert.embeddings.word_embeddings", True), ("shared", True), ("embeddings.dense", False)],
)
def test_name_tells_an_embedding_where_no_module_does(path: str, known: bool) -> None:
    for module, may in ((nn.Module(), known), (nn.Linear(64, 1000), False)):
        module.weight = nn.Parameter(torch.ones(1000, 64))
        named = Parameter(f"{path}.weight", Layer(path, module), "weight", module.weight)
        assert ("N(0, 1)" in scales(named)) is may


def test_error_that_is_not_of_a_missing_kernel_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, chunk: Tensor) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(_inspect.Statistics, "add", fail)
    with pytest.raises(RuntimeError, match=r"^out of memory$"):
        measure(torch.zeros(3))
