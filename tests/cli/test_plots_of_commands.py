"""Do the commands that draw refuse a picture without content, and write nothing then?"""

from pathlib import Path

import pytest
import torch
from torch import nn

from jit_tests.scripting import run_quietly
from tests.support.command_line import run


class Constant(nn.Module):
    """A model whose output depends on no input and on no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write models of which there is nothing to draw, and one of which there is; go to their folder."""
    monkeypatch.chdir(tmp_path)
    scripted = run_quietly(torch.jit.script, nn.Linear(3, 4).eval())
    run_quietly(torch.jit.save, run_quietly(torch.jit.freeze, scripted), "frozen.pt")
    run_quietly(torch.jit.save, run_quietly(torch.jit.script, Constant()), "constant.pt")
    torch.save({"weight": torch.ones(3, 3), "table": torch.arange(3)}, "a.pt")
    torch.save({"weight": torch.ones(3, 3), "table": torch.arange(3) + 1}, "b.pt")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "inspect frozen.pt",
            "--plot needs a file with parameters, got frozen.pt without any; torch.jit.freeze has made them constants of"
            " its code",
        ),
        ("probe constant.pt --input 3", "a plot needs a signal that passes a layer, got no rows"),
    ],
)
def test_picture_without_content_is_refused(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words.split(), "--plot", "out.png") == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"torchinit: {said}\n")
    assert not Path("out.png").exists()


@pytest.mark.parametrize(("b", "code"), [("a.pt", 0), ("b.pt", 1)])
def test_diff_says_that_there_is_nothing_to_draw(b: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diff", "a.pt", b) == code
    table = capsys.readouterr().out
    assert run("diff", "a.pt", b, "--plot", "out.png") == code
    printed = capsys.readouterr()
    assert printed.out == table
    assert printed.err == "torchinit: out.png is not written, because no tensor differs that has values to draw\n"
    assert not Path("out.png").exists()


def test_legend_of_a_diff_names_both_files(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3, 3)}, "c.pt")
    (tmp_path / "folder").mkdir()
    assert run("diff", tmp_path / "a.pt", "c.pt", "--plot", "folder/out.svg") == 1
    picture = Path("folder/out.svg").read_text()
    assert ">A: a.pt<" in picture
    assert ">B: c.pt<" in picture
