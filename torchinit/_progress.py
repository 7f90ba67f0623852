"""A progress line on stderr: overwritten in place on a terminal, one a phase elsewhere."""

import sys
import time


class Progress:
    """Counts steps of a known total, and shows them once ``after`` seconds have passed."""

    def __init__(self, total: int, after: float = 0.0) -> None:
        self.total, self.done, self.phase, self.shown = total, 0, "", False
        self._start = time.monotonic() + after

    def step(self, phase: str, what: str = "") -> None:
        self.done += 1
        if time.monotonic() < self._start:
            return
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K[{self.done}/{self.total}] {phase} {what}")
        elif phase != self.phase:
            sys.stderr.write(f"[{self.done}/{self.total}] {phase} ...\n")
        sys.stderr.flush()
        self.phase, self.shown = phase, True

    def clear(self) -> None:
        if self.shown and sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
