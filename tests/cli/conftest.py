from pathlib import Path

import pytest
from torch import nn

from tests.support.command_line import scripted
from tests.support.layers import Mixed


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock, so that a busy machine shows no progress."""
    monkeypatch.setattr("torchinit.cli._progress.monotonic", lambda: 0.0)


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Advance the clock by two seconds at every reading."""
    ticks = iter(range(0, 100_000, 2))
    monkeypatch.setattr("torchinit.cli._progress.monotonic", lambda: float(next(ticks)))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model.pt").write_bytes(scripted(Mixed))
    return tmp_path / "model.pt"


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """Return a model of one layer, where the kinds of its parameters do not matter."""
    (tmp_path / "layer.pt").write_bytes(scripted(_layer))
    return tmp_path / "layer.pt"


def _layer() -> nn.Module:
    return nn.Linear(3, 4)
