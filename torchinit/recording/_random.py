"""Follows the generators of a model's code: seeds that it sets, and states that it saves and restores.

No generator is drawn from while a model is recorded, so the default generator keeps its state, and other threads draw
from it as before.
"""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchinit._core.compat import no_dispatch_modes
from torchinit.recording._program import RecordError

# Marks the state that ``torch.get_rng_state()`` returns while recording: its first word says so, its second which one.
# The seeds from a thousand times this on mark the generators of the model's own.
_MARK = 0x7265636F7264


class Generators:
    """Numbers the generators that a model's code draws from, and notes how their states are set.

    Args:
        note: called with ``"seed"``, ``"save"`` or ``"restore"``, a number, and the generator's number or None
        place: returns the line of the user's code
        note_outside: called with ``"random"`` and a function that seeds the default generator by chance
    """

    def __init__(
        self, note: Callable[..., None], place: Callable[[], str], note_outside: Callable[[str, str], None]
    ) -> None:
        self.note, self.place, self.note_outside = note, place, note_outside
        self.saved = 0
        self._own: list[tuple[torch.Generator, Tensor]] = []
        # The seed by which each was last marked, and the next one.
        self._marks: dict[int, int] = {}
        self._next = _MARK * 1000

    def number(self, generator: torch.Generator | None) -> int | None:
        """Return the number of a generator of the model's own that draws; note its seed if that is new.

        Raises:
            RecordError: if the generator is not as a seed left it
        """
        if generator is None or generator is torch.default_generator:
            return None
        number = next((i for i, (known, _) in enumerate(self._own) if known is generator), len(self._own))
        seed = generator.initial_seed()
        if seed != self._marks.get(number):
            if seed >= _MARK * 1000 or not _is_fresh(generator):
                raise RecordError(
                    "a generator of the model's own must be seeded in the recorded code and draw there alone, got one"
                    f" in another state at {self.place()}; call its manual_seed() first"
                )
            self.note("seed", seed, number)
        if number == len(self._own):
            self._own.append((generator, generator.get_state()))
        # A seed other than this one tells that the code has set the state since.
        self._marks[number] = self._next
        generator.manual_seed(self._next)
        self._next += 1
        return number

    def manual_seed(self, seed: int) -> torch.Generator:
        """Note that the default generator is seeded."""
        self.note("seed", seed)
        return torch.default_generator

    def seed(self) -> int:
        """Note that the default generator is seeded by chance."""
        seed = int.from_bytes(os.urandom(6), "little")
        self.note("seed", seed)
        self.note_outside("random", "torch.seed()")
        return seed

    def get_state(self) -> Tensor:
        """Return what stands for the state of the default generator."""
        self.note("save", self.saved)
        state = torch.zeros(632, dtype=torch.int64, device="cpu")
        state[:2] = torch.tensor([_MARK, self.saved], device="cpu")
        self.saved += 1
        return state.view(torch.uint8)

    def set_state(self, state: Tensor) -> torch.Generator:
        """Note that the default generator gets a state that the code has saved."""
        words = state.view(torch.int64)[:2].tolist() if state.numel() % 8 == 0 else [0]
        if words[0] != _MARK:
            raise RecordError(
                "the recorded code may only restore a state of the default generator that it has saved, got another at"
                f" {self.place()}; call torch.manual_seed()"
            )
        self.note("restore", words[1])
        return torch.default_generator

    def restore(self) -> None:
        """Give the generators of the model's own the states that they had."""
        for generator, state in self._own:
            generator.set_state(state)


def _is_fresh(generator: torch.Generator) -> bool:
    """True if a generator has drawn nothing since its seed was set."""
    fresh = torch.Generator(generator.device).manual_seed(generator.initial_seed())
    with no_dispatch_modes():
        return torch.equal(fresh.get_state(), generator.get_state())


class DefaultGenerator:
    """Stands for the default generator in :mod:`torch.random`, and follows it in the threads that record.

    Args:
        real: the default generator
        current: returns the generators of the recording that runs in this thread, or None
    """

    def __init__(self, real: torch.Generator, current: Callable[[], Generators | None]) -> None:
        self._real, self._current = real, current

    def __getattr__(self, name: str) -> Any:
        generators = self._current()
        return getattr(self._real if generators is None or name not in _FOLLOWED else generators, name)


# The methods of a default generator that are followed.
_FOLLOWED = ("manual_seed", "seed", "get_state", "set_state")
