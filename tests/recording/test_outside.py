"""Does a recording note what a model's code takes from outside torch, with the line, and leave all as it was?"""

import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import gauss
from typing import Any

import numpy
import pytest
import safetensors.torch
import torch
from numpy.random import standard_normal
from safetensors.torch import load_file
from torch import nn

import torchinit
from torchinit.recording import Outside

HERE = os.path.basename(__file__)


def uses(code: Callable[[], Any]) -> list[Outside]:
    """Return what a recording notes of a code."""

    def build() -> nn.Module:
        code()
        return nn.Linear(2, 2)

    return list(torchinit.record(build).program.outside)


def named(code: Callable[[], Any]) -> list[tuple[str, str, bool]]:
    """Return the kind and the name of each use, and whether it has a line of this file."""
    return [(use.kind, os.path.basename(use.what), HERE in use.place) for use in uses(code)]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (lambda: random.random(), "random.random"),
        (lambda: random.shuffle([1, 2]), "random.shuffle"),
        (lambda: numpy.random.randn(2), "numpy.random.randn"),
        (lambda: numpy.random.permutation(3), "numpy.random.permutation"),
        (lambda: numpy.random.default_rng(), "numpy.random.default_rng without a seed"),
        (lambda: numpy.random.default_rng(None).normal(), "numpy.random.default_rng without a seed"),
        (lambda: numpy.random.seed(), "numpy.random.seed"),
        (torch.seed, "torch.seed()"),
    ],
)
def test_a_draw_outside_torch_is_noted(code: Callable[[], Any], what: str) -> None:
    # The last case is no function of this file, so that its line is the caller's.
    assert named(lambda: code()) == [("random", what, True)]


def test_a_note_has_the_line_and_what_to_do() -> None:
    (use,) = uses(lambda: random.random())
    line = test_a_note_has_the_line_and_what_to_do.__code__.co_firstlineno + 1
    assert use == Outside(
        "random", "random.random", f"{__file__}:{line}", "draw with torch, so that a seed or a key decides the values"
    )


@pytest.mark.parametrize("code", [lambda: gauss(0, 1), lambda: standard_normal(2)])
def test_a_draw_by_an_imported_name_is_noted_without_a_line(code: Callable[[], Any]) -> None:
    assert [(use.what, use.place) for use in uses(code)] in ([("random", "")], [("numpy.random", "")])


@pytest.mark.parametrize(
    "code",
    [
        lambda: None,
        lambda: random.getstate(),
        lambda: (random.seed(3), random.random(), gauss(0, 1)),
        lambda: (numpy.random.seed(3), numpy.random.randn(2)),
        lambda: numpy.random.default_rng(3).normal(),
        lambda: numpy.random.default_rng(seed=3).normal(),
        lambda: random.Random(3).random(),
        lambda: torch.manual_seed(3),
    ],
)
def test_a_seeded_draw_is_not_noted(code: Callable[[], Any]) -> None:
    assert uses(code) == []


def test_two_draws_on_one_line_are_noted_once() -> None:
    assert len(uses(lambda: [random.random() for _ in range(3)])) == 1


def test_torch_seed_leaves_the_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    uses(torch.seed)
    assert torch.equal(torch.get_rng_state(), before)


class FromFile(nn.Module):
    """A model with a table that a function reads."""

    def __init__(self, read: Callable[[], Any]) -> None:
        super().__init__()
        self.register_buffer("table", torch.as_tensor(read()))
        self.register_buffer("doubled", self.table * 2)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    table = torch.arange(4.0)
    torch.save(table, tmp_path / "zip.pt")
    torch.save(table, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file({"table": table}, tmp_path / "table.safetensors")
    numpy.save(tmp_path / "table.npy", table.numpy())
    return tmp_path


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "torch": ("zip.pt", torch.load),
    "legacy torch": ("legacy.pt", torch.load),
    "safetensors": ("table.safetensors", lambda path: load_file(path)["table"]),
    "safe_open": ("table.safetensors", lambda path: _opened(path)),
    "bytes": ("table.safetensors", lambda path: safetensors.torch.load(path.read_bytes())["table"]),
    "numpy": ("table.npy", numpy.load),
}


def _opened(path: Path) -> torch.Tensor:
    with safetensors.safe_open(path, framework="pt") as file:
        assert list(file.keys()) == ["table"]
        return file.get_tensor("table")


@pytest.mark.parametrize("name", READERS)
def test_a_file_is_noted_and_its_values_are_kept(name: str, files: Path) -> None:
    file, read = READERS[name]
    recording = torchinit.record(lambda: FromFile(lambda: read(files / file)))
    assert [(use.kind, use.what, HERE in use.place) for use in recording.program.outside] == [
        ("file", str(files / file), True)
    ]
    (files / file).unlink()
    model = recording.build(seed=0)
    assert torch.equal(model.table, torch.arange(4.0))
    assert torch.equal(model.doubled, 2 * torch.arange(4.0))


def test_files_without_tensors_are_not_noted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "imported_while_recording.py").write_text("import os")

    def code() -> None:
        (tmp_path / "config.json").read_text()
        (tmp_path / "written.txt").write_text("x")
        with pytest.raises(FileNotFoundError):
            (tmp_path / "missing.txt").read_text()
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(tmp_path)
            __import__("imported_while_recording")

    assert uses(code) == []


def test_nothing_is_noted_outside_a_recording_and_nothing_stays_replaced() -> None:
    modules = (random, numpy.random, torch, torch.serialization, safetensors, safetensors.torch)
    before = [dict(vars(module)) for module in modules]

    def failing() -> nn.Module:
        assert random.random is not before[0]["random"]
        raise KeyError("no model")

    with pytest.raises(KeyError):
        torchinit.record(failing)
    assert [dict(vars(module)) for module in modules] == before
    random.random()
    assert uses(lambda: None) == []


def test_another_threads_draws_are_not_noted(tmp_path: Path) -> None:
    (tmp_path / "table.txt").write_text("1")

    def draw() -> None:
        random.random()
        numpy.random.randn(2)
        (tmp_path / "table.txt").read_text()

    def code() -> None:
        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()

    assert uses(code) == []


def test_two_threads_record_at_the_same_time() -> None:
    before = random.random
    inside, leave = threading.Event(), threading.Event()
    found: list[list[Outside]] = []

    def slow() -> None:
        inside.set()
        leave.wait(60)
        random.random()

    thread = threading.Thread(target=lambda: found.append(uses(slow)))
    thread.start()
    inside.wait(60)
    assert uses(lambda: numpy.random.randn(1))[0].what == "numpy.random.randn"
    leave.set()
    thread.join()
    assert [use.what for use in found[0]] == ["random.random"]
    assert random.random is before


def test_recording_imports_no_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)  # an import raises
    assert uses(lambda: None) == []
