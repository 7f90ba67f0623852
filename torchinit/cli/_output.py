"""The output of a command: its result on stdout; notes, warnings and errors on stderr, one line each."""

import argparse
import sys
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchinit._core.output_file import is_device
from torchinit._core.rows import Rows
from torchinit._core.table import colored, first_line, in_bytes, line_width
from torchinit.cli._progress import Progress

if TYPE_CHECKING:
    # Not at run time: it imports torch, and this module is loaded for help as well.
    from torchinit.recording import Recording


def _described(error: Exception) -> str:
    """Describe an error in one line; leave out the number of an error of the system."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {str(error.filename)!r}"
    return first_line(str(error)) or type(error).__name__


class Output:
    """Prints results as text or as JSON, and notes, warnings and errors after the program's name.

    Args:
        arguments: options of the command, if it has them: ``json``, ``wide``, ``all`` and ``bad``
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        names = ("json", "wide", "all", "bad")
        self.json, self.wide, self.all, self.bad = (getattr(arguments, name, False) for name in names)

    def text(self, words: str, end: str = "\n") -> None:
        print(words, end=end)

    @property
    def _whole(self) -> bool:
        """True if results do not depend on the width of a terminal: in a file or a pipe, or if that is asked for."""
        return self.wide or sys.stdout is None or not sys.stdout.isatty()

    def paragraph(self, words: str, indent: int) -> None:
        """Print a text in lines of the terminal's width, those after the first indented."""
        print(words if self._whole else textwrap.fill(words, line_width(), subsequent_indent=" " * indent))

    def show(self, result: "Rows[Any] | Recording") -> None:
        """Print a result."""
        rows = result if isinstance(result, Rows) else result._description
        if self.json:
            print(rows.to_json(bad=self.bad))
        else:
            print(rows.table(wide=self._whole, all=self.all, bad=self.bad, color=colored()))

    def written(self, path: str, files: Collection[Path] = ()) -> None:
        """Say which file was written, or which directory of the files, and the size of what was written."""
        if not is_device(path):
            size = sum(file.stat().st_size for file in files or [Path(path)])
            self.note(f"wrote {path} ({in_bytes(size)})")

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
