"""Are the statistics of parameters right?"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.inspection import row_of
from tools.bench.measure import peak_extra_bytes
from torchinit.diagnostics import statistics

# Elements measured at a time.
CHUNK = "torchinit.diagnostics._moments._CHUNK"


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
    row = row_of(tensor)
    assert (row.shape, row.dtype) == (shape, dtype)
    assert row.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-15)
    assert row.std == pytest.approx(values.std(), rel=1e-12, abs=1e-15)
    assert (row.min, row.max) == ((None, None) if dtype.is_complex else (values.min(), values.max()))
    assert row.zeros == np.mean(values == 0)
    assert row.not_finite == 0


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_statistics_are_those_of_the_finite_values(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CHUNK, chunk)
    row = row_of(torch.tensor([math.nan, 1.0, math.inf, 0.0, 5.0, -math.inf]))
    assert (row.not_finite, row.zeros, row.constant) == (3, 1 / 6, False)
    assert (row.mean, row.min, row.max) == (2.0, 0.0, 5.0)
    assert row.std == pytest.approx(np.std([1.0, 0.0, 5.0]))


def test_tensor_of_two_constant_chunks_is_not_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CHUNK, 4)
    assert not row_of(torch.tensor([1.0] * 4 + [2.0] * 4)).constant
    assert row_of(torch.tensor([1.0] * 8)).constant


def test_large_mean_does_not_drown_the_spread() -> None:
    assert row_of(1e8 + torch.arange(1000.0, dtype=torch.float64) % 2).std == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize(
    "tensor",
    [torch.arange(12.0).view(3, 4).t(), torch.arange(3.0).expand(2, 3), torch.eye(4).to_sparse()],
    ids=["transposed", "expanded", "sparse"],
)
def test_layout_makes_no_difference(tensor: Tensor) -> None:
    assert row_of(tensor) == row_of(tensor.to_dense().contiguous() if tensor.is_sparse else tensor.clone())


def test_measuring_does_not_copy_the_tensor() -> None:
    tensor = torch.zeros(1 << 23, dtype=torch.bfloat16)
    assert peak_extra_bytes(lambda t: row_of(t[0]), [tensor]) < 1 << 23 < 8 * tensor.numel()


@pytest.mark.parametrize(
    "tensor", [torch.empty(3, 4, device="meta"), torch.zeros(4, dtype=torch.uint8).view(torch.bits8)]
)
def test_tensor_without_numbers_is_not_measured(tensor: Tensor) -> None:
    row = row_of(tensor)
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


def test_error_that_is_not_of_a_missing_kernel_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, chunk: Tensor) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("torchinit.diagnostics._moments.Moments.add", fail)
    with pytest.raises(RuntimeError, match=r"^out of memory$"):
        row_of(torch.zeros(3))


def test_extra_state_beside_tensors_is_left_out() -> None:
    found = statistics({"a.weight": torch.ones(3, 4), "a._extra_state": b"anything"})
    assert [row.name for row in found] == ["a.weight"]
