"""Do statistics() in Python and `torchinit inspect` say the same of every kind of model?"""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jit_tests.scripting import run_quietly
from tests.support.inspection import draw
from torchinit import cli
from torchinit.diagnostics import statistics


@pytest.fixture(autouse=True)
def _without_torchs_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch deprecates its quantized tensors.
        warnings.simplefilter("ignore")
        yield


class Quantized(nn.Module):
    """Packed weights, a plain one, a buffer of integers and a tied layer."""

    def __init__(self) -> None:
        super().__init__()
        quantization = torch.ao.nn.quantized
        weight = draw("kaiming_normal_", (32, 64))
        scales = weight.abs().amax(1).double() / 127
        packed = torch.quantize_per_channel(weight, scales, torch.zeros(32, dtype=torch.int64), 0, torch.qint8)
        self.linear, self.conv = quantization.Linear(64, 32), quantization.Conv2d(4, 8, 3, bias=False)
        self.linear.set_weight_bias(packed, torch.zeros(32))
        self.register_buffer("codes", torch.full((2, 3), 5, dtype=torch.int8))
        self.plain, self.tied = nn.Linear(64, 32, bias=False), nn.Linear(64, 32, bias=False)
        self.plain.weight = self.tied.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x) + self.tied(x)


def _plain() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Embedding(30, 8))


def _inspected(path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    assert cli.main(["inspect", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("build", [Quantized, _plain])
@pytest.mark.parametrize("how", ["script", "state dict"])
def test_python_says_what_the_command_says(
    build: Callable[[], nn.Module], how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build()
    if how == "script":
        scripted = run_quietly(torch.jit.script, model)
        scripted.save(str(tmp_path / "net"))
        told = _inspected(tmp_path / "net", capsys)
        assert json.loads(statistics(scripted).to_json()) == told
        # An eager module shows more of its layers, but not other tensors or numbers.
        known = {row["name"]: row for row in json.loads(statistics(model).to_json())}
        assert known.keys() == {row["name"] for row in told}
        for row in told:
            assert {**row, "verdict": ""} == {**known[row["name"]], "verdict": ""}
    else:
        torch.save(model.state_dict(), tmp_path / "net")
        assert json.loads(statistics(model.state_dict()).to_json()) == _inspected(tmp_path / "net", capsys)


def test_integers_and_their_scales_are_described_in_python() -> None:
    rows = statistics({"a.weight": torch.randint(-9, 9, (4, 8), dtype=torch.int8), "a.SCB": torch.full((4,), 3.0)})
    assert [(row.verdict, row.bad, row.fan_in) for row in rows] == [("integers", False, None), ("scale", False, None)]


def test_a_packed_entry_that_is_no_weight_is_refused_as_before() -> None:
    with pytest.raises(ValueError, match=r"^a state dict must map dotted names to tensors, got str for a tensor at"):
        statistics({"a._packed_params._packed_params": "x"})


def test_statistics_draw_themselves() -> None:
    found = statistics(Quantized())
    assert set(found.tensors) == {row.name for row in found}
    assert len(found.plot(title="net").axes) >= len(found)
