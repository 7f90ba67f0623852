"""Does the command inspect show statistics, verdicts and errors?"""

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from expecttest import assert_expected_inline
from matplotlib.figure import Figure
from torch import Tensor, nn

import torchinit
from tests.support.command_line import without_written
from tests.support.inspection import run_inspect
from torchinit import cli
from torchinit.diagnostics import Statistics, plot_statistics


@pytest.mark.parametrize("how", ["script", "zip"])
def test_tied_parameters_are_shown_once_with_their_other_names(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = nn.Sequential(nn.Linear(4, 9, bias=False), nn.Linear(4, 9, bias=False))
    model[1].weight = model[0].weight
    path = tmp_path / "tied"
    torch.jit.script(model).save(str(path)) if how == "script" else torch.save(model.state_dict(), path)
    assert cli.main(["inspect", str(path), "--json"]) == 0
    assert [(record["name"], record["tied"]) for record in json.loads(capsys.readouterr().out)] == [
        ("0.weight", "1.weight")
    ]
    assert cli.main(["inspect", str(path)]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[:2]] == ["tied", "1.weight"]


class Odd(nn.Module):
    """Parameters unlike any layer's."""

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
    assert run_inspect(Odd(), tmp_path) == 0
    assert_expected_inline(
        capsys.readouterr().out,
        """\
name    shape   dtype      fan_in  fan_out  mean    std  min  max  zeros  not_finite     he  xavier  verdict     tied
scalar  scalar  float32         -        -     2      0    2    2      0           0      -       -  constant 2  -
waves   2       complex64       -        -  2+0j   1.41    -    -      0           0      -       -  -           -
broken  1x4     float32         4        1     0      0    0    0    0.5           2  0.707   0.632  not finite  -
count   2       int64           -        -   1.5    0.5    1    2      0           0      -       -  integers    -
empty   0x3     float32         -        -     -      -    -    -      -           0      -       -  empty       -
halves  4       float16         -        -  0.75  0.829    0    2    0.5           0      -       -  -           -

6 tensors, 13 values, 1 marked
""",
    )


def test_json_of_odd_parameters_is_strict_and_equals_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert run_inspect(Odd(), tmp_path, "--json") == 0
    found = {r["name"]: r for r in json.loads(capsys.readouterr().out, parse_constant=refuse)}
    assert all(tuple(record) == Statistics.columns for record in found.values())
    assert found["halves"] == {
        **{"name": "halves", "shape": [4], "dtype": "float16", "fan_in": None, "fan_out": None, "mean": 0.75},
        **{"std": pytest.approx(math.sqrt(11) / 4), "min": 0.0, "max": 2.0, "zeros": 0.5, "not_finite": 0},
        **{"he": None, "xavier": None, "verdict": None, "tied": None},
    }
    assert found["broken"]["not_finite"] == 2
    assert found["broken"]["zeros"] == 0.5
    assert found["empty"]["mean"] is None
    assert found["empty"]["zeros"] is None


@pytest.mark.parametrize("format", [[], ["--json"]])
def test_check_fails_for_a_marked_parameter_after_printing_the_table(
    format: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_inspect(Odd(), tmp_path, *format) == 0
    table = capsys.readouterr().out
    assert run_inspect(Odd(), tmp_path, "--check", *format) == 1
    shown = capsys.readouterr()
    assert shown.out == table
    assert shown.err == "torchinit: 1 of 6 parameters are marked: broken\n"


def test_check_names_some_of_many_marked_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({f"{i}.weight": torch.full((2, 2), math.nan) for i in range(12)}, tmp_path / "net")
    assert cli.main(["inspect", str(tmp_path / "net"), "--check"]) == 1
    names = ", ".join(f"{i}.weight" for i in range(10))
    assert capsys.readouterr().err == f"torchinit: 12 of 12 parameters are marked: {names} and 2 more\n"


def test_check_passes_a_sound_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"net": {"weight": torchinit.kaiming_normal_(torch.empty(64, 64))}}, tmp_path / "net")
    assert cli.main(["inspect", str(tmp_path / "net"), "--check"]) == 0
    assert capsys.readouterr().err == "torchinit: 0 of 1 parameters are marked\n"


