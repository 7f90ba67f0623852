"""Does the command list show initializers and recipes?"""

import io
import json
import sys
from pathlib import Path

import pytest

from tests.support.command_line import run
from torchinit import recipes
from torchinit.recipes._fill import FUNCTIONS as INITIALIZERS
from torchinit.recipes._shipped import SHIPPED


def test_list_shows_every_initializer_with_its_signature_and_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    shown = capsys.readouterr().out
    for name in INITIALIZERS:
        assert f"\n{name}(tensor:" in f"\n{shown}"
    assert all(f"\n{name}\n" in shown for name in SHIPPED)
    assert "sparsity: float, std: float = 0.01" in shown
    assert run("list", "--json") == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [*INITIALIZERS, *SHIPPED]


def test_list_prints_a_recipe_to_start_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("list", "--recipe", "gpt2") == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out)
    assert recipes.load(tmp_path / "mine.toml") == recipes.gpt2()


def test_list_prints_a_recipe_as_toml(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--recipe", "gpt2") == 0
    assert capsys.readouterr().out == recipes.gpt2().to_toml()


def test_list_as_json_holds_signature_and_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["eye_"]["signature"].startswith("(tensor: ")
    assert (rows["gpt2"]["kind"], rows["gpt2"]["signature"]) == ("recipe", "")
    assert rows["gpt2"]["does"].startswith("GPT-2: normal weights")
    assert run("list") == 0
    assert "\ngpt2\n    GPT-2: normal weights" in capsys.readouterr().out


def test_names_are_escaped_for_an_ascii_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.toml").write_text('name = "Bär"\n[[rule]]\ninitializer = "ones_"\nname = "ü"\n')
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    assert run("list", "--recipe", tmp_path / "r.toml") == 0
    assert b"B\\xe4r" in out.getvalue()


def test_list_of_a_recipe_takes_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        run("list", "--recipe", "gpt2", "--json")
    assert raised.value.code == 2
    assert "a recipe is printed as TOML; --json goes without --recipe" in capsys.readouterr().err
