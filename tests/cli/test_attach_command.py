"""Does the command attach write a model that resets itself?"""

import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from jit_tests.scripting import run_quietly
from tests.support.command_line import initialized, load, run, without_written
from tests.support.layers import MIXED, Mixed, differing, seeded
from torchinit import recipes


def test_attach_writes_a_file_that_resets_itself(model: Path, tmp_path: Path) -> None:
    assert run("attach", model, "--recipe", "torch", "--keep", "norm.*", "-o", tmp_path / "out.pt") == 0
    net = load(tmp_path / "out.pt")
    assert differing(seeded(Mixed, 1), net) == []
    net.reset_parameters(torch.Generator().manual_seed(7))
    assert differing(initialized(recipes.torch_default().keeping("norm.*"), 7), net) == []


def test_attach_writes_a_file_for_the_mobile_interpreter(model: Path, tmp_path: Path) -> None:
    from torch.jit.mobile import _load_for_lite_interpreter

    assert run("attach", model, "--recipe", "torch", "-o", tmp_path / "out.ptl", "--mobile") == 0
    lite = run_quietly(_load_for_lite_interpreter, str(tmp_path / "out.ptl"))
    lite.run_method("reset_parameters", 7)
    for got, wanted in zip(lite(*MIXED.inputs), initialized(recipes.torch_default(), 7)(*MIXED.inputs), strict=True):
        assert torch.equal(got, wanted)


def test_mobile_option_alone_decides_what_attach_writes(layer: Path, tmp_path: Path) -> None:
    run_quietly(load(layer)._save_for_lite_interpreter, str(tmp_path / "in.ptl"))
    for more, mobile in (([], False), (["--mobile"], True)):
        assert run("attach", tmp_path / "in.ptl", "--recipe", "torch", "-o", tmp_path / "out.pt", "--force", *more) == 0
        names = zipfile.ZipFile(tmp_path / "out.pt").namelist()
        assert any(name.endswith("/bytecode.pkl") for name in names) == mobile


def test_misspelt_name_to_keep_is_a_warning(layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--recipe", "torch", "--keep", "boddy.*", "-o", tmp_path / "out.pt"]
    assert run("attach", layer, *more) == 0
    assert "rule 1 matched no parameter: Rule('keep', name='boddy.*')" in capsys.readouterr().err


def test_attach_hides_torchs_own_warnings(layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run("attach", layer, "--recipe", "torch", "-o", tmp_path / "o.ptl", "--mobile") == 0
    assert without_written(capsys.readouterr().err) == ""
