"""What a section of the run is given, and what it says."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

Row = dict[str, Any]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Settings:
    """What to run on, and how large."""

    device: str
    sides: tuple[int, ...] = (4096, 16384)
    models: tuple[str, ...] = ("Llama-1B", "Llama-8B")
    # Seconds for each side of a measured row.
    seconds: float = 0.3
    # Only the tests that this expression of pytest selects.
    select: str = ""


@dataclass
class Findings:
    """Collects a section's rows, and says when its time is over."""

    deadline: float
    send: Callable[[Row], None]
    cut: list[str] = field(default_factory=list)
    failed: int = 0

    def is_late(self) -> bool:
        return time.monotonic() > self.deadline

    def add(self, **row: Any) -> None:
        """Keep a row; ``failed`` is the number of failures that it tells of."""
        self.failed += row.get("failed", 0)
        self.send(row)

    def within_time(self, items: Sequence[_Item]) -> Iterator[_Item]:
        """Yield items until the time is over; say how many are left then."""
        for i, item in enumerate(items):
            if self.is_late():
                self.cut.append(f"{len(items) - i} of {len(items)} rows left")
                return
            yield item

    def measure(self, label: Row, work: Callable[[], Row]) -> None:
        """Keep a label with what was measured, or with the error of the measurement."""
        try:
            self.add(**{**label, **work()})
        except torch.OutOfMemoryError as error:
            # A small card is no fault.
            self.add(**label, error=first_line(error))
        except Exception as error:
            self.add(**label, error=first_line(error), failed=1)
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
