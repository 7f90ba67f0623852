"""Does every command do with every kind of file what the page of the command line says, or refuse it in one line?"""

import os
from pathlib import Path

import pytest

from tests.support.command_line import run
from tests.support.kinds_of_files import KINDS, LIKE, written

COMMANDS = ("inspect", "plan", "init", "attach", "probe")

_CODE = "this command needs a TorchScript file, got FILE, "
_HELD = "a model file must hold a TorchScript archive, a state dict or safetensors, got FILE, "
_FROZEN = (
    "the module must have parameters, got Small without any; a frozen module has none left: attach first, then freeze"
    ' with preserved_attrs=["reset_parameters"]'
)
_PACKED = (
    "a model must have floating-point parameters, which are initialized before it is quantized, got FILE with"
    " quantized weights: 0.weight"
)
_RUNS = "a probe runs a model's code, which --like names (package.module:factory, timm:NAME or hf:TYPE), got FILE, "

# The sentences of refusals, by kind and command; a command does all else. Probes of weights get --like.
REFUSED = {
    "TorchScript, frozen": {
        **dict.fromkeys(("plan", "init", "attach"), _FROZEN),
        "probe": "a probe needs a module with floating parameters, got Small without any",
    },
    "TorchScript, quantized": {
        **dict.fromkeys(("plan", "init", "attach"), f"{_PACKED} and 0.bias"),
        "probe": "a probe needs a module with floating parameters, got",
    },
    **{
        kind: {"attach": f"{_CODE}{what}"}
        for kind, what in {
            "state dict": "a file of torch.save",
            "state dict before torch 1.6": "a file of torch.save",
            "checkpoint": "a file of torch.save",
            "safetensors": "a safetensors file",
            "index of shards": "a JSON file",
            "`.pt2` of torch 2.9": "a torch.export archive",
        }.items()
    },
    "state dict, quantized": {
        **dict.fromkeys(("plan", "init"), f"{_PACKED}, 0.scale and 0.zero_point"),
        "attach": f"{_CODE}a file of torch.save",
        "probe": "--like must name a model with the tensors of FILE, got",
    },
    **{kind: {"attach": f"{_CODE}a directory"} for kind in ("directory of shards", "directory with one file")},
    "`.pt2` of torch 2.8": {
        "init": f"{_HELD}a torch.export archive of torch 2.8 or older, or of AOTInductor; only inspect reads its weights",
        "attach": f"{_CODE}a torch.export archive",
    },
    "recording": dict.fromkeys(COMMANDS, f"{_HELD}a recording; record shows it, and --recipe takes it"),
    "pickled module": {
        **dict.fromkeys(("inspect", "plan", "init", "probe"), f"{_HELD}a pickle that holds code"),
        "attach": f"{_CODE}a file of torch.save",
    },
}


@pytest.fixture(scope="module", params=KINDS)
def kind_and_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, written(request.param, tmp_path_factory.mktemp("kind"))


def _has_layers(kind: str) -> bool:
    return kind.startswith("TorchScript")


def _arguments(command: str, kind: str, file: Path, folder: Path) -> list[object]:
    like = [] if _has_layers(kind) else ["--like", LIKE]
    out = folder / ("made" if file.is_dir() or file.suffix == ".json" else f"made{file.suffix}")
    return {
        "inspect": [],
        "plan": ["--recipe", "torch", *like],
        "init": ["--recipe", "torch", *like, "--seed", 1, "-o", out],
        "attach": ["--recipe", "torch", "-o", folder / f"made{file.suffix if file.suffix == '.ptl' else '.pt'}"],
        "probe": ["--input", "3x7", *like],
    }[command] + (["--mobile"] if command == "attach" and file.suffix == ".ptl" else [])


@pytest.mark.parametrize("command", COMMANDS)
def test_command_does_with_a_file_what_the_table_says(
    command: str, kind_and_file: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, file = kind_and_file
    refused = REFUSED.get(kind, {}).get(command)
    arguments = _arguments(command, kind, file, tmp_path)
    if kind in ("recording", "pickled module") and command == "init":
        arguments[-1] = tmp_path / "made.pt"
    before = sorted(file.parent.rglob("*")), file.stat().st_mtime_ns
    code, shown = run(command, file, *arguments), capsys.readouterr()
    assert (sorted(file.parent.rglob("*")), file.stat().st_mtime_ns) == before
    if refused is None:
        assert code == 0
        assert shown.out or os.listdir(tmp_path)
    else:
        assert (code, shown.out, os.listdir(tmp_path)) == (1, "", [])
        last = shown.err.splitlines()[-1]
        assert last.replace(str(file), "FILE").startswith(f"torchinit: {refused}")


@pytest.mark.parametrize("command", ["record", "bundle"])
def test_command_that_reads_no_weights_says_so(
    command: str, kind_and_file: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, file = kind_and_file
    if kind == "recording" and command == "record":
        assert run(command, file) == 0
        return
    if file.is_dir() and command == "bundle":
        return
    assert run(command, file) == 1
    said = {
        "record": "a model must be timm:NAME, hf:TYPE, package.module:factory, or a .init file, got FILE, a file"
        " without code to record; inspect shows its weights",
        "bundle": "DIR must be a folder to write to, got FILE, a file",
    }[command]
    assert capsys.readouterr().err == f"torchinit: {said}\n".replace("FILE", str(file))


def test_the_page_of_the_command_line_shows_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text()
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in KINDS:
            rows[cells[0]] = cells[1:]
    wanted = {
        kind: [
            "no"
            if command in REFUSED.get(kind, {})
            else "with `--like`"
            if command == "probe" and not _has_layers(kind)
            else "yes"
            for command in COMMANDS
        ]
        for kind in KINDS
    }
    assert rows == wanted
    assert f"| file | {' | '.join(COMMANDS)} |" in page
