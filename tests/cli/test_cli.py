"""Does every command have help, report errors in one line, and stop quietly?"""

import os
import platform
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import torchinit
from tests.support.command_line import run, without_written
from tests.support.layers import LAYERS
from torchinit import cli
from torchinit.cli._models import _package
from torchinit.diagnostics._trend import LIMIT

COMMANDS = ("list", "record", "diff", "plan", "init", "attach", "inspect", "probe", "report", "bundle")


def test_version_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    with pytest.raises(SystemExit) as raised:
        run("--version")
    assert raised.value.code == 0
    version = f"torchinit {torchinit.__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
    shown = capsys.readouterr().out
    assert shown.startswith(version)
    assert shown.count("\n") == 1


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "torchinit", "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"torchinit {torchinit.__version__}, ")


def test_exit_code_of_the_module_is_that_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code in (["list"], 0), (["inspect", "none.pt"], 1):
        monkeypatch.setattr(sys, "argv", ["torchinit", *words])
        with pytest.raises(SystemExit) as caught:
            runpy.run_module("torchinit", run_name="__main__")
        assert caught.value.code == code
    capsys.readouterr()


@pytest.mark.parametrize("package", ["timm", "transformers"])
def test_package_that_another_one_needs_is_named_by_the_error(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{package}.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package, raising=False)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        _package(package)


def test_help_and_usage_errors_do_not_wait_for_torch() -> None:
    _python(f"""
import contextlib, sys
from torchinit import cli
for words in (["-h"], ["--version"], [], ["init", "x"], *([name, "-h"] for name in {COMMANDS})):
    with contextlib.suppress(SystemExit):
        cli.main(words)
assert not {{"torch", "numpy"}} & sys.modules.keys()
""")


def test_warnings_of_libraries_that_name_their_files_are_not_shown(tmp_path: Path) -> None:
    # torch warns of it in C++.
    _python(f"""
import warnings, torch
warnings.simplefilter("ignore")
quantized = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(torch.nn.Linear(2, 2)))
torch.jit.script(quantized).save({str(tmp_path / "q.pt")!r})
""")
    done = _python(f"from torchinit import cli; cli.main(['inspect', {str(tmp_path / 'q.pt')!r}])")
    assert done.stderr == ""
    assert "qint8" in done.stdout


def test_help_of_probe_states_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("probe", "--help")
    assert f" by more than {LIMIT:g} in all" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("torchinit in", ["init", "inspect"]),
        ("torchinit inspect m --ch", ["--check"]),
        ("torchinit plan m --recipe ngp", ["ngpt"]),
        ("torchinit diff m ngp", ["ngpt"]),
        ("torchinit plan m --recipe ./mine", ["./mine.toml", "./mine/"]),
    ],
)
def test_shell_completes_commands_options_and_recipes(line: str, expected: list[str], tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    (tmp_path / "mine.toml").touch()
    (tmp_path / "mine").mkdir()
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    asked["_ARGCOMPLETE_STDOUT_FILENAME"] = str(tmp_path / "words")
    code = f"import os; os.chdir({str(tmp_path)!r}); from torchinit import cli; cli.main()"
    _python(code, **asked)
    assert sorted((tmp_path / "words").read_text().split()) == expected


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as raised:
            cli.main([command, "--help"])
        assert raised.value.code == 0
        assert f"usage: torchinit {command}" in capsys.readouterr().out


def test_console_script_runs_even_without_docstrings() -> None:
    script, env = Path(sys.executable).parent / "torchinit", {**os.environ, "PYTHONOPTIMIZE": "2"}
    done = subprocess.run([script, "list"], capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\northogonal-rl\n" in done.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["init", "x.pt"], ["init", "x", "--recipe", "a", "--seed", "b"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)
    assert raised.value.code == 2
    assert "usage: torchinit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["inspect", "m.pt", "n.pt"], "n.pt"), (["record", "m:net", "--bogus", "a=1"], "--bogus a=1")],
)
def test_unknown_arguments_are_told_with_the_usage_of_the_command(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)
    assert raised.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: torchinit {arguments[0]} ")
    assert said.endswith(f"\ntorchinit {arguments[0]}: error: unrecognized arguments: {words}\n")


@pytest.mark.parametrize("command", ["plan", "init", "attach", "probe"])
@pytest.mark.parametrize("kind", ["missing", "text", "state dict", "truncated", "folder"])
def test_file_that_is_not_a_model_is_refused_in_one_line(
    command: str, kind: str, layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.pt"
    if kind == "text":
        path.write_text("hello")
    elif kind == "state dict":
        torch.save(LAYERS["Linear"].make().state_dict(), path)
    elif kind == "truncated":
        path.write_bytes(layer.read_bytes()[:1000])
    elif kind == "folder":
        path.mkdir()
    more = {
        "plan": ["--recipe", "torch"],
        "init": ["--recipe", "torch", "--seed", 1, "-o", tmp_path / "out.pt"],
        "attach": ["--recipe", "torch", "-o", tmp_path / "out.pt"],
        "probe": ["--input", "2x3"],
    }
    assert run(command, path, *more[command]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("torchinit: ")
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "out.pt").exists()


def test_error_without_a_message_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def wordless(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("torchinit.cli.list.load", wordless)
    assert run("list", "--recipe", "torch") == 1
    assert capsys.readouterr().err == "torchinit: RuntimeError\n"


def test_interrupt_shows_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torchinit.cli.list.load", interrupted)
    assert run("list", "--recipe", "torch") == 130
    assert capsys.readouterr().err == ""


def test_interrupt_while_arguments_are_parsed_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torchinit.cli._main.make_parser", interrupted)
    assert run("list") == 130


def test_missing_stdout_is_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python started with `>&-` has no stdout.
    monkeypatch.setattr(sys, "stdout", None)
    assert run("list") == 0


def test_closed_pipe_is_not_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert run("list") == 0
    assert capsys.readouterr().err == ""


def test_only_a_slow_command_reports_its_steps(
    layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    arguments = ("init", layer, "--recipe", "torch", "--seed", 1, "-o", tmp_path / "out.pt", "--force")
    assert run(*arguments) == 0
    assert without_written(capsys.readouterr().err) == ""
    request.getfixturevalue("slow_clock")
    assert run(*arguments) == 0
    assert without_written(capsys.readouterr().err) == "[1/3] reading ...\n[2/3] initializing ...\n[3/3] writing ...\n"


@pytest.mark.usefixtures("slow_clock")
def test_progress_on_a_terminal_is_overwritten_and_cleared(
    layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "1000")
    assert run("attach", layer, "--recipe", "torch", "-o", tmp_path / "out.pt") == 0
    lines = [f"[1/3] reading {layer}", f"[2/3] attaching {layer}", f"[3/3] writing {tmp_path / 'out.pt'}", ""]
    assert without_written(capsys.readouterr().err) == "".join(f"\r\033[K{line}" for line in lines)
