"""Does the command line do what it says, and say in one line what is wrong?"""

import io
import json
import os
import platform
import re
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

import torchinit
from jit_tests.scripting import run_quietly
from tests.support.layers import LAYERS, MIXED, Mixed, differing, seeded
from torchinit import cli, keyed, recipes
from torchinit.recipes import Recipe
from torchinit.recipes._fill import FUNCTIONS as INITIALIZERS
from torchinit.recipes._shipped import SHIPPED


def _run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def _in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torchinit", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    run_quietly(torch.jit.script, seeded(Mixed, 1)).save(str(tmp_path / "model.pt"))
    return tmp_path / "model.pt"


def _load(path: Path) -> torch.jit.ScriptModule:
    return run_quietly(torch.jit.load, str(path))


def _fresh(recipe: Recipe, seed: int) -> torch.nn.Module:
    return recipe.apply_(seeded(Mixed, 1), torch.Generator().manual_seed(seed))


def test_list_shows_every_initializer_with_its_signature_and_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("list") == 0
    shown = capsys.readouterr().out
    for name in INITIALIZERS:
        assert f"\n{name}(tensor:" in f"\n{shown}"
    assert all(f"\n{name}\n" in shown for name in SHIPPED)
    assert "sparsity: float, std: float = 0.01" in shown
    assert _run("list", "--json") == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [*INITIALIZERS, *SHIPPED]


def test_list_prints_a_recipe_to_start_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert _run("list", "--recipe", "gpt2") == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out)
    assert recipes.load(tmp_path / "mine.toml") == recipes.gpt2()


