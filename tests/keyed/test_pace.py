"""Does a large draw use one thread while all threads are slower?"""

import contextlib
import ctypes
from collections.abc import Iterator

import pytest
import torch

from torchinit import keyed
from torchinit._core.compat import one_thread
from torchinit.keyed import _pace
from torchinit.keyed._pace import Pace
from torchinit.keyed._tiles import tiles


class Machine:
    """A clock, and tiles that take the given seconds with all threads and with one."""

    def __init__(self, together: float, alone: float) -> None:
        self.now, self.together, self.alone = 100.0, together, alone
        self.drawn = ""

    def tile(self) -> None:
        alone = torch.get_num_threads() == 1
        self.drawn += "1" if alone else "n"
        self.now += self.alone if alone else self.together

    def fill(self, tiles: int) -> str:
        self.drawn, pace = "", Pace(tiles)
        for _ in range(tiles):
            pace.draw(self.tile)
        return self.drawn


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made, before = Machine(1.0, 1.8), torch.get_num_threads()
    monkeypatch.setattr(_pace, "perf_counter", lambda: made.now)
    monkeypatch.setattr(Pace, "until", 0.0)
    torch.set_num_threads(2)
    yield made
    torch.set_num_threads(before)


def test_idle_cores_are_all_used_but_for_one_measured_tile(machine: Machine) -> None:
    assert machine.fill(12) == "n1nnnnnnnnnn"


def test_on_a_busy_machine_one_thread_draws_until_a_pause_has_passed(machine: Machine) -> None:
    machine.together, machine.alone = 20.0, 2.0
    assert machine.fill(12) == "n11111111111"
    # 22 seconds after the pause began; it lasts for ten times the 20 seconds.
    assert machine.fill(2) == "11"
    machine.now += 200.0
    assert machine.fill(12) == "n11111111111"
    machine.now += 200.0
    machine.together = 1.0
    assert machine.fill(12) == "n1nnnnnnnnnn"


def test_load_that_begins_within_a_fill_is_noticed(machine: Machine) -> None:
    pace = Pace(100)
    for _ in range(5):
        pace.draw(machine.tile)
    machine.together = 30.0
    for _ in range(4):
        pace.draw(machine.tile)
    assert machine.drawn == "n1nnnn111"


def test_threads_that_share_a_core_but_do_not_wait_are_kept(machine: Machine) -> None:
    machine.together = 2.0
    assert machine.fill(12) == "n1nnnnnnnnnn"


def test_few_tiles_are_not_measured(machine: Machine) -> None:
    machine.together = 50.0
    assert machine.fill(7) == "nnnnnnn"


def test_one_thread_is_restored_after_an_error() -> None:
    def mkl_threads() -> int:
        return int(library.MKL_Get_Max_Threads()) if hasattr(library, "MKL_Get_Max_Threads") else threads()

    library, threads, before = ctypes.CDLL(torch._C.__file__), torch.get_num_threads, torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with contextlib.suppress(ValueError), one_thread():
            assert (threads(), mkl_threads()) == (1, 1)
            raise ValueError
        assert (threads(), mkl_threads()) == (2, 2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("shape", "size"), [([5, 7], 3), ([5, 7], 7), ([5, 7], 16), ([2, 3, 4], 5), ([6], 100)])
def test_tiles_cover_a_piece_once_and_know_their_place(shape: list[int], size: int) -> None:
    piece = torch.zeros(shape)
    for tile, start in tiles(piece, [10] * len(shape), size):
        tile += 1
        assert tile.numel() <= size
        first = [tile.storage_offset() // stride % n for stride, n in zip(piece.stride(), shape)]
        assert start == [10 + index for index in first]
    assert bool((piece == 1).all())


@pytest.mark.parametrize("name", ["uniform_", "normal_"])
def test_values_do_not_depend_on_the_pace(name: str, machine: Machine) -> None:
    fill, size = getattr(keyed, name), 9 * 4 * 98304 + 5
    mixed = fill(torch.empty(size), keyed.key(3))
    torch.set_num_threads(1)
    assert torch.equal(mixed, fill(torch.empty(size), keyed.key(3)))
