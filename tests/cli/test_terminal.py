"""Does what a command prints fit a terminal, stay whole in a pipe, and say what was read and written?"""

import io
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import torchinit
from tests.support.command_line import load, run, scripted
from torchinit.cli._progress import Progress
from torchinit.diagnostics import statistics

WIDTHS = (40, 80, 120)


Shown = Callable[..., str]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Return a function that runs a command in a terminal of 80 columns without colors, and returns its output."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")

    def shown(*arguments: object) -> str:
        out = io.StringIO()
        out.isatty = lambda: True  # type: ignore[method-assign]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            assert run(*arguments) in (0, 1)
        return out.getvalue()

    return shown


class Blocks(nn.Module):
    """A model of repeated blocks, one of them with a weight that is dead."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32)) for _ in range(6))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)
        nn.init.ones_(self.blocks[3][1].weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    (tmp_path / "blocks.pt").write_bytes(scripted(Blocks))
    return tmp_path / "blocks.pt"


def commands(blocks: Path) -> dict[str, list[object]]:
    return {
        "inspect": ["inspect", blocks],
        "plan": ["plan", blocks, "--recipe", "xavier"],
        "probe": ["probe", blocks, "--input", "4x32"],
        "record": ["record", "tests.cli.test_terminal:Blocks"],
        "audit": ["record", "tests.cli.test_terminal:Blocks", "--audit"],
        "diff": ["diff", "tests.cli.test_terminal:Blocks", "torch.nn:Linear in_features=3 out_features=4"],
        "list": ["list"],
    }


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", commands(Path()))
def test_no_line_is_wider_than_the_terminal(
    command: str, width: int, blocks: Path, terminal: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert 0 < max(map(len, terminal(*commands(blocks)[command]).splitlines())) <= width


@pytest.mark.parametrize("command", commands(Path()))
def test_a_pipe_gets_the_same_whatever_the_terminal(
    command: str, blocks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    for columns in ("40", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        assert run(*commands(blocks)[command]) in (0, 1)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


@pytest.mark.parametrize("command", ["inspect", "plan", "record", "diff"])
def test_a_pipe_gets_a_line_for_each_tensor_with_its_whole_name(
    command: str, blocks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*commands(blocks)[command]) in (0, 1)
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:] if line.startswith("blocks.")]
    assert sorted(names) == sorted(name for name, _ in Blocks().named_parameters())


def test_a_terminal_shows_repeated_blocks_as_one_line(blocks: Path, terminal: Shown) -> None:
    *rows, blank, summary = terminal("inspect", blocks).splitlines()[1:]
    assert (blank, summary) == ("", "24 tensors, 12,672 values, 1 marked")
    assert rows[0].startswith("blocks.{0..2,4,5}.{0,1}.weight  x10  32x32 ")
    assert any(line.startswith("blocks.3.1.weight ") and "constant 1" in line for line in rows)


def test_wide_prints_to_a_terminal_what_a_pipe_gets(blocks: Path, terminal: Shown) -> None:
    assert terminal("inspect", blocks, "--wide") == f"{statistics(load(blocks)).table(wide=True)}\n"


def test_all_prints_a_line_for_each_tensor_that_fits(blocks: Path, terminal: Shown) -> None:
    lines = terminal("inspect", blocks, "--all").splitlines()
    assert sum(line.startswith("blocks.") for line in lines) == 24
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("options", [[], ["--wide"], ["--json"]])
def test_bad_prints_marked_rows_only(options: list[str], blocks: Path, terminal: Shown) -> None:
    shown = terminal("inspect", blocks, "--bad", *options)
    if options == ["--json"]:
        assert [row["name"] for row in json.loads(shown)] == ["blocks.3.1.weight"]
    else:
        assert [line.split()[0] for line in shown.splitlines()[1:-2]] == ["blocks.3.1.weight"]


def test_a_command_and_print_show_the_same(blocks: Path, terminal: Shown) -> None:
    assert terminal("plan", blocks, "--recipe", "xavier") == f"{torchinit.recipes.xavier().plan(Blocks())}\n"


def test_a_file_that_is_written_is_named_with_its_size(
    blocks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.pt"
    for command in (["init", blocks, "--recipe", "xavier", "--seed", 1], ["attach", blocks, "--recipe", "xavier"]):
        assert run(*command, "-o", out, "--force") == 0
        assert capsys.readouterr() == ("", f"torchinit: wrote {out} ({out.stat().st_size / 1000:.4g} kB)\n")
    assert run("record", "torch.nn:Linear", "in_features=3", "out_features=4", "-o", tmp_path / "net.init") == 0
    assert f"wrote {tmp_path / 'net.init'} (" in capsys.readouterr().err
    assert run("inspect", blocks, "--plot", tmp_path / "net.png") == 0
    assert re.search(r"wrote .*/net\.png \([\d.]+ kB\)\n", capsys.readouterr().err)


def test_a_pipe_that_is_written_is_not_named(blocks: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("record", "torch.nn:Linear", "in_features=3", "out_features=4", "-o", "/dev/null") in (0, 2)
    assert "wrote" not in capfd.readouterr().err


def test_list_has_no_markup(terminal: Shown) -> None:
    shown = terminal("list")
    assert not re.search("``|:[a-z]+:`|_C", shown)
    assert "\n    Fill tensor from the normal distribution truncated to [a, b].\n" in shown


def test_a_first_step_that_takes_long_is_shown_while_it_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchinit.cli._progress.monotonic", time.monotonic)
    with Progress(after=0.05) as progress:
        progress.begin("reading", "model.pt")
        assert capsys.readouterr().err == ""
        for _ in range(100):
            time.sleep(0.02)
            shown = capsys.readouterr().err
            if shown:
                break
        assert shown == "reading ...\n"
    assert capsys.readouterr().err == ""


def test_a_line_of_progress_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("torchinit.cli._progress.monotonic", time.monotonic)
    with Progress() as progress:
        progress.step("measuring", f"blocks.{'inner.' * 40}weight", 9)
        shown = capsys.readouterr().err.removeprefix("\r\033[K")
    assert 40 < len(shown) < 60
    assert shown.startswith("[1/9] measuring ")
    assert shown.endswith(".weight")


@pytest.mark.parametrize("command", ["init", "report"])
def test_a_count_of_steps_never_passes_its_total(
    command: str, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).state_dict(), tmp_path / "weights.pt")
    counts: list[tuple[str, int, int]] = []
    monkeypatch.setattr(Progress, "_show", lambda self: counts.append((self._next[0], self.done, self.total)))
    if command == "init":
        assert run("init", tmp_path / "weights.pt", "--recipe", "llama", "--seed", 0, "-o", tmp_path / "new.pt") == 0
    else:
        assert run("report", blocks, "--recipe", "xavier", "--input", "4x32", "-o", tmp_path / "out.html") == 0
    assert all(done <= total for _, done, total in counts if total)
    # The last step of a phase is the last of the count.
    assert counts[-1][1] == counts[-1][2]
    assert len({phase for phase, _, _ in counts}) >= 4


def test_a_step_that_ends_in_time_is_never_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchinit.cli._progress.monotonic", time.monotonic)
    with Progress(after=0.05) as progress:
        progress.begin("reading", "model.pt")
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_an_empty_key_is_refused_in_one_line(blocks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        run("inspect", blocks, "--key", "")
    assert raised.value.code == 2
    assert capsys.readouterr().err.endswith("error: argument --key: a key must name a state dict, got ''\n")


@pytest.mark.parametrize("options", [[], ["--json"], ["--bad"]])
def test_a_check_of_a_file_without_parameters_is_an_error(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({}, tmp_path / "none.pt")
    assert run("inspect", tmp_path / "none.pt", "--check", *options) == 2
    said = capsys.readouterr().err
    assert said == f"torchinit: --check needs a file with parameters, got {tmp_path / 'none.pt'} without any\n"


def test_a_warning_of_a_rule_of_many_names_is_a_readable_line(layer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", layer, "--recipe", "orthogonal-rl") == 0
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    assert all(line.startswith("torchinit: warning: orthogonal-rl.toml:") for line in warnings)
    assert max(map(len, warnings)) < 240
