"""A progress line on stderr: overwritten in place on a terminal, one line per phase elsewhere."""

import sys
from time import monotonic

from torchinit._core.table import printable


class Progress:
    """Counts steps, and shows them once ``after`` seconds have passed; cleared when the ``with`` block ends."""

    def __init__(self, total: int = 0, after: float = 0.0) -> None:
        self.total, self.done, self.phase, self.shown = total, 0, "", False
        self._start = monotonic() + after

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def step(self, phase: str, what: str = "", total: int | None = None) -> None:
        """Begin the next step of a phase; ``total`` corrects the number of steps."""
        self.done += 1
        self.total = self.total if total is None else total
        if monotonic() < self._start:
            return
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K[{self.done}/{self.total}] {phase} {printable(what)}")
        elif phase != self.phase:
            sys.stderr.write(f"[{self.done}/{self.total}] {phase} ...\n")
        sys.stderr.flush()
        self.phase, self.shown = phase, True

    def clear(self) -> None:
        if self.shown and sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
