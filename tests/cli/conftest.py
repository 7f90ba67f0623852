import pytest


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock, so that a busy machine shows no progress."""
    monkeypatch.setattr("torchinit.cli._progress.monotonic", lambda: 0.0)


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two seconds pass whenever the time is asked for."""
    ticks = iter(range(0, 100_000, 2))
    monkeypatch.setattr("torchinit.cli._progress.monotonic", lambda: float(next(ticks)))
