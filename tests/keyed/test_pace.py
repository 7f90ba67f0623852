"""Does a large draw use one thread while all threads are slower?"""

import contextlib
from collections.abc import Iterator

import pytest
import torch

from torchinit import keyed
from torchinit._core.compat import one_thread
from torchinit.keyed import _pace
from torchinit.keyed._pace import Pace


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


def test_few_tiles_are_not_measured(machine: Machine) -> None:
    machine.together = 50.0
    assert machine.fill(7) == "nnnnnnn"


def test_one_thread_is_restored_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with contextlib.suppress(ValueError), one_thread():
            assert torch.get_num_threads() == 1
            raise ValueError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["uniform_", "normal_"])
def test_values_do_not_depend_on_the_pace(name: str, machine: Machine) -> None:
    fill, size = getattr(keyed, name), 9 * 4 * 98304 + 5
    mixed = fill(torch.empty(size), keyed.key(3))
    torch.set_num_threads(1)
    assert torch.equal(mixed, fill(torch.empty(size), keyed.key(3)))
