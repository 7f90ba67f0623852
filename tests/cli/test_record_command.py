"""Does the command record run any model's code, and do the other commands take what it writes?"""

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from jit_tests.scripting import run_quietly
from tests.support.built import assert_same_tensors, built
from tests.support.command_line import load, run, without_written
from torchinit.cli import _models

NETS = """
import os
from torch import nn

calls = []

class Net(nn.Sequential):
    def __init__(self, width=4, act="relu", more=None):
        calls.append((width, act, more, os.environ.get("HF_HUB_OFFLINE")))
        super().__init__(nn.Embedding(9, width, padding_idx=2), nn.Linear(width, 2), nn.BatchNorm1d(2))
        nn.init.trunc_normal_(self[1].weight, std=0.02)

    @classmethod
    def small(cls):
        return cls(2)

def broken():
    raise KeyError("no such layer\\nand more")

def words():
    return "words"

class Talks(nn.Linear):
    def forward(self, x):
        print("run")
        return super().forward(x)

def talks():
    print("made")
    return Talks(1, 1)

def exits():
    raise SystemExit(0)

def explains():
    raise ValueError("the width is wrong:\\n    it must be 4\\nand more")

net = nn.Linear(1, 1)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a module into the current folder, from which the command imports it."""
    (tmp_path / "nets_of_a_test.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets_of_a_test", raising=False)
    yield lambda: sys.modules["nets_of_a_test"]
    sys.modules.pop("nets_of_a_test", None)


