"""Does the command plan print the plan of a file, and report errors and warnings in one line?"""

import json
from pathlib import Path

import pytest
import torch

from jit_tests.scripting import run_quietly
from tests.support.command_line import run
from tests.support.layers import Mixed, seeded
from torchinit import recipes


def test_plan_prints_the_plan_of_the_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", model, "--recipe", "torch", "--keep", "body.*", "--keep", "norm.*") == 0
    shown = capsys.readouterr()
    plan = recipes.torch_default().keeping("body.*", "norm.*").plan(seeded(Mixed, 1))
    assert shown.out == f"{plan.table(wide=True)}\n"
    assert shown.err == ""
    assert run("plan", model, "--recipe", "torch", "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(recipes.torch_default().plan(Mixed()).to_json())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "tprch"], "there is no recipe and no file 'tprch'; did you mean torch?"),
        (["--recipe", "none.toml"], "No such file or directory: 'none.toml'"),
        (["--recipe", "dcgan"], "no rule matches "),
    ],
)
def test_wrong_recipe_is_one_line_and_exit_1(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale

    run_quietly(torch.jit.trace, Own(), torch.ones(3)).save(str(tmp_path / "own.pt"))
    assert run("plan", tmp_path / "own.pt", *arguments) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"torchinit: {said}")
    assert shown.count("\n") == 1


def test_warning_is_one_line_on_stderr(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.toml").write_text(
        '[[rule]]\ninitializer = "ones_"\nmodule = "Conv9d"\n[[rule]]\ninitializer = "ones_"\n'
    )
    assert run("plan", model, "--recipe", tmp_path / "r.toml") == 0
    assert capsys.readouterr().err == (
        f'torchinit: warning: {tmp_path}/r.toml: rule 1 ("Conv9d") '
        "matched no parameter: Rule('ones_', module='Conv9d')\n"
    )
