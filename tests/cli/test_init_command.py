"""Does the command init write the model that apply_ makes?"""

import os
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import torchinit
from jit_tests.scripting import run_quietly
from tests.support.built import assert_same_tensors, built
from tests.support.command_line import initialized, load, run
from tests.support.layers import LAYERS, MIXED, differing, seeded
from torchinit import keyed, recipes


def test_init_writes_the_model_that_apply_makes(model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    assert run("init", model, "--recipe", "xavier", "--seed", 7, "-o", tmp_path / "out.pt") == 0
    out = load(tmp_path / "out.pt")
    assert differing(initialized(recipes.xavier(), 7), out) == []
    assert model.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "out.pt"]
    for got, wanted in zip(out(*MIXED.inputs), initialized(recipes.xavier(), 7)(*MIXED.inputs), strict=True):
        assert torch.equal(got, wanted)


def test_keyed_init_equals_apply_with_the_key(model: Path, tmp_path: Path) -> None:
    assert run("init", model, "--recipe", "xavier", "--seed", -7, "--keyed", "-o", tmp_path / "out.pt") == 0
    expected = recipes.xavier().apply_(seeded(MIXED.make, 1), key=keyed.key(-7))
    assert differing(expected, load(tmp_path / "out.pt")) == []


def test_init_overwrites_its_input_only_by_force(model: Path) -> None:
    assert run("init", model, "--recipe", "torch", "--seed", 7, "-o", model, "--force") == 0
    assert differing(initialized(recipes.torch_default(), 7), load(model)) == []


def test_mobile_file_stays_mobile_when_initialized(model: Path, tmp_path: Path) -> None:
    from torch.jit.mobile import _load_for_lite_interpreter

    assert run("attach", model, "--recipe", "torch", "-o", tmp_path / "net.ptl", "--mobile") == 0
    assert run("init", tmp_path / "net.ptl", "--recipe", "xavier", "--seed", 3, "-o", tmp_path / "out.ptl") == 0
    lite = run_quietly(_load_for_lite_interpreter, str(tmp_path / "out.ptl"))
    for got, wanted in zip(lite(*MIXED.inputs), initialized(recipes.xavier(), 3)(*MIXED.inputs), strict=True):
        assert torch.equal(got, wanted)


def test_extra_files_of_an_archive_survive(tmp_path: Path) -> None:
    module = run_quietly(torch.jit.script, LAYERS["Linear"].make())
    torch.jit.save(module, str(tmp_path / "in.pt"), _extra_files={"labels.txt": "cat\ndog", "deep/er.bin": b"\x00\xff"})
    assert run("init", tmp_path / "in.pt", "--recipe", "torch", "--seed", 1, "-o", tmp_path / "out.pt") == 0
    assert run("attach", tmp_path / "out.pt", "--recipe", "torch", "-o", tmp_path / "again.pt") == 0
    extra = {"labels.txt": "", "deep/er.bin": ""}
    torch.jit.load(str(tmp_path / "again.pt"), _extra_files=extra)
    assert extra == {"labels.txt": b"cat\ndog", "deep/er.bin": b"\x00\xff"}


def test_extra_files_are_not_duplicated(layer: Path, tmp_path: Path) -> None:
    torch.jit.save(load(layer), str(tmp_path / "in.pt"), _extra_files={"extra/a": " b\n", "a": "c"})
    assert run("init", tmp_path / "in.pt", "--recipe", "torch", "--seed", 1, "-o", tmp_path / "out.pt") == 0
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


def test_full_disk_leaves_the_old_file_whole(
    layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "out.pt").write_text("old")
    monkeypatch.setattr(os, "replace", full)
    assert run("init", layer, "--recipe", "torch", "--seed", 7, "-o", tmp_path / "out.pt", "--force") == 1
    assert capsys.readouterr().err == f"torchinit: No space left on device: '{tmp_path}/out.pt'\n"
    assert (tmp_path / "out.pt").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer.pt", "out.pt"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--seed", "1", "--keep", ""], "a glob must not be empty, got ''"),
    ],
)
def test_wrong_value_of_an_option_is_reported(more: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        run("init", "x.pt", "--recipe", "torch", "-o", "y.pt", *more)
    assert raised.value.code == 2
    assert said in capsys.readouterr().err


class Shifted(nn.Module):
    """A buffer that a trace holds as a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("shift", torch.arange(3.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.shift


def test_buffer_that_the_file_lacks_is_left_out(tmp_path: Path) -> None:
    torchinit.record(Shifted).save(tmp_path / "net.init")
    model = Shifted()
    del model._buffers["shift"]
    model.shift = 1.0  # type: ignore[assignment]
    run_quietly(torch.jit.trace, model, torch.ones(1, 3)).save(str(tmp_path / "net.pt"))
    out = tmp_path / "out.pt"
    assert run("init", tmp_path / "net.pt", "--recipe", tmp_path / "net.init", "--seed", 3, "-o", out) == 0
    assert_same_tensors(load(out).linear, built(Shifted, 3)[0].linear)
