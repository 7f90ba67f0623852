"""Follows the generators of a model's code: seeds that it sets, and states that it saves and restores.

No generator is drawn from while a model is recorded, so the default generator keeps its state, and other threads draw
from it as before.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from torchinit.recording._outside import note as note_outside

# Marks the state that ``torch.get_rng_state()`` returns while recording: its first word says so, its second which one.
_MARK = 0x7265636F7264


class Generators:
    """Numbers the generators that a model's code draws from, and notes how their states are set.

    Args:
        note: called with ``"seed"``, ``"save"`` or ``"restore"``, a number, and the generator's number or None
    """

    def __init__(self, note: Callable[..., None]) -> None:
        self.note = note
        self.saved = 0
        self._own: list[tuple[torch.Generator, Tensor]] = []
        self._marks: dict[int, int] = {}

    def number(self, generator: torch.Generator | None) -> int | None:
        """Return the number of a generator of the model's own; note its seed if that is new."""
        if generator is None or generator is torch.default_generator:
            return None
        number = next((i for i, (known, _) in enumerate(self._own) if known is generator), len(self._own))
        if number == len(self._own):
            self._own.append((generator, generator.get_state()))
        if generator.initial_seed() != self._marks.get(number):
            self.note("seed", generator.initial_seed(), number)
            # Another seed than this one tells that the code has set it anew.
            self._marks[number] = mark = _MARK * 1000 + number
            generator.manual_seed(mark)
        return number

    def restore(self) -> None:
        """Give the generators of the model's own the states that they had."""
        for generator, state in self._own:
            generator.set_state(state)


class _DefaultGenerator:
    """Stands for the default generator in :mod:`torch.random` in the thread that records."""

    def __init__(self, real: torch.Generator, generators: Generators) -> None:
        self._real, self._generators, self._thread = real, generators, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def manual_seed(self, seed: int) -> Any:
        if threading.get_ident() != self._thread:
            return self._real.manual_seed(seed)
        self._generators.note("seed", seed)
        return self._real

    def seed(self) -> int:
        if threading.get_ident() != self._thread:
            return self._real.seed()
        number = int.from_bytes(os.urandom(6), "little")
        self._generators.note("seed", number)
        note_outside("random", "torch.seed()")
        return number

    def get_state(self) -> Tensor:
        if threading.get_ident() != self._thread:
            return self._real.get_state()
        self._generators.note("save", self._generators.saved)
        state = torch.zeros(632, dtype=torch.int64, device="cpu")
        state[:2] = torch.tensor([_MARK, self._generators.saved], device="cpu")
        self._generators.saved += 1
        return state.view(torch.uint8)

    def set_state(self, state: Tensor) -> Any:
        words = state.view(torch.int64)[:2].tolist() if state.numel() % 8 == 0 else [0]
        if threading.get_ident() != self._thread or words[0] != _MARK:
            return self._real.set_state(state)
        self._generators.note("restore", words[1])
        return self._real


@contextmanager
def followed(generators: Generators) -> Iterator[None]:
    """Follow what the functions of :mod:`torch.random` do to the default generator in a block."""
    real = torch.random.default_generator
    torch.random.default_generator = _DefaultGenerator(real, generators)  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.random.default_generator = real
        generators.restore()
