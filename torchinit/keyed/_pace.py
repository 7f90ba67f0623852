"""Draws tiles with one thread while another process keeps a core busy, because all threads would take longer."""

from collections.abc import Callable
from time import perf_counter

from torchinit._core.compat import one_thread

# With fewer tiles, a measurement would take a good part of the time.
_FEW = 8
# Threads that share a core with another process, but do not wait for one another, are at most 1.3 times as slow as one.
_SLOW = 1.5
# All threads are tried again after ten times what they took, so that trying costs a tenth.
_PAUSE = 10.0


class Pace:
    """Measures tiles of equal size with one thread and with all, and stays with one while all are slower.

    NB: each of the hundred operators of a tile is a parallel region, and its end waits for the thread whose core
    another process uses, up to a millisecond.

    Args:
        tiles: number of tiles
    """

    # When all threads may draw again.
    until = 0.0

    def __init__(self, tiles: int) -> None:
        self.tiles, self.drawn = tiles, 0
        # How long the last tile took, by whether one thread drew it.
        self.seconds: dict[bool, float] = {}

    def draw(self, tile: Callable[[], object]) -> None:
        """Draw the next tile."""
        start = perf_counter()
        alone = start < Pace.until or (self.drawn == 1 and self.tiles >= _FEW)
        if alone:
            with one_thread():
                tile()
        else:
            tile()
        end = perf_counter()
        self.seconds[alone] = end - start
        self.drawn += 1
        if len(self.seconds) == 2 and self.seconds[False] > _SLOW * self.seconds[True]:
            Pace.until = end + _PAUSE * self.seconds[False]
            self.seconds = {True: self.seconds[True]}
