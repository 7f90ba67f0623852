"""Are the weights of quantized models shown, with integers listed and never marked?"""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from tests.support.inspection import draw
from tests.support.model_files import load, refusal
from torchinit import cli, diagnostics

WEIGHT = draw("kaiming_normal_", (32, 64))


@pytest.fixture(autouse=True)
def _without_torchs_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch deprecates its quantized tensors.
        warnings.simplefilter("ignore")
        yield


def _inspect(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, dict[str, Any]]:
    code = cli.main(["inspect", str(path), "--json", "--check", *options])
    rows = json.loads(capsys.readouterr().out)
    # A file in which nothing is checked is an error.
    assert code == (0 if rows else 2)
    return {row["name"]: row for row in rows}


def _per_tensor() -> Tensor:
    return torch.quantize_per_tensor(WEIGHT, 0.01, 3, torch.qint8)


def _per_channel(axis: int = 0) -> Tensor:
    scales = WEIGHT.abs().amax(1 - axis).double() / 127
    return torch.quantize_per_channel(WEIGHT, scales, torch.zeros_like(scales, dtype=torch.int64), axis, torch.qint8)


PACKED = {
    "int8": {"a.weight": torch.randint(-127, 128, (4, 8), dtype=torch.int8), "a.SCB": torch.full((4,), 3.0)},
    "GPTQ": {
        "a.qweight": torch.zeros(4, 8, dtype=torch.int32),
        "a.qzeros": torch.full((2, 4), 7, dtype=torch.int32),
        "a.scales": torch.full((2, 8), 3.0, dtype=torch.float16),
    },
    "bitsandbytes": {
        "a.weight": torch.randint(0, 256, (32, 1), dtype=torch.uint8),
        "a.weight.absmax": torch.rand(2) + 9,
        "a.weight.quant_map": torch.linspace(-1, 1, 16),
    },
    "compressed-tensors": {
        "a.weight_packed": torch.zeros(4, 4, dtype=torch.int32),
        "a.weight_scale": torch.full((4, 2), 1e-9),
    },
    "one dimension": {"a.weight": torch.zeros(8, dtype=torch.int64)},
    "MXFP4": {
        "experts_blocks": torch.full((2, 3, 4), 9, dtype=torch.uint8),
        "experts_scales": torch.ones(2, 3, dtype=torch.uint8),
    },
    "float8": {
        "a.weight": torch.full((4, 8), 448.0).to(torch.float8_e4m3fn),
        "a.weight_scale_inv": torch.full((1, 1), 1e-9),
    },
    "NVFP4": {
        "a.weight": torch.randint(0, 256, (4, 8), dtype=torch.uint8),
        "a.weight_scale": torch.full((4, 2), 448.0).to(torch.float8_e4m3fn),
        "a.weight_scale_2": torch.tensor(1e-9),
    },
}


@pytest.mark.parametrize("kind", PACKED)
def test_every_tensor_of_a_quantized_file_is_listed_and_none_is_marked(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = PACKED[kind]
    safetensors.torch.save_file(tensors, tmp_path / "net")
    rows = _inspect(tmp_path / "net", capsys)
    assert rows.keys() == tensors.keys()
    for name, row in rows.items():
        dtype = tensors[name].dtype
        assert row["dtype"] == str(dtype).removeprefix("torch.")
        integers = not dtype.is_floating_point
        assert row["verdict"] == ("integers" if integers else "to be scaled" if name == "a.weight" else "scale")
        assert row["min"] == tensors[name].double().min()
        assert row["max"] == tensors[name].double().max()
        assert row["zeros"] == (tensors[name].double() == 0).double().mean()
        assert row["fan_in"] is row["he"] is row["xavier"] is None


def test_tables_of_integers_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = {
        "norm.num_batches_tracked": torch.tensor(3),
        "position_ids": torch.arange(8)[None],
        "token_type_ids": torch.zeros(1, 8, dtype=torch.int32),
        "relative_position_index": torch.ones(4, 4, dtype=torch.int64),
        "relative_coords": torch.ones(4, 4, dtype=torch.int64),
        "mask": torch.ones(3, 3, dtype=torch.bool),
        "attention_mask": torch.ones(3, 3, dtype=torch.uint8),
        "attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.uint8),
        "a.g_idx": torch.arange(16, dtype=torch.int32),
        "a.weight_shape": torch.tensor([4, 4]),
    }
    torch.save(tables, tmp_path / "net")
    assert _inspect(tmp_path / "net", capsys) == {}


def test_scales_and_float8_of_other_models_keep_their_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"norm.scale": torch.ones(4)}, tmp_path / "float")
    assert _inspect(tmp_path / "float", capsys)["norm.scale"]["verdict"] == "constant 1"
    torch.save({"a.weight": WEIGHT.to(torch.float8_e4m3fn)}, tmp_path / "float8")
    assert "He" in _inspect(tmp_path / "float8", capsys)["a.weight"]["verdict"]