@pytest.mark.parametrize(("options", "code"), [([], 1), (["--check"], 2)])
def test_error_has_another_exit_code_than_a_marked_parameter(options: list[str], code: int, tmp_path: Path) -> None:
    assert cli.main(["inspect", str(tmp_path / "none"), *options]) == code
    torch.save({"a": {"x.y": torch.ones(2)}, "b": {"x.y": torch.ones(2)}}, tmp_path / "net")
    assert cli.main(["inspect", str(tmp_path / "net"), *options]) == code


def test_key_shows_one_of_several_state_dicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": {"a.weight": torch.ones(2)}, "ema": {"b.weight": torch.ones(2)}}, tmp_path / "net")
    assert cli.main(["inspect", str(tmp_path / "net"), "--key", "ema", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["b.weight"]
    assert cli.main(["inspect", str(tmp_path / "net")]) == 1
    assert capsys.readouterr().err == (
        f"torchinit: --key must name one of the state dicts of {tmp_path}/net: model and ema; got none\n"
    )


def _terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    out = io.StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", out)
    return out


def test_only_bad_rows_are_colored_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = _terminal(monkeypatch)
    assert run_inspect(Odd(), tmp_path) == 0
    assert [line.split()[0] for line in out.getvalue().splitlines() if "\033[" in line] == ["\033[33mbroken"]


def test_no_color_turns_colors_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    out = _terminal(monkeypatch)
    assert run_inspect(Odd(), tmp_path) == 0
    assert "broken" in out.getvalue()
    assert "\033" not in out.getvalue()


def test_control_characters_in_names_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a\033[2Jb\nc": torch.ones(2)}, tmp_path / "names")
    assert cli.main(["inspect", str(tmp_path / "names")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1].startswith(r"a\x1b[2Jb\nc ")
    assert cli.main(["inspect", str(tmp_path / "names"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "a\033[2Jb\nc"


def test_model_without_parameters_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_inspect(nn.ReLU(), tmp_path, "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == []
    assert shown.err == f"torchinit: {tmp_path}/model.pt holds no parameters\n"


@pytest.mark.usefixtures("slow_clock")
@pytest.mark.parametrize("terminal", [True, False])
def test_progress_leaves_the_output_alone(
    terminal: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "1000")
    assert run_inspect(nn.Linear(2, 3), tmp_path, "--json", "--plot", str(tmp_path / "a.png")) == 0
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == 2
    reading = f"\r\033[Kreading {tmp_path / 'model.pt'}" if terminal else "reading ...\n"
    expected = "\r\033[K[1/2] {0} weight\r\033[K[2/2] {0} bias\r\033[K" if terminal else "[1/2] {0} ...\n"
    assert without_written(shown.err) == reading + "".join(expected.format(phase) for phase in ("measuring", "drawing"))


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
        (["model.pt", "--recipe", "xavier"], 2, "--recipe needs --plot OUT"),
        ([], 2, "the following arguments are required: FILE"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    options: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    # A link gives the input a name that is a valid output.
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
    assert shown.err.splitlines()[-1].endswith(f": {message}")
    assert Path("model.pt").read_bytes() == before


@pytest.mark.parametrize("arguments", [["inspect"], ["probe", "--input", "1x2"]])
def test_missing_matplotlib_is_reported_before_the_file_is_read(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main([*arguments, str(tmp_path / "none.pt"), "--plot", str(tmp_path / "out.png")]) == 1
    assert capsys.readouterr().err == (
        "torchinit: --plot needs the package matplotlib: pip install 'torchinit[plot]'\n"
    )


def test_plot_shows_what_the_recipe_would_draw_from_the_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = _figures(monkeypatch)
    model = nn.Linear(30, 40)
    others = []
    for seed in (3, 3, 4):
        more = ["--recipe", "xavier", "--seed", str(seed), "--force"]
        assert run_inspect(model, tmp_path, "--plot", str(tmp_path / "a.png"), *more) == 0
        _, other = (patch.get_data().values for patch in figures[-1].axes[0].patches)
        others.append(other.tolist())
    assert others[0] == others[1] != others[2]
    fresh = torchinit.xavier_uniform_(torch.empty(40, 30), generator=torch.Generator().manual_seed(4)).double()
    both = torch.cat([fresh, model.weight.detach().double()])
    counts = torch.histc(fresh, len(other), both.min().item(), both.max().item())
    assert other == pytest.approx((counts / counts.max()).tolist())
    assert figures[0].texts[0].get_text() == "model.pt"
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["values", "recipe xavier"]
    shown = capsys.readouterr()
    assert without_written(shown.err) == ""
    assert len(shown.out.splitlines()) == 3 * 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "model.pt"]


def test_plot_refuses_a_recording_of_other_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torchinit.record(lambda: nn.Linear(30, 41)).save(tmp_path / "other.init")
    more = ["--plot", str(tmp_path / "a.png"), "--recipe", str(tmp_path / "other.init")]
    assert run_inspect(nn.Linear(30, 40), tmp_path, *more) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "torchinit: a tensor must have the recorded shape [41, 30], got [40, 30] for weight"
    assert not (tmp_path / "a.png").exists()


def _figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect the figures that are drawn."""
    figures: list[Any] = []
    draw = plot_statistics
    monkeypatch.setattr(
        "torchinit.cli.inspect.plot_statistics", lambda *given: figures.append(draw(*given)) or figures[-1]
    )
    return figures


def test_parameter_without_a_rule_has_no_curve_and_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = _figures(monkeypatch)
    (tmp_path / "r.toml").write_text('[[rule]]\ninitializer = "zeros_"\nname = "*.bias"\n')
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    options = ["--plot", str(tmp_path / "a.png"), "--recipe", str(tmp_path / "r.toml")]
    torch.save(model.state_dict(), tmp_path / "net")
    assert cli.main(["inspect", str(tmp_path / "net"), *options]) == 0
    # The histogram of a weight is a patch; the recipe's constant biases are lines.
    assert [len(axes.lines) for axes in figures[0].axes] == [0, 1, 0, 1]
    assert without_written(capsys.readouterr().err) == (
        f"torchinit: no curve is drawn for 2 of 4 parameters; {tmp_path}/r.toml keeps them or has no rule for them\n"
    )


def test_recipe_with_a_rule_for_every_parameter_shows_no_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.toml").write_text('[[rule]]\ninitializer = "zeros_"\n')
    options = ["--plot", str(tmp_path / "a.png"), "--recipe", str(tmp_path / "r.toml")]
    assert run_inspect(nn.Linear(3, 4), tmp_path, *options) == 0
    assert without_written(capsys.readouterr().err) == ""


def test_unknown_recipe_is_refused_before_the_file_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    assert cli.main(["inspect", str(tmp_path / "none.pt"), "--plot", str(out), "--recipe", "nonsense"]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "nonsense" in error
    assert not out.exists()


def test_parameters_left_off_a_page_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchinit.cli.inspect.plot_statistics", lambda *_: Figure())
    torch.save({f"{i}": torch.ones(2) for i in range(61)}, tmp_path / "many")
    assert cli.main(["inspect", str(tmp_path / "many"), "--plot", str(tmp_path / "many.png")]) == 0
    note = "60 of 61 parameters; bad ones are kept first, constant ones last"
    assert without_written(capsys.readouterr().err) == f"torchinit: {tmp_path}/many.png shows {note}\n"


def test_any_tensor_of_a_file_can_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {
        **{"empty": torch.ones(0, 3), "meta": torch.empty(3, device="meta"), "nan": torch.full((3,), math.nan)},
        **{"wide": torch.tensor([1.7e308, -1.7e308], dtype=torch.float64), "one": torch.tensor([1.00001, 1.00002])},
        **{
            "$\\frac$\n": torch.ones(3),
            "huge": torch.tensor([3.0e38]),
            "名前": torch.arange(9.0),
            "x" * 300: torch.eye(3),
        },
        **{"complex": torch.ones(2, 2, dtype=torch.complex64), "float8": torch.ones(9).to(torch.float8_e5m2)},
        **{"denormal": torch.tensor([5e-324, 0.0], dtype=torch.float64), "integer": torch.arange(3)},
    }
    torch.save(state, tmp_path / "odd")
    assert cli.main(["inspect", str(tmp_path / "odd"), "--plot", str(tmp_path / "odd.png")]) == 0
    assert (tmp_path / "odd.png").stat().st_size > 10_000
    assert without_written(capsys.readouterr().err) == ""
