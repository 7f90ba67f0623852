"""Does the command probe print its measurements and refuse wrong arguments?"""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.layers import MIXED
from tests.support.signal_models import DEPTH, he, tower
from torchinit import cli
from torchinit.diagnostics import LayerSignal, signal


def run(*arguments: object) -> int:
    return cli.main(["probe", *map(str, arguments)])


def saved(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))
    return path


def test_command_prints_a_table_and_a_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    path = saved(tower(lambda w: nn.init.normal_(w, std=0.01)), tmp_path / "small.pt")
    assert run(path, "--input", "64x256", "--seed", "3") == 0
    *table, blank, verdict = capsys.readouterr().out.splitlines()
    assert len(table) == 1 + DEPTH
    assert blank == ""
    assert table[0].split() == [
        "layer",
        "kind",
        "output",
        "activation",
        "ratio",
        "gradient",
        "ratio",
        "weight",
        "its",
        "gradient",
    ]
    assert table[2].split()[:3] == ["2", "Linear", "64x256"]
    assert table[16].endswith("activation and gradient vanished")
    found = re.fullmatch(
        r"activations: x(0\.11\d*) per layer, x([\d.e-]+) in all: vanish;"
        r" gradients: x(0\.11\d*) per layer, x([\d.e-]+) in all: vanish",
        verdict,
    )
    assert found is not None
    for total in (found[2], found[4]):
        assert math.log(float(total)) == pytest.approx((DEPTH - 1) * math.log(0.01 * math.sqrt(128)), abs=1.3)


def test_command_draws_inputs_from_the_seed_and_json_holds_the_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(
        nn.Sequential(nn.Linear(5, 4, dtype=torch.float64), nn.Tanh(), nn.Linear(4, 3, dtype=torch.float64)),
        tmp_path / "m.pt",
    )
    printed = []
    for shape, seed in (("2x5", 1), ("2,5", 1), ("2x5", 2)):
        run(path, "--input", shape, "--seed", str(seed), "--json")
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1] != printed[2]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 5, dtype=torch.float64, generator=generator)
    rows = signal(torch.jit.load(str(path)), x, generator=generator)
    assert [
        LayerSignal(**{**r, "output": tuple(r["output"])}) for r in [dict(list(r.items())[:-1]) for r in printed[0]]
    ] == rows
    assert [r["note"] for r in printed[0]] == ["", ""]


def test_command_takes_several_inputs_integers_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(MIXED.make(), tmp_path / "mixed.pt")
    run(path, "--input", "1x4x6x6", "--input", "2x3:10", "--json")
    drawn = json.loads(capsys.readouterr().out)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 4, 6, 6, generator=generator)
    ids = torch.randint(10, (2, 3), generator=generator)
    rows = signal(torch.jit.load(str(path)), image, ids, generator=generator)
    assert [r["activation"] for r in drawn] == [row.activation for row in rows]
    for name, tensor in (("image", image), ("ids", ids)):
        torch.save(tensor, tmp_path / name)
    run(path, "--input", str(tmp_path / "image"), "--input", str(tmp_path / "ids"), "--json")
    assert [r["activation"] for r in json.loads(capsys.readouterr().out)] == [row.activation for row in rows]


def test_command_refuses_a_wrong_input_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(nn.Linear(4, 3), tmp_path / "m.pt")
    torch.save({"x": torch.ones(2)}, tmp_path / "dict")
    (tmp_path / "text").write_text("no tensor")
    for given, said in (
        ("8x", "--input takes a shape such as .*, got 8x"),
        ("2x0", "the numbers of an input must be from 1 to .*, got 2x0"),
        ("2x4:0", "the numbers of an input must be from 1 to .*, got 2x4:0"),
        (str(tmp_path), "Is a directory: .*"),
        (f"{1 << 63}", "the numbers of an input must be from 1 to .*"),
        (str(tmp_path / "dict"), "--input takes .* got .*dict with dict"),
        (str(tmp_path / "text"), "--input takes .* got .*text, which torch.load does not read"),
        ("2x8", "forward must run on the inputs, got float32 2x8: RuntimeError: .*mat1 and mat2 shapes cannot be .*"),
    ):
        assert run(path, "--input", given) == 1
        assert re.fullmatch(f"torchinit: {said}\n", capsys.readouterr().err)


@pytest.mark.usefixtures("slow_clock")
def test_command_shows_its_progress_on_stderr_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tower(he, 3, 4), tmp_path / "m.pt")
    run(path, "--input", "2x4", "--json")
    printed = capsys.readouterr()
    assert printed.err == "reading ...\n[1/6] forward ...\n[4/6] backward ...\n"
    assert len(json.loads(printed.out)) == 3
