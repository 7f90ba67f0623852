"""The base of all results that have rows: they print as a table, show themselves in a notebook, and become JSON."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeVar, overload

from torchinit._core.table import Cell, html_table, table, text, to_json

T = TypeVar("T")


class Rows(Sequence[T]):
    """Rows of one kind.

    A subclass says what a row shows: ``columns``, and what it overrides of ``cells``, ``is_marked`` and ``summary``.

    Args:
        rows: the rows, dataclasses with an attribute for each column
    """

    columns: ClassVar[tuple[str, ...]] = ()

    def __init__(self, rows: Iterable[T] = ()) -> None:
        self.rows = list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self.rows[index]

    def __eq__(self, other: object) -> bool:
        return self.rows == (other.rows if isinstance(other, Rows) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rows!r})"

    def __str__(self) -> str:
        return self.table()

    def cells(self, row: T) -> Sequence[Cell]:
        """Return what a row shows in each column."""
        return [getattr(row, column) for column in self.columns]

    def is_marked(self, row: T) -> bool:
        """True if something is wrong with a row."""
        return False

    @property
    def summary(self) -> str:
        """What all rows say together, in one line; empty if there is nothing to say."""
        return ""

    def table(self) -> str:
        """Align the rows under their columns, and end with the summary."""
        aligned = table(self.columns, [self.cells(row) for row in self.rows], color=False)
        return f"{aligned}\n\n{self.summary}" if self.summary else aligned

    def to_json(self) -> str:
        """Return a JSON list with an object for each row."""
        return to_json(self.columns, [self.cells(row) for row in self.rows])

    def _repr_html_(self) -> str:
        return html_table(self.columns, [[text(cell) for cell in self.cells(row)] for row in self.rows], self.summary)

    def plot(self) -> Any:
        """Draw the rows; a ``matplotlib.figure.Figure``."""
        raise NotImplementedError(f"plot must be defined, got {type(self).__name__} without it")
