"""Does the command inspect show what it found, and what is wrong?"""

import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from expecttest import assert_expected_inline
from torch import Tensor, nn

from tests.support.inspected_models import inspected
from torchinit import cli
from torchinit.commands import _inspect
from torchinit.commands._inspect import COLUMNS, parameters


@pytest.fixture
def records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[nn.Module], dict[str, dict[str, Any]]]:
    def run(model: nn.Module) -> dict[str, dict[str, Any]]:
        assert inspected(model, tmp_path, "--json") == 0
        return {record["name"]: record for record in json.loads(capsys.readouterr().out)}

    return run


class Tied(nn.Module):
    """An embedding that is the head's weight too, and a layer that has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 9, bias=False)
        self.embedding = nn.Embedding(9, 4)
        self.embedding.weight = self.head.weight
        self.one = nn.Linear(2, 2)
        self.other = self.one

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embedding(x))


@pytest.mark.parametrize("how", ["script", "zip"])
def test_tied_parameters_are_shown_once_with_their_other_names(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, model = tmp_path / "tied", Tied()
    torch.jit.script(model).save(str(path)) if how == "script" else torch.save(model.state_dict(), path)
    assert cli.main(["inspect", str(path), "--json"]) == 0
    assert [(record["name"], record["tied"]) for record in json.loads(capsys.readouterr().out)] == [
        ("head.weight", "embedding.weight"),
        ("one.weight", "other.weight"),
        ("one.bias", "other.bias"),
    ]


def test_order_is_that_of_named_parameters() -> None:
    model = nn.Module()
    model.layer = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    model.own = nn.Parameter(torch.ones(2))
    assert [p.name for p in parameters(model)] == [name for name, _ in model.named_parameters()]
    assert parameters(model)[0].name == "own"


def test_fans_are_the_layers_and_so_are_he_and_xavier(records: Callable[..., dict]) -> None:
    record = records(nn.Sequential(nn.ConvTranspose2d(6, 4, 3, groups=2), nn.LayerNorm(5)))
    assert (record["0.weight"]["fan_in"], record["0.weight"]["fan_out"]) == (27, 18)
    assert record["0.weight"]["he"] == pytest.approx(math.sqrt(2 / 27))
    assert record["0.weight"]["xavier"] == pytest.approx(math.sqrt(2 / 45))
    assert {record["1.weight"][key] for key in ("fan_in", "fan_out", "he", "xavier")} == {None}


class Odd(nn.Module):
    """Parameters that no layer has."""

    def __init__(self) -> None:
        super().__init__()
        self.scalar = nn.Parameter(torch.tensor(2.0))
        self.waves = nn.Parameter(torch.tensor([1 + 1j, 3 - 1j]))
        self.broken = nn.Parameter(torch.tensor([[math.nan, math.inf, 0.0, 0.0]]))
        self.count = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
        self.empty = nn.Parameter(torch.empty(0, 3))
        self.halves = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 2.0], dtype=torch.float16))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_table_of_odd_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspected(Odd(), tmp_path) == 0
    assert_expected_inline(
        capsys.readouterr().out,
        """\