def test_what_the_code_of_a_model_prints_is_not_in_the_result(nets: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("record", "nets_of_a_test:talks", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["summary"]["tensors"] == 2
    assert captured.err == "made\n"
    torch.save(nn.Linear(1, 1).state_dict(), "net.pt")
    assert run("probe", "net.pt", "--like", "nets_of_a_test:talks", "--input", "2x1", "--json") == 0
    captured = capsys.readouterr()
    assert [row["layer"] for row in json.loads(captured.out)] == [""]
    assert "run\n" in captured.err
    assert run("report", "nets_of_a_test:talks", "--input", "2x1", "-o", "out.html") == 0
    assert "run\n" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["record", "diff", "report"])
def test_code_that_exits_is_an_error(command: str, nets: Any, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"record": [], "diff": ["torch"], "report": ["-o", "out.html"]}[command]
    assert run(command, "nets_of_a_test:exits", *more) == (2 if command == "diff" else 1)
    assert capsys.readouterr().err == (
        "torchinit: the code of nets_of_a_test:exits must make a model, got SystemExit: 0\n"
    )
    assert not Path("out.html").exists()


def test_line_of_an_error_that_introduces_another_is_not_all(nets: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("record", "nets_of_a_test:explains") == 1
    assert capsys.readouterr().err.endswith("got ValueError: the width is wrong: it must be 4\n")


def test_record_saves_what_the_function_records(nets: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = _surroundings()
    assert run("record", "nets_of_a_test:Net", "width=3", "act=gelu", "more={'a': [1, 0.5]}", "-o", "net.init") == 0
    assert _surroundings() == before
    assert nets().calls == [(3, "gelu", {"a": [1, 0.5]}, "1")]
    assert without_written(capsys.readouterr().err) == ""
    names = [entry.name for entry in torchinit.recording.load("net.init").program.entries]
    model = torchinit.recording.load("net.init").materialize_(nn.Sequential(*_layers(3)), seed=5)
    assert names == [*dict(model.named_parameters()), *dict(model.named_buffers())]
    assert model[1].weight.std() < 0.05
    assert not model[0].weight[2].any()


def _surroundings() -> Any:
    return {name: os.environ.get(name) for name in _models._ENVIRONMENT}, list(sys.path)


def _layers(width: int) -> list[nn.Module]:
    return [nn.Embedding(9, width, padding_idx=2), nn.Linear(width, 2), nn.BatchNorm1d(2)]


def test_arguments_of_a_model_may_stand_after_options(nets: Any) -> None:
    assert run("record", "nets_of_a_test:Net", "width=3", "--json", "act=gelu", "-o", "net.init", "more=4") == 0
    assert nets().calls == [(3, "gelu", 4, "1")]


def test_argument_after_an_option_must_be_name_and_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("record", "nets_of_a_test:Net", "--json", "width")
    assert capsys.readouterr().err.endswith("argument NAME=VALUE: an argument must be name=value, got 'width'\n")


def test_factory_may_be_a_class_or_a_method(nets: Any) -> None:
    assert run("record", "nets_of_a_test:Net.small", "-o", "net.init") == 0
    assert torchinit.recording.load("net.init").program.entries[0].ref.size == (9, 2)
    assert run("record", "torch.nn:Linear", "in_features=3", "out_features=4", "-o", "linear.init") == 0
    assert _entries("linear.init") == torchinit.record(lambda: nn.Linear(3, 4)).program.entries


def _entries(path: str) -> Any:
    return torchinit.recording.load(path).program.entries


def test_model_of_transformers_is_recorded_from_its_configuration(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    words = [f"{name}={value}" for name, value in sizes.items()]
    path = str(tmp_path / "llama.init")
    assert run("record", "hf:llama", *words, "vocab_size=11", "-o", path) == 0
    config = transformers.LlamaConfig(**sizes, vocab_size=11)
    expected, _ = built(lambda: transformers.AutoModel.from_config(config))
    with torch.no_grad():
        actual = transformers.AutoModel.from_config(config)
    assert_same_tensors(torchinit.recording.load(path).materialize_(actual, seed=0), expected)


def test_mistakes_in_a_model_of_transformers_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    assert run("record", "hf:lama") == 1
    assert (
        capsys.readouterr().err
        == "torchinit: hf: takes a model type of transformers, got 'lama'; did you mean llama?\n"
    )
    assert run("record", "hf:llama", "hiden_size=3") == 1
    assert capsys.readouterr().err == (
        "torchinit: the configuration of llama has no hiden_size; did you mean hidden_size?\n"
    )


def test_model_of_timm_is_made_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timm = ModuleType("timm")
    vars(timm).update(
        is_model=lambda name: name == "tiny_net",
        list_models=lambda: ["tiny_net"],
        create_model=lambda name, width=2: nn.Linear(width, width),
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert run("record", "timm:tiny_net", "width=3", "-o", tmp_path / "tiny.init") == 0
    assert _entries(str(tmp_path / "tiny.init"))[0].ref.size == (3, 3)
    capsys.readouterr()
    assert run("record", "timm:tinynet") == 1
    assert run("record", "timm:hf-hub:someone/net") == 1
    assert run("record", "timm:tiny_net", "pretrained=True") == 1
    assert capsys.readouterr().err == (
        "torchinit: timm: takes a model of timm.list_models(), got 'tinynet'; did you mean tiny_net?\n"
        "torchinit: timm: takes a model of timm.list_models(), got 'hf-hub:someone/net'; see its documentation\n"
        "torchinit: a recording downloads nothing, got pretrained=True; leave it out\n"
    )


@pytest.mark.parametrize("package", ["timm", "transformers"])
def test_missing_package_is_named(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert run("record", {"timm": "timm:resnet18", "transformers": "hf:bert"}[package]) == 1
    said = f"torchinit: recording a model of {package} needs the package {package}: pip install {package}\n"
    assert capsys.readouterr() == ("", said)


REFUSED = {
    "nets": "a model must be timm:NAME, hf:TYPE, package.module:factory, or a .init file, got nets",
    ":Net": "a model must be timm:NAME, hf:TYPE, package.module:factory, or a .init file, got :Net",
    "nets_of_a_test:none": "a factory must be a function or class that makes a model, got nothing for nets_of_a_test:none",
    "nets_of_a_test:net": "a factory must be a function or class that makes a model, got an object of Linear for"
    " nets_of_a_test:net",
    "no_nets:Net": "the module of a factory must be installed or in this folder, got no_nets: No module named 'no_nets'",
    "nets_of_a_test:broken": "the code of nets_of_a_test:broken must make a model, got KeyError: 'no such layer\\nand more'",
    "nets_of_a_test:words": "the code of nets_of_a_test:words must make a model, got TypeError: build must return a"
    " torch.nn.Module, got str",
    "nets_of_a_test:Net width=x": "the code of nets_of_a_test:Net must make a model, got TypeError: ",
    "syntax_of_a_test:Net": "the code of syntax_of_a_test:Net must make a model, got SyntaxError: ",
    "none.init": "No such file or directory: 'none.init'",
    "damaged.init": "a recording must be loaded from a file that save() wrote, got damaged.init: it must be whole JSON",
    "saved.init width=3": "a .init file takes no arguments, got width for saved.init",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_makes_no_model_is_refused_in_one_line(
    words: str, nets: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "damaged.init").write_text("{")
    (tmp_path / "syntax_of_a_test.py").write_text("def :")
    assert run("record", *words.split()) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"torchinit: {REFUSED[words]}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("width", "an argument must be name=value, got 'width'"),
        ("=3", "an argument must be name=value, got '=3'"),
        ("bias=true", "a value must be a Python literal such as True, got 'bias=true'"),
        ("-o net.json", "the name of a recording or a recipe must end in .init or .toml, got 'net.json'"),
    ],
)
def test_wrong_words_are_a_wrong_usage(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        run("record", "torch.nn:Linear", *words.split())
    assert raised.value.code == 2
    assert capsys.readouterr().err.endswith(f"{said}\n")


@pytest.mark.parametrize("name", ["net.init", "net.toml"])
def test_existing_file_is_refused_before_the_model_is_made(
    name: str, nets: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("mine")
    assert run("record", "nets_of_a_test:Net", "-o", name) == 1
    assert capsys.readouterr().err == f"torchinit: an existing file is overwritten only with --force, got {name}\n"
    assert (tmp_path / name).read_text() == "mine"
    assert "nets_of_a_test" not in sys.modules
    assert run("record", "nets_of_a_test:Net", "-o", "none/net.init") == 1
    assert capsys.readouterr().err == "torchinit: No such file or directory: 'none/net.init'\n"


def test_force_overwrites_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "linear.init"
    path.write_text("mine")
    assert run("record", "torch.nn:Linear", "in_features=3", "out_features=4", "-o", path, "--force") == 0
    assert len(_entries(str(path))) == 2


def test_record_prints_the_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["torch.nn:LSTM", "input_size=3", "hidden_size=4"]
    recording: Any = torchinit.record(lambda: nn.LSTM(input_size=3, hidden_size=4))
    assert run("record", *words, "-o", tmp_path / "lstm.init") == 0
    assert capsys.readouterr().out == f"{recording._description.table(wide=True)}\n"
    # A loaded recording says the same.
    for model in (words, [tmp_path / "lstm.init"]):
        assert run("record", *model, "--json") == 0
        printed = json.loads(capsys.readouterr().out)
        assert _without_places(printed) == _without_places(json.loads(recording.to_json()))


def _without_places(value: Any) -> Any:
    """Leave out the lines of code, which are not those of this test."""
    if isinstance(value, dict):
        return {name: _without_places(x) for name, x in value.items() if name != "place"}
    return [_without_places(x) for x in value] if isinstance(value, list) else value


def test_audit_prints_the_findings(nets: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("record", "nets_of_a_test:Net", "--audit") == 0
    *lines, blank, summary = capsys.readouterr().out.splitlines()
    assert (blank, summary) == ("", "1 fault, 1 fact")
    assert any("trunc_normal_" in line for line in lines)
    assert run("record", "nets_of_a_test:Net", "--audit", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(lines)
    assert {"severity", "kind", "tensor", "what", "place", "right"} == set(rows[0])
    assert run("record", "torch.nn:Identity", "--audit") == 0
    assert capsys.readouterr() == ("the audit found nothing\n", "")


def test_recipe_is_written_as_toml(nets: Any, tmp_path: Path) -> None:
    assert run("record", "nets_of_a_test:Net", "-o", "net.toml") == 0
    recipe = torchinit.recipes.load("net.toml")
    with torch.random.fork_rng(devices=[]):
        model = nets().Net()
    assert recipe.plan(model).rows[1].initializer == "trunc_normal_"


@pytest.fixture
def scripted(nets: Any, tmp_path: Path) -> Path:
    """Record a model, and save it in TorchScript with other values."""
    assert run("record", "nets_of_a_test:Net", "-o", "net.init") == 0
    run_quietly(torch.jit.script, nn.Sequential(*_layers(4))).save(str(tmp_path / "net.pt"))
    return tmp_path / "net.pt"


def test_init_fills_a_file_as_the_recording_does(scripted: Path, nets: Any) -> None:
    assert run("init", scripted, "--recipe", "net.init", "--seed", 3, "-o", "out.pt") == 0
    assert_same_tensors(load(Path("out.pt")), built(nets().Net, 3)[0])


def test_init_by_key_fills_a_file_as_the_recording_does(scripted: Path, nets: Any) -> None:
    assert run("init", scripted, "--recipe", "net.init", "--seed", 3, "--keyed", "-o", "out.pt") == 0
    expected = torchinit.recording.load("net.init").materialize_(nets().Net(), key=torchinit.keyed.key(3))
    assert_same_tensors(load(Path("out.pt")), expected)


def test_attached_file_resets_itself_as_the_recording_does(scripted: Path, nets: Any) -> None:
    assert run("attach", scripted, "--recipe", "net.init", "-o", "out.pt") == 0
    module = load(Path("out.pt"))
    module.reset_parameters(torch.Generator().manual_seed(3))
    expected = built(nets().Net, 3)[0]
    assert all(torch.equal(module.state_dict()[name], x) for name, x in expected.state_dict().items())
    assert run("attach", scripted, "--recipe", "net.init", "-o", "out.ptl", "--mobile") == 0


def test_plan_prints_the_recording(scripted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    recording: Any = torchinit.recording.load("net.init")
    assert run("plan", scripted, "--recipe", "net.init") == 0
    assert capsys.readouterr().out == f"{recording._description.table(wide=True)}\n"
    assert run("plan", scripted, "--recipe", "net.init", "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(recording.to_json())


def test_inspect_draws_what_the_recording_would_do(scripted: Path, nets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}

    def plot(model: nn.Module, rows: Any, others: Any, *_: Any) -> Any:
        drawn.update(others)
        raise RuntimeError("stop here")

    monkeypatch.setattr("torchinit.cli.inspect.plot_statistics", plot)
    assert run("inspect", scripted, "--recipe", "net.init", "--seed", 3, "--plot", "net.svg") == 1
    expected = dict(built(nets().Net, 3)[0].named_parameters())
    assert drawn.keys() == expected.keys()
    assert all(torch.equal(drawn[name], expected[name]) for name in expected)


COMMANDS = {"plan": [], "init": ["--seed", 1, "-o", "out.pt"], "attach": ["-o", "out.pt"]}


@pytest.mark.parametrize("command", COMMANDS)
def test_file_of_another_model_is_refused(
    command: str, scripted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_quietly(torch.jit.script, nn.Linear(3, 4)).save(str(tmp_path / "linear.pt"))
    run_quietly(torch.jit.script, nn.Sequential(*_layers(5))).save(str(tmp_path / "wide.pt"))
    capsys.readouterr()
    for name, said in (
        ("linear.pt", "a model must have the recording's tensors, got other names: the model lacks 0.weight, "),
        ("wide.pt", "a tensor must have the recorded shape [9, 4], got [9, 5] for 0.weight\n"),
    ):
        assert run(command, name, "--recipe", "net.init", *COMMANDS[command]) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith(f"torchinit: {said}")
        assert printed.err.count("\n") == 1
    assert run(command, scripted, "--recipe", "net.init", "--keep", "0.*", *COMMANDS[command]) == 1
    assert capsys.readouterr().err == "torchinit: --keep goes with a recipe, got the recording net.init\n"
    assert not (tmp_path / "out.pt").exists()


def test_words_are_parsed_as_literals_or_strings() -> None:
    assert [_models.parse_value(words) for words in ("a=1", "b=-0.5", "c='x y'", "d=gelu", "e=None", "f=", "g=a=b")] == [
        ("a", 1), ("b", -0.5), ("c", "x y"), ("d", "gelu"), ("e", None), ("f", ""), ("g", "a=b")
    ]  # fmt: skip
