"""A progress line on stderr: overwritten in place on a terminal, one a phase elsewhere."""

import sys


class Progress:
    """Counts steps of a known total."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.phase = total, 0, ""

    def step(self, phase: str, what: str) -> None:
        self.done += 1
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K[{self.done}/{self.total}] {phase} {what}")
        elif phase != self.phase:
            sys.stderr.write(f"[{self.done}/{self.total}] {phase} ...\n")
        sys.stderr.flush()
        self.phase = phase

    def clear(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