@pytest.mark.parametrize("quantize", [_per_tensor, _per_channel, lambda: _per_channel(1)])
def test_quantized_tensors_are_measured_dequantized(
    quantize: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quantized = quantize()
    torch.save({"a.weight": quantized}, tmp_path / "net")
    row = _inspect(tmp_path / "net", capsys)["a.weight"]
    assert row["dtype"] == "qint8"
    assert row["std"] == pytest.approx(quantized.dequantize().double().std(correction=0).item())
    # A plain tensor of the same values is one of few values.
    plain = diagnostics.statistics({"a.weight": quantized.dequantize()})[0]
    assert plain.verdict.endswith(row["verdict"])
    assert row["fan_in"] == 64


def test_quantized_state_dict_is_measured_in_python_too() -> None:
    assert diagnostics.statistics({"a.weight": _per_channel()})[0].std == pytest.approx(WEIGHT.std().item(), rel=0.01)


class Counting(nn.Module):
    """A vector of integers beside a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_vector_of_integers_makes_no_quantized_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.jit.script(Counting()).save(str(tmp_path / "net"))
    rows = _inspect(tmp_path / "net", capsys)
    assert {name: row["verdict"] for name, row in rows.items()} == {"counts": "integers", "scale": "constant 1"}


def test_every_parameter_among_the_tensors_of_a_dict_is_measured() -> None:
    tensors = {"counts": nn.Parameter(torch.tensor([1, 2]), requires_grad=False), "table": torch.tensor([1, 2])}
    assert [row.name for row in diagnostics.statistics(tensors)] == ["counts"]


class Quantized(nn.Module):
    """A quantized linear layer, a convolution and a buffer of integers."""

    def __init__(self) -> None:
        super().__init__()
        quantization = torch.ao.nn.quantized
        self.linear, self.conv = quantization.Linear(64, 32), quantization.Conv2d(4, 8, 3, bias=False)
        self.linear.set_weight_bias(_per_channel(), torch.zeros(32))
        kernel = draw("kaiming_normal_", (8, 4, 3, 3))
        self.conv.set_weight_bias(torch.quantize_per_tensor(kernel, 0.01, 0, torch.qint8), None)
        self.register_buffer("codes", torch.full((2, 3), 5, dtype=torch.int8))
        self.register_buffer("position_ids", torch.arange(3)[None])
        self.plain = nn.Linear(64, 32, bias=False)
        self.plain.weight = nn.Parameter(WEIGHT)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@pytest.mark.parametrize("how", ["script", "state dict"])
def test_packed_parameters_are_listed_by_the_names_of_their_layers(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Quantized()
    path = tmp_path / "net"
    torch.jit.script(model).save(str(path)) if how == "script" else torch.save(model.state_dict(), path)
    rows = _inspect(path, capsys, "--plot", str(tmp_path / "net.png"))
    kinds = {name: (row["dtype"], row["verdict"]) for name, row in rows.items() if "scale" not in name}
    expected = diagnostics.statistics({"a.weight": _per_channel().dequantize()})[0].verdict
    assert kinds.pop("conv.weight")[0] == "qint8"
    assert kinds == {
        "plain.weight": ("float32", expected),
        "linear.weight": ("qint8", expected),
        "linear.bias": ("float32", "constant 0"),
        "codes": ("int8", "integers"),
    }
    assert (tmp_path / "net.png").stat().st_size > 10_000


def test_dynamically_quantized_layer_that_is_the_whole_module_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = torch.ao.nn.quantized.dynamic.Linear(64, 32)
    layer.set_weight_bias(_per_tensor(), None)
    torch.save(layer.state_dict(), tmp_path / "net")
    assert _inspect(tmp_path / "net", capsys)["weight"]["dtype"] == "qint8"
    assert load(tmp_path / "net").weight.shape == (32, 64)


class Recurrent(nn.Module):
    """A quantized LSTM, a cell and an embedding."""

    def __init__(self) -> None:
        super().__init__()
        dynamic = torch.ao.quantization.quantize_dynamic
        self.lstm = dynamic(nn.Sequential(nn.LSTM(3, 4)), {nn.LSTM})[0]
        self.cell = dynamic(nn.Sequential(nn.GRUCell(3, 4)), {nn.GRUCell})[0]
        self.embedding = torch.ao.nn.quantized.Embedding(10, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


def test_packed_parameters_of_recurrent_layers_and_embeddings_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.jit.script(Recurrent()).save(str(tmp_path / "net"))
    cli.main(["inspect", str(tmp_path / "net"), "--json"])
    shapes = {row["name"]: (row["dtype"], row["shape"]) for row in json.loads(capsys.readouterr().out)}
    layers = {"lstm._all_weight_values.0": 16, "cell": 12}
    weights = {
        f"{layer}.weight_{cell}": ("qint8", [units, size])
        for layer, units in layers.items()
        for cell, size in (("ih", 3), ("hh", 4))
    }
    biases = {name.replace(".weight_", ".bias_"): ("float32", [size[0]]) for name, (_, size) in weights.items()}
    assert shapes == {**weights, **biases, "embedding.weight": ("quint8", [10, 8])}


def test_packed_objects_of_a_pickle_are_refused_with_a_way_out(tmp_path: Path) -> None:
    torch.save(Recurrent().state_dict(), tmp_path / "net")
    assert refusal(tmp_path / "net").endswith(
        "a pickle that holds code (torch.ScriptObject), which was not loaded; save the model with torch.jit.script"
        " instead"
    )
