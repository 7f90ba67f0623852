"""Does --set give a recipe its numbers, in every command that takes a recipe?"""

import json
from pathlib import Path

import pytest

from tests.support.command_line import initialized, load, run
from tests.support.layers import differing
from torchinit import recipes


def test_commands_pass_the_numbers_to_the_recipe(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan", model, "--recipe", "xavier", "--set", "gain=0.5", "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(recipes.xavier(0.5).plan(load(model)).to_json())
    assert run("init", model, "--recipe", "xavier", "--set", "gain=sqrt(2)", "--seed", 7, "-o", tmp_path / "a.pt") == 0
    assert differing(initialized(recipes.xavier(2**0.5), 7), load(tmp_path / "a.pt")) == []
    assert run("attach", model, "--recipe", "xavier", "--set", "gain=2", "-o", tmp_path / "b.pt") == 0
    assert run("list", "--recipe", "orthogonal-rl", "--set", "policy_gain=0.1", "--set", "gain=1") == 0
    assert capsys.readouterr().out == recipes.orthogonal_rl(policy_gain=0.1, gain=1.0).to_toml()


def test_numbers_go_to_a_file_that_extends_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.toml").write_text('extends = "xavier"\n')
    assert run("list", "--recipe", tmp_path / "r.toml", "--set", "gain=3") == 0
    assert capsys.readouterr().out == recipes.xavier(3.0).to_toml()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("gian=3", "torchinit: the recipe xavier has no constant 'gian'; did you mean gain?\n"),
        ("gain=gian", "torchinit: the constant gain must use known names, got gian in 'gian'; there are none\n"),
        ("gain=nan", "torchinit: the constant gain must be a finite number or an expression, got nan\n"),
    ],
)
def test_wrong_number_is_one_line_and_exit_1(
    words: str, message: str, layer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan", layer, "--recipe", "xavier", "--set", words) == 1
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("words", ["gain", "=3", "gain=", "a b=3"])
def test_words_that_are_no_number_by_name_are_wrong_usage(
    words: str, layer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("plan", layer, "--recipe", "xavier", "--set", words)
    assert f"a constant must be NAME=VALUE, got {words!r}" in capsys.readouterr().err


def test_recording_has_no_numbers_to_set(layer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", layer, "--recipe", "r.init", "--set", "std=1") == 1
    assert capsys.readouterr().err == "torchinit: --set goes with a recipe, got the recording r.init\n"
