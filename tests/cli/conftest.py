from pathlib import Path

import pytest
import torch

from jit_tests.scripting import run_quietly
from tests.support.layers import Mixed, seeded


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
    run_quietly(torch.jit.script, seeded(Mixed, 1)).save(str(tmp_path / "model.pt"))
    return tmp_path / "model.pt"
