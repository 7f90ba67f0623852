"""A progress line on stderr: overwritten in place on a terminal, one line per phase elsewhere."""

import sys
from threading import Lock, Timer
from time import monotonic

from torchinit._core.table import line_width, printable, shortened


class Progress:
    """Counts steps, and shows them once ``after`` seconds have passed; cleared when the ``with`` block ends."""

    def __init__(self, total: int = 0, after: float = 0.0) -> None:
        self.total, self.done, self.phase, self.shown = total, 0, "", False
        self._start = monotonic() + after
        # A first step that takes long is shown while it runs.
        self._timer = Timer(after, self._show)
        self._timer.daemon = True
        self._lock, self._next = Lock(), ("", "")

    def __enter__(self) -> "Progress":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            # The timer may be showing a line.
            self._next = ("", "")
        self.clear()

    def begin(self, phase: str, what: str = "") -> None:
        """Begin a phase that has no number of steps, such as reading a file."""
        self._next = (phase, f"{phase} {printable(what)}")
        self._show()

    def step(self, phase: str, what: str = "", total: int | None = None) -> None:
        """Begin the next step of a phase; ``total`` corrects the number of steps, and a full count starts anew."""
        self.total = self.total if total is None else total
        self.done = 1 if total is not None and self.done >= total else self.done + 1
        self._next = (phase, f"[{self.done}/{self.total}] {phase} {printable(what)}")
        self._show()

    def _show(self) -> None:
        with self._lock:
            phase, line = self._next
            if not phase or monotonic() < self._start:
                return
            if sys.stderr.isatty():
                # NB: a line that wraps is not cleared as a whole.
                sys.stderr.write(f"\r\033[K{shortened(line, line_width() - 1)}")
            elif phase != self.phase:
                sys.stderr.write(f"{line[: line.index(phase)]}{phase} ...\n")
            sys.stderr.flush()
            self.phase, self.shown, self._next = phase, True, ("", "")

    def clear(self) -> None:
        if self.shown and sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
