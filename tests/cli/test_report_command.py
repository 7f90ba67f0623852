"""Does the command report write a page about a file or about a model that it builds?"""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import torchinit
from tests.support.command_line import run, without_written
from tests.support.pages import check
from torchinit import cli
from torchinit.diagnostics import report

_SOURCE = """
from torch import nn


def net(width=16, depth=3):
    return nn.Sequential(*[nn.Linear(width, width) for _ in range(depth)])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a module of a model and a TorchScript file; it is the current one."""
    (tmp_path / "reported.py").write_text(_SOURCE)
    torch.manual_seed(0)
    torch.jit.script(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))).save(str(tmp_path / "net.pt"))
    monkeypatch.chdir(tmp_path)
    # Another test's module of this name would be found first.
    monkeypatch.delitem(sys.modules, "reported", raising=False)
    return tmp_path


def test_file_becomes_a_page_named_after_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", folder / "net.pt", "-o", "report.html") == 0
    page = check(Path("report.html").read_text())
    assert page.texts("h1") == ["net.pt"]
    captured = capsys.readouterr()
    assert captured.out == f"{page.texts('strong')[0]}\n"
    assert captured.err.startswith("torchinit: wrote report.html (")
    assert without_written(captured.err) == ""


def test_module_of_a_file_is_probed_as_probe_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", "net.pt", "--input", "4x8", "--seed", "3", "-o", "report.html") == 0
    capsys.readouterr()
    assert run("probe", "net.pt", "--input", "4x8", "--seed", "3", "--json") == 0
    probed = [f"{row['activation']:.3g}" for row in json.loads(capsys.readouterr().out)]
    assert [row[3] for row in check(Path("report.html").read_text()).rows("Signal")[1:]] == probed


def test_recipe_and_recording_say_what_was_meant(folder: Path) -> None:
    recording = torchinit.record(lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)))
    recording.save("net.init")
    said = {}
    for option, value in (("--recipe", "xavier"), ("--recording", "net.init"), ("--recipe", "net.init")):
        assert run("report", "net.pt", option, value, "-o", "report.html", "--force") == 0
        said[option, value] = check(Path("report.html").read_text()).rows("What was meant")[1:]
    assert said["--recipe", "xavier"][0][3] == "xavier_uniform_"
    assert said["--recording", "net.init"] == said["--recipe", "net.init"]
    assert said["--recording", "net.init"][0][2] == "kaiming_uniform_(a=2.236)"


def test_summary_fits_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run("report", "net.pt", "-o", "report.html") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 40


@pytest.mark.parametrize("model", ["reported:net", "net.init"])
def test_model_that_record_takes_is_built_and_says_what_was_meant(model: str, folder: Path) -> None:
    assert run("record", "reported:net", "-o", "net.init") == 0
    inputs = ["--input", "4x16"] if model == "reported:net" else []
    assert run("report", model, *inputs, "-o", "report.html") == 0
    page = check(Path("report.html").read_text())
    facts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert facts["Tensors"] == "6 parameters, 2 kinds"
    assert facts["As meant"] == "6 of 6 compared"
    assert ("Signal" in page.texts("h2")) == bool(inputs)


def test_arguments_of_a_model_are_part_of_its_name(folder: Path) -> None:
    assert run("report", "reported:net", "depth=2", "width=8", "-o", "report.html") == 0
    page = check(Path("report.html").read_text())
    assert page.texts("h1") == ["reported:net depth=2 width=8"]
    assert page.rows("What was meant")[1][0] == "{0,1}.weight \u00d72"


def test_built_model_has_the_bits_of_its_own_code(folder: Path) -> None:
    assert run("report", "reported:net", "--seed", "5", "-o", "report.html") == 0
    import reported  # type: ignore[import-not-found]

    torch.manual_seed(5)
    same = report(reported.net(), recording=torchinit.record(reported.net), title="reported:net")
    assert Path("report.html").read_text() == same.html


def test_meta_shows_what_is_meant_without_values(folder: Path) -> None:
    assert run("record", "reported:net", "-o", "net.init") == 0
    for model in ("reported:net", "net.init"):
        assert run("report", model, "width=3000" if model == "reported:net" else "--meta", "--meta", "-o", "r.html",
                   "--force") == 0  # fmt: skip
        page = check(Path("r.html").read_text())
        assert page.texts("strong")[0].startswith("No tensor has values yet")
        assert page.rows("What was meant")[1][2] == "kaiming_uniform_(a=2.236)"


def test_model_that_does_not_fit_into_memory_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("report", "reported:net", "width=3000000", "-o", "report.html") == 1
    assert "must fit into memory, got 1.08e+05 GB of parameters" in capsys.readouterr().err
    assert not Path("report.html").exists()


def test_memory_that_the_system_does_not_tell_is_not_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    assert run("report", "reported:net", "-o", "report.html") == 0
    assert Path("report.html").exists()


def test_time_and_date_are_shown_on_request(folder: Path) -> None:
    assert run("report", "net.pt", "--recipe", "xavier", "--time", "--date", "-o", "report.html") == 0
    page = check(Path("report.html").read_text())
    assert "times" in [x.attributes.get("id") for x in page.elements]
    assert page.texts("p", "kicker")[0].rpartition(" ")[2].count("-") == 2


def test_state_dict_of_a_checkpoint_is_chosen(folder: Path) -> None:
    torch.save({"net": {"a.weight": torch.ones(3, 3)}, "ema": {"b.weight": torch.randn(3, 3)}}, "checkpoint.pt")
    assert run("report", "checkpoint.pt", "--key", "ema", "-o", "report.html") == 0
    assert "b.weight" in check(Path("report.html").read_text()).texts("h3")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.pt"], "No such file or directory: 'missing.pt'"),
        (["net.pt", "depth=2"], "a file takes no arguments, got depth for net.pt"),
        (["net.pt", "--meta"], "a file takes no --meta, got it for net.pt"),
        (["reported:net", "--key", "ema"], "--key chooses among the state dicts of a checkpoint, got reported:net"),
        (["reported:nothing"], "a factory must be a function or class that makes a model"),
        (["state.pt", "--input", "2x2"], "--input needs a file with a module, got state.pt, a state dict"),
        (["net.pt", "--input", "2x9"], "forward must run on the inputs"),
        (["net.pt", "--recording", "other.init"], "takes a recording of the same model"),
        (["net.pt", "--recipe", "nothing"], "nothing"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"fc.weight": torch.ones(2, 2)}, "state.pt")
    torchinit.record(lambda: nn.ModuleDict({"x": nn.Linear(3, 3)})).save("other.init")
    assert run("report", *arguments, "-o", "report.html") == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
    assert not Path("report.html").exists()


def test_existing_page_and_the_input_are_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("report.html").write_text("mine")
    assert run("report", "net.pt", "-o", "report.html") == 1
    assert Path("report.html").read_text() == "mine"
    assert run("report", "net.pt", "-o", "report.html", "--force") == 0
    Path("net.html").write_bytes(Path("net.pt").read_bytes())
    assert run("report", "net.html", "-o", "net.html", "--force") == 1
    assert "-o must name another file than the input" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["report.pdf", "report"])
def test_name_of_a_page_ends_in_html(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["report", "net.pt", "-o", name])
    assert caught.value.code == 2
    assert "the name of a page must end in .html or .htm" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "record"])
def test_missing_model_is_told_without_its_optional_arguments(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["-o", "out.html"] if command == "report" else []
    with pytest.raises(SystemExit):
        cli.main([command, *output])
    assert capsys.readouterr().err.endswith("the following arguments are required: MODEL\n")
