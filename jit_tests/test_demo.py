"""Does ``make demo`` hold, and does it fail when torchinit does?"""

import subprocess
import sys

import pytest
import torch

import torchinit
from tools import demo
from tools.codegen.__main__ import ROOT


def test_demo_shows_all_names_and_exits_zero() -> None:
    done = subprocess.run([sys.executable, "-m", "tools.demo"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "torchinit can be imported: no" in done.stdout
    assert "26 names: upstream compiles 7, torchinit 26" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if line.endswith(("yes", "README)"))][
        -26:
    ] == demo.NAMES
    assert "[1/28] save ..." in done.stderr


@pytest.mark.parametrize("broken", ["draws other bits", "does not compile"])
def test_demo_fails_when_a_row_of_torchinit_does(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(tensor: torch.Tensor) -> torch.Tensor:
        return torchinit.ones_(tensor)

    def generic(*arguments: torch.Tensor) -> torch.Tensor:
        return torchinit.eye_(*arguments)

    monkeypatch.setattr("torchinit.eye", other if broken == "draws other bits" else generic)
    monkeypatch.setattr(demo, "NAMES", ["eye", "zeros_"])
    assert demo.main() == 1
