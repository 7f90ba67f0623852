"""The output of a command: its result on stdout; notes, warnings and errors on stderr, one line each."""

import sys
from collections.abc import Collection, Sequence
from typing import Any

from torchinit._core.table import Cell, colored, first_line, table, to_json
from torchinit.cli._progress import Progress


def _described(error: Exception) -> str:
    """Describe an error in one line; leave out the number of an error of the system."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {str(error.filename)!r}"
    return first_line(str(error)) or type(error).__name__


class Output:
    """Prints results as text or as JSON, and notes, warnings and errors after the program's name."""

    def __init__(self, json: bool = False) -> None:
        self.json = json

    def text(self, words: str, end: str = "\n") -> None:
        print(words, end=end)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]], marked: Collection[int] = ()) -> None:
        """Print a table; the rows of ``marked`` are colored on a terminal."""
        print(to_json(columns, rows) if self.json else table(columns, rows, marked, colored()))

    def note(self, words: str) -> None:
        sys.stderr.write(f"torchinit: {first_line(words)}\n")

    def warning(self, message: Any, *_: Any) -> None:
        """Stand in for ``warnings.showwarning``."""
        self.note(f"warning: {first_line(str(message))}")

    def error(self, error: Exception) -> None:
        self.note(_described(error))

    def progress(self, total: int = 0) -> Progress:
        """Return a counter of steps, shown once a second has passed."""
        return Progress(total, after=1.0)
