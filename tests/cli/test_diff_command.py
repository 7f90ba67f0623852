"""Does the command diff compare two of anything that is read, and say by its exit code how they compare?"""

import json
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import torchinit
from jit_tests.scripting import run_quietly
from tests.support.command_line import run
from torchinit.diagnostics import compare
from torchinit.recipes import Recipe, Rule

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


@pytest.mark.parametrize("model", ["net.init", A])
def test_recipe_is_compared_with_the_layers_of_a_recording(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torchinit.record(lambda: nn.Linear(3, 4)).save("net.init")
    assert run("diff", model, "torch") == run("diff", "torch", model) == 0
    assert run("diff", model, "xavier") == 1
    assert run("diff", "torch", "xavier", "--model", model) == 1
    assert capsys.readouterr().err == ""


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


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write models of two seeds and of another scale, a checkpoint of two of them, and recipes; go to their folder."""
    monkeypatch.chdir(tmp_path)
    a, b, wide = (_drawn(seed, std) for seed, std in ((0, 0.02), (1, 0.02), (0, 0.03)))
    torch.save(a.state_dict(), "a.pt")
    safetensors.torch.save_file(b.state_dict(), "b.safetensors")
    run_quietly(torch.jit.script, wide).save("wide.pt")
    torch.save({"model": a.state_dict(), "ema": wide.state_dict()}, "both.pt")
    Path("own.toml").write_text(recipe(0.02).to_toml())
    Path("wide.toml").write_text(recipe(0.03).to_toml())
    return tmp_path


def recipe(std: float) -> Recipe:
    return Recipe([Rule("normal_", name="*.weight", args={"std": std}), Rule("zeros_")])


def _drawn(seed: int, std: float) -> nn.Module:
    layers = nn.Sequential(*(nn.Linear(64, 64) for _ in range(3)))
    return recipe(std).apply_(layers, torch.Generator().manual_seed(seed))


_SAME = "same distribution, other values"


@pytest.mark.parametrize(
    ("words", "code", "counts"),
    [
        ("a.pt a.pt", 0, {"equal bits": 6}),
        ("a.pt b.safetensors", 1, {_SAME: 3, "equal bits": 3}),
        ("a.pt b.safetensors --any-seed", 0, {_SAME: 3, "equal bits": 3}),
        ("a.pt wide.pt --any-seed", 1, {"different distribution": 3, "equal bits": 3}),
        ("a.pt own.toml", 0, {"same distribution": 6}),
        ("wide.toml b.safetensors", 1, {"different distribution": 3, "same distribution": 3}),
        ("own.toml wide.toml --model a.pt", 1, {"different distribution": 3, "same distribution": 3}),
        ("both.pt both.pt --key-a model --key-b ema", 1, {"different distribution": 3, "equal bits": 3}),
        ("both.pt a.pt --key-a model", 0, {"equal bits": 6}),
        ("a.pt gpt2", 0, {"same distribution": 6}),
        ("wide.toml tests.cli.test_diff_command:built", 0, {"same distribution": 6}),
        ("tests.cli.test_diff_command:built wide.pt", 0, {"same distribution": 6}),
        ("tests.cli.test_diff_command:built a.pt", 1, {"different distribution": 3, "same distribution": 3}),
    ],
)
@pytest.mark.usefixtures("files")
def test_two_of_anything_are_compared(
    words: str, code: int, counts: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("diff", *words.split()) == code
    told = re.findall(r"(\d+) with (?:a |the )?([^;]+)", capsys.readouterr().out.splitlines()[-1])
    assert {what: int(count) for count, what in told} == counts
    assert run("diff", *words.split(), "--json") == code
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["version"], found["counts"]) == (1, counts)
    assert bool(found["differences"]) == bool(code)
    assert printed.err == ""


def built() -> nn.Module:
    return _drawn(0, 0.03)


@pytest.mark.usefixtures("files")
def test_python_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    run("diff", "a.pt", "wide.pt", "--json")
    printed = capsys.readouterr().out
    assert printed == f"{compare(torch.load('a.pt'), run_quietly(torch.jit.load, 'wide.pt')).to_json()}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("a.pt none.pt", "No such file or directory: 'none.pt'"),
        ("a.pt lama", "there is no recipe and no file 'lama'; did you mean llama?"),
        ("own.toml wide.toml", "two recipes are compared by what they do to a model, got none; add --model MODEL"),
        ("own.toml wide.toml --model llama", "--model must name a model, got the recipe llama"),
        ("both.pt a.pt", "--key must name one of the state dicts of both.pt: model and ema; got none"),
        ("a.pt torch", "A and B must have values or laws to compare, got tensors without values, or a recipe whose"),
        (
            "a.pt own.toml --plot a.pdf --force --key-a x",
            "--key chooses among the state dicts of a checkpoint, got a.pt",
        ),
    ],
)
@pytest.mark.usefixtures("files")
def test_wrong_input_is_one_line_and_writes_nothing(
    words: str, said: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in files.iterdir())
    assert run("diff", *words.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"torchinit: {said}")
    assert printed.err.count("\n") == 1
    assert sorted(path.name for path in files.iterdir()) == before


@pytest.mark.usefixtures("files")
def test_differences_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diff", "a.pt", "wide.pt", "--plot", "out.svg") == 1
    assert Path("out.svg").read_text().count("<path") > 10
    assert run("diff", "a.pt", "wide.pt", "--plot", "out.svg") == 2
    assert "--force" in capsys.readouterr().err


def test_transposed_convolution_of_a_recording_has_the_fans_of_its_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe([Rule("kaiming_normal_", name="*weight"), Rule("zeros_")])
    torchinit.record(lambda: recipe.apply_(nn.Sequential(nn.ConvTranspose2d(8, 64, 3)))).save("net.init")
    Path("he.toml").write_text(recipe.to_toml())
    assert run("diff", "net.init", "he.toml") == 0
    capsys.readouterr()
