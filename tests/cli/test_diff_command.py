"""Does the command diff compare two recordings, and say by its exit code how they compare?"""

import json
from pathlib import Path

import pytest
from torch import nn

import torchinit
from tests.support.command_line import run

A, B = "torch.nn:Linear in_features=3 out_features=4", "torch.nn:Linear in_features=3 out_features=5"


def test_exit_code_says_whether_the_models_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torchinit.record(lambda: nn.Linear(3, 4)).save(tmp_path / "a.init")
    pair = [torchinit.record(lambda n=n: nn.Linear(3, n)) for n in (4, 5)]  # type: ignore[misc]
    assert run("diff", A, A) == 0
    assert capsys.readouterr().out == f"{torchinit.recording.diff(pair[0], pair[0])}\n"
    assert run("diff", tmp_path / "a.init", A) == 0
    capsys.readouterr()
    assert run("diff", tmp_path / "a.init", B) == 1
    assert capsys.readouterr().out == f"{torchinit.recording.diff(*pair)}\n"
    assert run("diff", A, B, "--json") == 1
    assert json.loads(capsys.readouterr().out) == json.loads(torchinit.recording.diff(*pair).to_json())


@pytest.mark.parametrize(
    ("a", "said"),
    [
        ("none.init", "No such file or directory: 'none.init'"),
        ("torch.nn:none", "a factory must be a function or class that makes a model, got nothing for torch.nn:none"),
        ("torch.nn:Linear 3", "a model must be timm:NAME, hf:TYPE, package.module:factory, or a .init file, got"
         " torch.nn:Linear 3: an argument must be name=value, got '3'"),
        ("", "a model must be timm:NAME, hf:TYPE, package.module:factory, or a .init file, got : "),
        ("torch.nn:Linear a='", "a model must be timm:NAME, hf:TYPE, package.module:factory, or a .init file, got"),
    ],
)  # fmt: skip
def test_error_has_another_exit_code(a: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    for pair in ((a, A), (A, a)):
        assert run("diff", *pair) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith(f"torchinit: {said}")
        assert printed.err.count("\n") == 1


def test_diff_needs_two_models() -> None:
    with pytest.raises(SystemExit) as raised:
        run("diff", A)
    assert raised.value.code == 2