name    shape   dtype      fan_in  fan_out  mean    std  min  max  zeros  not_finite     he  xavier  verdict
scalar  scalar  float32         -        -     2      0    2    2      0           0      -       -  constant 2
waves   2       complex64       -        -  2+0j   1.41    -    -      0           0      -       -  -
broken  1x4     float32         4        1     0      0    0    0    0.5           2  0.707   0.632  not finite
count   2       int64           -        -   1.5    0.5    1    2      0           0      -       -  -
empty   0x3     float32         -        -     -      -    -    -      -           0      -       -  empty
halves  4       float16         -        -  0.75  0.829    0    2    0.5           0      -       -  -
""",
    )


def test_json_of_odd_parameters_is_strict_and_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert inspected(Odd(), tmp_path, "--json") == 0
    found = {r["name"]: r for r in json.loads(capsys.readouterr().out, parse_constant=refuse)}
    assert all(tuple(record) == COLUMNS for record in found.values())
    assert found["halves"] == {
        **{"name": "halves", "shape": [4], "dtype": "float16", "fan_in": None, "fan_out": None, "mean": 0.75},
        **{"std": pytest.approx(math.sqrt(11) / 4), "min": 0.0, "max": 2.0, "zeros": 0.5, "not_finite": 0},
        **{"he": None, "xavier": None, "verdict": None, "tied": None},
    }
    assert found["broken"]["not_finite"] == 2
    assert found["broken"]["zeros"] == 0.5
    assert found["empty"]["mean"] is None
    assert found["empty"]["zeros"] is None


def _terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    out = io.StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", out)
    return out


def test_bad_rows_alone_are_colored_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = _terminal(monkeypatch)
    assert inspected(Odd(), tmp_path) == 0
    assert [line.split()[0] for line in out.getvalue().splitlines() if "\033[" in line] == ["\033[33mbroken"]


def test_no_color_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    out = _terminal(monkeypatch)
    assert inspected(Odd(), tmp_path) == 0
    assert "broken" in out.getvalue()
    assert "\033" not in out.getvalue()


def test_names_in_a_file_cannot_drive_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a\033[2Jb\nc": torch.ones(2)}, tmp_path / "names")
    assert cli.main(["inspect", str(tmp_path / "names")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(r"a\x1b[2Jb\nc ")
    assert cli.main(["inspect", str(tmp_path / "names"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "a\033[2Jb\nc"


def test_model_without_parameters_is_said_to_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspected(nn.ReLU(), tmp_path, "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == []
    assert shown.err == f"torchinit: {tmp_path}/model.pt holds no parameters\n"


@pytest.mark.parametrize("plot", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_after_a_second_and_leaves_the_output_alone(
    terminal: bool, plot: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_inspect, "Progress", lambda total, after: _inspect_progress(total, after - 1.0))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert inspected(nn.Linear(2, 3), tmp_path, "--json", *(["--plot", str(tmp_path / "a.png")] if plot else [])) == 0
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == 2
    expected = "[1/2] {0} ...\n"
    if terminal:
        expected = "\r\033[K[1/2] {0} weight\r\033[K[2/2] {0} bias\r\033[K"
    assert shown.err == "".join(expected.format(phase) for phase in ["measuring", "drawing"][: 1 + plot])


_inspect_progress = _inspect.Progress


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["none.pt"], 1, "No such file or directory: 'none.pt'"),
        (["model.pt", "--plot", "model.pt"], 1, "--plot must name another file than the input, got model.pt"),
        (["model.pt", "--plot", "none/out.png"], 1, "No such file or directory: 'none/out.png'"),
        (
            ["model.pt", "--plot", "out.jpg"],
            2,
            "argument --plot: the name of a picture must end in .png, .svg or .pdf, got 'out.jpg'",
        ),
        (["model.pt", "--recipe", "xavier"], 2, "--recipe is for --plot OUT.png, which is missing"),
        ([], 2, "the following arguments are required: FILE"),
    ],
)
def test_what_is_asked_wrongly_gets_one_line(
    options: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    # By a link, the input too is an output that ends in .png or in nothing.
    torch.save({"w": torch.ones(2)}, "model.pt")
    if "model.pt" in options[1:]:
        Path("link.png").symlink_to("model.pt")
        options, message = ["model.pt", "--plot", "link.png"], message.replace("got model.pt", "got link.png")
    before = Path("model.pt").read_bytes()
    try:
        got = cli.main(["inspect", *options])
    except SystemExit as stop:
        got = stop.code
    shown = capsys.readouterr()
    assert got == code
    assert shown.err.splitlines()[-1].endswith(message)
    assert Path("model.pt").read_bytes() == before


def test_matplotlib_is_asked_for_before_the_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["inspect", str(tmp_path / "none.pt"), "--plot", str(tmp_path / "out.png")]) == 1
    assert capsys.readouterr().err == (
        "torchinit: --plot needs the package matplotlib: pip install 'torchinit[plot]'\n"
    )
