"""Does a second thread work on every piece, in order, and do errors of both threads arrive?"""

import threading
from collections.abc import Iterator

import pytest
import torch

import torchinit
from torchinit._core.compat import FakeTensorMode
from torchinit._core.overlap import can_overlap, overlap


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_second_thread_works_on_every_piece_in_order() -> None:
    found: list[tuple[int, bool]] = []
    overlap(lambda piece: found.append((piece, threading.current_thread() is threading.main_thread())), range(50))
    assert found == [(piece, False) for piece in range(50)]


def test_an_error_of_the_work_is_raised_when_all_threads_have_ended() -> None:
    def work(piece: int) -> None:
        done.append(piece)
        if piece == 3:
            raise ValueError("at 3")

    done: list[int] = []
    count = threading.active_count()
    with pytest.raises(ValueError, match="at 3"):
        overlap(work, range(50))
    assert done == [0, 1, 2, 3]
    assert threading.active_count() == count


def test_an_error_of_a_piece_ends_the_second_thread() -> None:
    def pieces() -> Iterator[int]:
        yield 0
        raise ValueError("no piece")

    done: list[int] = []
    count = threading.active_count()
    with pytest.raises(ValueError, match="no piece"):
        overlap(done.append, pieces())
    assert done == [0]
    assert threading.active_count() == count


def test_without_a_thread_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []
    overlap(done.append, range(5))
    assert done == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("two_threads")
def test_only_plain_pieces_of_a_large_tensor_overlap() -> None:
    pieces = list(torch.empty(1000).split(100))
    assert can_overlap(pieces)
    assert not can_overlap(pieces[:3])
    with torch.inference_mode():
        assert not can_overlap(pieces)
    with FakeTensorMode():
        assert not can_overlap(pieces)
    torch.set_num_threads(1)
    assert not can_overlap(pieces)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("bounds", "dtype"),
    [
        ((0.0, 0.02, -0.04, 0.04), torch.float32),
        ((0.0, 0.02, -0.04, 0.04), torch.float64),
        # Drawn in float32, piece by piece.
        ((0.0, 0.02, -0.04, 0.04), torch.bfloat16),
        # A tail.
        ((5.0, 1.0, -1.0, 1.0), torch.float32),
    ],
)
def test_values_and_state_are_those_of_one_thread(bounds: tuple[float, ...], dtype: torch.dtype) -> None:
    def drawn() -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(5)
        values = torchinit.trunc_normal_(torch.empty(900, 1000, dtype=dtype), *bounds, generator=generator)
        return values, generator.get_state()

    both = drawn()
    torch.set_num_threads(1)
    for one, other in zip(both, drawn(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("kind", ["no grad", "inference", "parameter"])
def test_a_large_tensor_is_filled_in_any_mode(kind: str) -> None:
    def fill() -> torch.Tensor:
        tensor = torch.nn.Parameter(torch.empty(900, 1000)) if kind == "parameter" else torch.empty(900, 1000)
        return torchinit.trunc_normal_(tensor, generator=torch.Generator().manual_seed(5))

    expected = fill()
    if kind == "inference":
        with torch.inference_mode():
            assert torch.equal(fill(), expected)
    else:
        with torch.no_grad():
            assert torch.equal(fill(), expected)
