"""Overlaps the draw of a piece, which is serial, with the work on the pieces before."""

import threading
from collections.abc import Callable, Iterable, Sequence
from queue import Queue
from typing import TypeVar

import torch
from torch import Tensor

from torchinit._core.compat import dispatch_modes

T = TypeVar("T")

# Of fewer pieces, too little overlaps for a thread to pay off.
_FEW = 4


def can_overlap(pieces: Sequence[Tensor]) -> bool:
    """True if a second thread pays off for the pieces of a plain tensor, and no state of this thread would be missed."""
    return (
        len(pieces) >= _FEW
        and pieces[0].is_cpu
        and torch.get_num_threads() > 1
        and dispatch_modes() == 0
        and not torch.is_inference_mode_enabled()
    )


def overlap(work: Callable[[T], object], pieces: Iterable[T]) -> None:
    """Call ``work`` with each piece in a second thread, while this one makes the next piece.

    NB: many short parallel regions are the other way to use two cores. They take ten times as long if another process
    keeps one of the cores busy, because every region waits for the slower core.
    """
    # Few pieces wait: each may have memory of its own.
    queue: Queue[tuple[T] | None] = Queue(4)
    errors: list[BaseException] = []

    def run() -> None:
        while piece := queue.get():
            try:
                if not errors:
                    work(*piece)
            except BaseException as error:
                errors.append(error)

    # A second interrupt may keep the last message from the thread, which must not hold up the end of the process then.
    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        # The system or the end of the interpreter gives no more threads.
        for piece in pieces:
            work(piece)
        return
    try:
        for piece in pieces:
            queue.put((piece,))
    finally:
        queue.put(None)
        thread.join()
    if errors:
        raise errors[0]
