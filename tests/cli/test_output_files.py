"""Do all commands check output files and seeds the same way?"""

import re
from pathlib import Path

import pytest

from tests.support.command_line import load, run
from tests.support.layers import Mixed, differing, seeded

OUTPUTS = {
    "init": ["--recipe", "torch", "--seed", 7, "-o"],
    "attach": ["--recipe", "torch", "-o"],
    "inspect": ["--plot"],
    "probe": ["--input", "2x3", "--plot"],
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_existing_file_is_overwritten_only_by_force(
    command: str, layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / ("out.pt" if command in ("init", "attach") else "out.png")
    out.write_text("mine")
    (tmp_path / f"link{out.suffix}").symlink_to(out)
    # Refused before the input is read.
    for path in (out, tmp_path / f"link{out.suffix}"):
        assert run(command, tmp_path / "none.pt", *OUTPUTS[command], path) == 1
        assert capsys.readouterr().err == (
            f"torchinit: an existing file is overwritten only with --force, got {path}\n"
        )
    assert out.read_text() == "mine"
    # The input exists too. A picture never replaces it.
    before = layer.read_bytes()
    (tmp_path / "input.png").symlink_to(layer)
    (tmp_path / "input.pt").symlink_to(layer)
    for more in [[]] if out.suffix == ".pt" else [[], ["--force"]]:
        assert run(command, layer, *OUTPUTS[command], tmp_path / f"input{out.suffix}", *more) == 1
    assert layer.read_bytes() == before
    assert run(command, layer, *OUTPUTS[command], out, "--force") == 0
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
        assert run(command, "none.pt", *OUTPUTS[command], tmp_path / f"{name}{suffix}") == 1
        assert capsys.readouterr().err == f"torchinit: {said}: '{tmp_path}/{name}{suffix}'\n"


@pytest.mark.parametrize("command", OUTPUTS)
def test_suffix_that_names_no_format_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("out", "out.txt", "out.png" if command in ("init", "attach") else "out.pt"):
        with pytest.raises(SystemExit) as raised:
            run(command, "in.pt", *OUTPUTS[command], path)
        assert raised.value.code == 2
        assert re.search(rf" must end in \.p.*, got '{path}'\n$", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("command", "suffix", "head"),
    [("inspect", ".png", b"\x89PNG"), ("probe", ".SVG", b"<?xml version"), ("inspect", ".pdf", b"%PDF-")],
)
def test_suffix_decides_the_format_of_a_picture(
    command: str, suffix: str, head: bytes, layer: Path, tmp_path: Path
) -> None:
    pictures = []
    for name in ("a", "b"):
        assert run(command, layer, *OUTPUTS[command], tmp_path / f"{name}{suffix}") == 0
        pictures.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert pictures[0].startswith(head)
    assert pictures[0] == pictures[1]


def test_mobile_suffix_is_refused_for_a_model_that_is_not_mobile(
    layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("init", "attach"):
        assert run(command, layer, *OUTPUTS[command], tmp_path / "out.ptl") == 1
        assert capsys.readouterr().err.startswith("torchinit: a .ptl file is for the mobile interpreter")
    assert not (tmp_path / "out.ptl").exists()


def test_model_can_be_written_to_standard_output(
    model: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("attach", model, "--recipe", "torch", "-o", "/dev/stdout") == 0
    (tmp_path / "out.pt").write_bytes(capfdbinary.readouterr().out)
    assert differing(seeded(Mixed, 1), load(tmp_path / "out.pt")) == []


@pytest.mark.parametrize("command", ["init", "inspect", "probe"])
def test_every_command_takes_the_seeds_that_a_generator_takes(
    command: str, layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"init": OUTPUTS["attach"], "inspect": ["--recipe", "xavier", "--plot"], "probe": OUTPUTS["probe"]}[
        command
    ]
    out = tmp_path / ("out.pt" if command == "init" else "out.png")
    made = []
    for seed in (-1, 2**64 - 1, -(2**63)):
        assert run(command, layer, *options, out, "--seed", seed, "--force") == 0
        made.append((capsys.readouterr().out, out.read_bytes()))
    assert made[0] == made[1] != made[2]
    for words in (-(2**63) - 1, 2**64, "99999999999999999999", "9" * 5000, "x", "1.0", ""):
        with pytest.raises(SystemExit) as raised:
            run(command, layer, *options, out, "--seed", words)
        assert raised.value.code == 2
        said = f"argument --seed: a seed must be an integer from -2**63 to 2**64 - 1, got {words}\n"
        assert capsys.readouterr().err.endswith(said)