def test_plan_prints_the_plan_of_the_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("plan", model, "--recipe", "torch", "--keep", "body.*", "--keep", "norm.*") == 0
    shown = capsys.readouterr()
    plan = recipes.torch().keeping("body.*", "norm.*").plan(seeded(Mixed, 1))
    assert shown.out == f"{plan}\n"
    assert shown.err == ""
    assert _run("plan", model, "--recipe", "torch", "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(recipes.torch().plan(Mixed()).to_json())


def test_init_writes_the_model_that_apply_makes(model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    assert _run("init", model, "--recipe", "xavier", "--seed", 7, "-o", tmp_path / "out.pt") == 0
    out = _load(tmp_path / "out.pt")
    assert differing(_fresh(recipes.xavier(), 7), out) == []
    assert model.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "out.pt"]
    for got, wanted in zip(out(*MIXED.inputs), _fresh(recipes.xavier(), 7)(*MIXED.inputs), strict=True):
        assert torch.equal(got, wanted)


def test_init_by_key_gives_each_parameter_what_its_name_says(model: Path, tmp_path: Path) -> None:
    assert _run("init", model, "--recipe", "xavier", "--seed", -7, "--keyed", "-o", tmp_path / "out.pt") == 0
    expected = recipes.xavier().apply_(seeded(MIXED.make, 1), key=keyed.key(-7))
    assert differing(expected, _load(tmp_path / "out.pt")) == []


def test_init_overwrites_its_input_only_by_force(model: Path) -> None:
    assert _run("init", model, "--recipe", "torch", "--seed", 7, "-o", model, "--force") == 0
    assert differing(_fresh(recipes.torch(), 7), _load(model)) == []


OUTPUTS = {
    "init": ["--recipe", "torch", "--seed", 7, "-o"],
    "attach": ["--recipe", "torch", "-o"],
    "inspect": ["--plot"],
    "probe": ["--input", "2x3", "--plot"],
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_existing_file_is_overwritten_only_by_force(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_quietly(torch.jit.script, torch.nn.Linear(3, 4)).save(str(tmp_path / "in.pt"))
    out = tmp_path / ("out.pt" if command in ("init", "attach") else "out.png")
    out.write_text("mine")
    (tmp_path / f"link{out.suffix}").symlink_to(out)
    # Said before the input is read.
    for path in (out, tmp_path / f"link{out.suffix}"):
        assert _run(command, tmp_path / "none.pt", *OUTPUTS[command], path) == 1
        assert capsys.readouterr().err == (
            f"torchinit: an existing file is overwritten only with --force, got {path}\n"
        )
    assert out.read_text() == "mine"
    # The input exists too, and a picture never replaces it.
    before = (tmp_path / "in.pt").read_bytes()
    (tmp_path / "input.png").symlink_to(tmp_path / "in.pt")
    (tmp_path / "input.pt").symlink_to(tmp_path / "in.pt")
    for more in [[]] if out.suffix == ".pt" else [[], ["--force"]]:
        assert _run(command, tmp_path / "in.pt", *OUTPUTS[command], tmp_path / f"input{out.suffix}", *more) == 1
    assert (tmp_path / "in.pt").read_bytes() == before
    assert _run(command, tmp_path / "in.pt", *OUTPUTS[command], out, "--force") == 0
    assert out.read_bytes().startswith(b"PK" if out.suffix == ".pt" else b"\x89PNG")


@pytest.mark.parametrize("command", OUTPUTS)
def test_output_that_cannot_be_written_is_refused_before_the_input_is_read(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix = ".pt" if command in ("init", "attach") else ".png"
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for name, said in (
        ("folder", "Is a directory"),
        ("none/out", "No such file or directory"),
        ("file/out", "Not a directory"),
    ):
        assert _run(command, "none.pt", *OUTPUTS[command], tmp_path / f"{name}{suffix}") == 1
        assert capsys.readouterr().err == f"torchinit: {said}: '{tmp_path}/{name}{suffix}'\n"


@pytest.mark.parametrize("command", OUTPUTS)
def test_suffix_that_names_no_format_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("out", "out.txt", "out.png" if command in ("init", "attach") else "out.pt"):
        with pytest.raises(SystemExit) as raised:
            _run(command, "in.pt", *OUTPUTS[command], path)
        assert raised.value.code == 2
        assert re.search(rf" must end in \.p.*, got '{path}'\n$", capsys.readouterr().err)


@pytest.mark.parametrize("command", ["inspect", "probe"])
@pytest.mark.parametrize(("suffix", "head"), [(".png", b"\x89PNG"), (".SVG", b"<?xml version"), (".pdf", b"%PDF-")])
def test_suffix_decides_the_format_of_a_picture(command: str, suffix: str, head: bytes, tmp_path: Path) -> None:
    run_quietly(torch.jit.script, torch.nn.Linear(3, 4)).save(str(tmp_path / "in.pt"))
    pictures = []
    for name in ("a", "b"):
        assert _run(command, tmp_path / "in.pt", *OUTPUTS[command], tmp_path / f"{name}{suffix}") == 0
        pictures.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert pictures[0].startswith(head)
    assert pictures[0] == pictures[1]


def test_mobile_suffix_is_refused_for_a_file_that_is_not(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("init", "attach"):
        assert _run(command, model, *OUTPUTS[command], tmp_path / "out.ptl") == 1
        assert capsys.readouterr().err.startswith("torchinit: a .ptl file is for the mobile interpreter")
    assert not (tmp_path / "out.ptl").exists()


def test_model_is_written_to_standard_output_wherever_it_goes(model: Path, tmp_path: Path) -> None:
    shell = f"{sys.executable} -m torchinit attach {model} --recipe torch -o /dev/stdout > out.pt"
    subprocess.run(shell, shell=True, cwd=tmp_path, check=True)
    assert differing(seeded(Mixed, 1), _load(tmp_path / "out.pt")) == []


@pytest.mark.parametrize("command", ["init", "inspect", "probe"])
def test_every_command_takes_the_seeds_that_a_generator_takes(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_quietly(torch.jit.script, torch.nn.Linear(3, 4)).save(str(tmp_path / "in.pt"))
    options = {"init": OUTPUTS["attach"], "inspect": ["--recipe", "xavier", "--plot"], "probe": OUTPUTS["probe"]}[
        command
    ]
    out = tmp_path / ("out.pt" if command == "init" else "out.png")
    made = []
    for seed in (-1, 2**64 - 1, -(2**63)):
        assert _run(command, tmp_path / "in.pt", *options, out, "--seed", seed, "--force") == 0
        made.append((capsys.readouterr().out, out.read_bytes()))
    assert made[0] == made[1] != made[2]
    for words in (-(2**63) - 1, 2**64, "99999999999999999999", "9" * 5000, "x", "1.0", ""):
        with pytest.raises(SystemExit) as raised:
            _run(command, tmp_path / "in.pt", *options, out, "--seed", words)
        assert raised.value.code == 2
        said = f"argument --seed: a seed must be an integer from -2**63 to 2**64 - 1, got {words}\n"
        assert capsys.readouterr().err.endswith(said)


def test_version_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    with pytest.raises(SystemExit) as raised:
        _run("--version")
    assert raised.value.code == 0
    version = f"torchinit {torchinit.__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
    shown = capsys.readouterr().out
    assert shown.startswith(version)
    assert shown.count("\n") == 1


def test_list_needs_no_docstrings() -> None:
    done = _in_a_process("list", PYTHONOPTIMIZE="2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\ngpt2\n" in done.stdout


def test_attach_writes_a_file_that_resets_itself(model: Path, tmp_path: Path) -> None:
    assert _run("attach", model, "--recipe", "torch", "--keep", "norm.*", "-o", tmp_path / "out.pt") == 0
    net = _load(tmp_path / "out.pt")
    assert differing(seeded(Mixed, 1), net) == []
    net.reset_parameters(torch.Generator().manual_seed(7))
    assert differing(_fresh(recipes.torch().keeping("norm.*"), 7), net) == []


def test_attach_for_mobile_writes_what_the_mobile_interpreter_reads(model: Path, tmp_path: Path) -> None:
    from torch.jit.mobile import _load_for_lite_interpreter

    assert _run("attach", model, "--recipe", "torch", "-o", tmp_path / "out.ptl", "--mobile") == 0
    lite = run_quietly(_load_for_lite_interpreter, str(tmp_path / "out.ptl"))
    lite.run_method("reset_parameters", 7)
    for got, wanted in zip(lite(*MIXED.inputs), _fresh(recipes.torch(), 7)(*MIXED.inputs), strict=True):
        assert torch.equal(got, wanted)


def test_a_mobile_file_stays_one_when_it_is_initialized(model: Path, tmp_path: Path) -> None:
    from torch.jit.mobile import _load_for_lite_interpreter

    assert _run("attach", model, "--recipe", "torch", "-o", tmp_path / "net.ptl", "--mobile") == 0
    assert _run("init", tmp_path / "net.ptl", "--recipe", "xavier", "--seed", 3, "-o", tmp_path / "out.ptl") == 0
    lite = run_quietly(_load_for_lite_interpreter, str(tmp_path / "out.ptl"))
    for got, wanted in zip(lite(*MIXED.inputs), _fresh(recipes.xavier(), 3)(*MIXED.inputs), strict=True):
        assert torch.equal(got, wanted)


def test_extra_files_of_an_archive_survive(tmp_path: Path) -> None:
    module = run_quietly(torch.jit.script, LAYERS["Linear"].make())
    torch.jit.save(module, str(tmp_path / "in.pt"), _extra_files={"labels.txt": "cat\ndog", "deep/er.bin": b"\x00\xff"})
    assert _run("init", tmp_path / "in.pt", "--recipe", "torch", "--seed", 1, "-o", tmp_path / "out.pt") == 0
    assert _run("attach", tmp_path / "out.pt", "--recipe", "torch", "-o", tmp_path / "again.pt") == 0
    extra = {"labels.txt": "", "deep/er.bin": ""}
    torch.jit.load(str(tmp_path / "again.pt"), _extra_files=extra)
    assert extra == {"labels.txt": b"cat\ndog", "deep/er.bin": b"\x00\xff"}


@pytest.mark.parametrize("command", ["plan", "init", "attach", "probe"])
@pytest.mark.parametrize("kind", ["missing", "text", "state dict", "truncated", "folder"])
def test_file_that_is_no_model_is_refused_in_one_line(
    command: str, kind: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.pt"
    if kind == "text":
        path.write_text("hello")
    elif kind == "state dict":
        torch.save(LAYERS["Linear"].make().state_dict(), path)
    elif kind == "truncated":
        path.write_bytes(model.read_bytes()[:1000])
    elif kind == "folder":
        path.mkdir()
    more = {
        "plan": ["--recipe", "torch"],
        "init": ["--recipe", "torch", "--seed", 1, "-o", tmp_path / "out.pt"],
        "attach": ["--recipe", "torch", "-o", tmp_path / "out.pt"],
        "probe": ["--input", "2x3"],
    }
    assert _run(command, path, *more[command]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("torchinit: ")
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "out.pt").exists()


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
    assert _run("plan", tmp_path / "own.pt", *arguments) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"torchinit: {said}")
    assert shown.count("\n") == 1


def test_warning_is_one_line_on_stderr(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.toml").write_text(
        '[[rule]]\ninitializer = "ones_"\nmodule = "Conv9d"\n[[rule]]\ninitializer = "ones_"\n'
    )
    assert _run("plan", model, "--recipe", tmp_path / "r.toml") == 0
    assert capsys.readouterr().err == (
        f'torchinit: warning: {tmp_path}/r.toml: rule 1 ("Conv9d"): '
        "rule 1 matched no parameter: Rule('ones_', module='Conv9d')\n"
    )


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["init", "x.pt"], ["init", "x", "--recipe", "a", "--seed", "b"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)
    assert raised.value.code == 2
    assert "usage: torchinit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--seed", "1", "--keep", ""], "a glob must not be empty, got ''"),
    ],
)
def test_wrong_value_of_an_option_is_said(more: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        _run("init", "x.pt", "--recipe", "torch", "-o", "y.pt", *more)
    assert raised.value.code == 2
    assert said in capsys.readouterr().err


def test_misspelt_name_to_keep_is_a_warning(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--recipe", "torch", "--keep", "boddy.*", "-o", tmp_path / "out.pt"]
    assert _run("attach", model, *more) == 0
    assert "rule 1 matched no parameter: Rule('keep', name='boddy.*')" in capsys.readouterr().err


def test_names_are_printed_whatever_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.toml").write_text('name = "Bär"\n[[rule]]\ninitializer = "ones_"\nname = "ü"\n')
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    assert _run("list", "--recipe", tmp_path / "r.toml") == 0
    assert b"B\\xe4r" in out.getvalue()


def test_interrupt_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torchinit.cli.list.load", interrupted)
    assert _run("list", "--recipe", "torch") == 130
    assert capsys.readouterr().err == ""


def test_no_output_at_all_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python starts with `>&-`.
    monkeypatch.setattr(sys, "stdout", None)
    assert _run("list") == 0


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("list", "plan", "init", "attach", "inspect", "probe", "bundle"):
        with pytest.raises(SystemExit) as raised:
            cli.main([command, "--help"])
        assert raised.value.code == 0
        assert f"usage: torchinit {command}" in capsys.readouterr().out


def test_closed_pipe_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert _run("list") == 0
    assert capsys.readouterr().err == ""


def test_console_script_runs() -> None:
    script = Path(sys.executable).parent / "torchinit"
    done = subprocess.run([script, "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "orthogonal-rl" in done.stdout


def test_full_disk_leaves_the_old_file_whole(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "out.pt").write_text("old")
    monkeypatch.setattr(os, "replace", full)
    assert _run("init", model, "--recipe", "torch", "--seed", 7, "-o", tmp_path / "out.pt", "--force") == 1
    assert capsys.readouterr().err == f"torchinit: No space left on device: '{tmp_path}/out.pt'\n"
    assert (tmp_path / "out.pt").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "out.pt"]


def test_list_as_json_says_signature_and_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["eye_"]["signature"].startswith("(tensor: ")
    assert (rows["gpt2"]["kind"], rows["gpt2"]["signature"]) == ("recipe", "")
    assert rows["gpt2"]["does"].startswith("GPT-2: normal weights")
    assert _run("list") == 0
    assert "\ngpt2\n    GPT-2: normal weights" in capsys.readouterr().out


def test_recipe_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("list", "--recipe", "gpt2") == 0
    assert capsys.readouterr().out == recipes.gpt2().to_toml()


def test_quick_command_says_nothing_and_a_slow_one_what_it_does(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    arguments = ("init", model, "--recipe", "torch", "--seed", 1, "-o", tmp_path / "out.pt", "--force")
    assert _run(*arguments) == 0
    assert capsys.readouterr().err == ""
    request.getfixturevalue("slow_clock")
    assert _run(*arguments) == 0
    assert capsys.readouterr().err == "[1/3] read ...\n[2/3] initialize ...\n[3/3] write ...\n"


@pytest.mark.usefixtures("slow_clock")
def test_progress_on_a_terminal_is_overwritten_and_cleared(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert _run("attach", model, "--recipe", "torch", "-o", tmp_path / "out.pt") == 0
    lines = [f"[1/3] read {model}", f"[2/3] attach {model}", f"[3/3] write {tmp_path / 'out.pt'}", ""]
    assert capsys.readouterr().err == "".join(f"\r\033[K{line}" for line in lines)


def test_attach_to_a_mobile_file_makes_what_is_asked_for(model: Path, tmp_path: Path) -> None:
    run_quietly(_load(model)._save_for_lite_interpreter, str(tmp_path / "in.ptl"))
    for more, mobile in (([], False), (["--mobile"], True)):
        assert (
            _run("attach", tmp_path / "in.ptl", "--recipe", "torch", "-o", tmp_path / "out.pt", "--force", *more) == 0
        )
        names = zipfile.ZipFile(tmp_path / "out.pt").namelist()
        assert any(name.endswith("/bytecode.pkl") for name in names) == mobile


def test_extra_files_are_not_doubled(model: Path, tmp_path: Path) -> None:
    torch.jit.save(_load(model), str(tmp_path / "in.pt"), _extra_files={"extra/a": " b\n", "a": "c"})
    assert _run("init", tmp_path / "in.pt", "--recipe", "torch", "--seed", 1, "-o", tmp_path / "out.pt") == 0
    before, after = (zipfile.ZipFile(tmp_path / name) for name in ("in.pt", "out.pt"))
    records = [sorted(n.partition("/")[2] for n in archive.namelist() if "/extra/" in n) for archive in (before, after)]
    assert records[0] == records[1]
    assert (
        after.read(
            "out/extra/extra/a"
            if "out/extra/extra/a" in after.namelist()
            else next(n for n in after.namelist() if n.endswith("/extra/extra/a"))
        )
        == b" b\n"
    )


def test_error_without_words_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def wordless(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("torchinit.cli.list.load", wordless)
    assert _run("list", "--recipe", "torch") == 1
    assert capsys.readouterr().err == "torchinit: RuntimeError\n"


def test_attach_says_nothing_of_torchs_own_notices(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert _run("attach", model, "--recipe", "torch", "-o", tmp_path / "o.ptl", "--mobile") == 0
    assert capsys.readouterr().err == ""
