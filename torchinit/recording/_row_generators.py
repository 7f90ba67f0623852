"""Follows which generator each operator of a method draws from."""

from collections import Counter
from collections.abc import Sequence

from torchinit.recording._phrases import MAKE, SEED
from torchinit.recording._program import Operation, Step
from torchinit.recording._rows import Rows


class Generators:
    """Follows which generator draws; TorchScript cannot save a state, but it can leave a generator alone.

    Number 0 is the caller's. A seed between a save and a restore, as in ``torch.random.fork_rng``, makes another one.
    """

    def __init__(self, steps: Sequence[Step], rows: Rows) -> None:
        self.rows, self.current = rows, 0
        self._own: dict[int, int] = {}
        # How often each saved state is still to be restored.
        self._restored = Counter(x.args[0] for x in steps if isinstance(x, Operation) and x.name == "restore")
        self._saved: dict[int, int] = {}
        self._advanced: set[int] = set()

    def number(self, operation: Operation) -> int:
        """Return the number of the generator that an operator draws from."""
        if operation.generator is not None:
            return self._own[operation.generator]
        self._advanced |= {save for save, number in self._saved.items() if number == self.current}
        return self.current

    def apply(self, operation: Operation) -> None:
        """Seed, save or restore."""
        (value,) = operation.args
        if operation.generator is not None:
            self._own[operation.generator] = self._made(value)
        elif operation.name == "save":
            if self._restored[value]:
                self._saved[value] = self.current
        elif operation.name == "restore":
            self._restore(value, operation.place)
        elif self.current in self._saved.values():
            self.current = self._made(value)
        else:
            self.rows.add(SEED, [_signed(value), self.current])

    def _restore(self, save: int, place: str) -> None:
        self.current = self._saved[save]
        self._restored[save] -= 1
        if not self._restored[save]:
            del self._saved[save]
        if save in self._advanced:
            self._refuse(f"set_rng_state at {place}")

    def finish(self) -> None:
        """Raise if the caller's generator has not the state that the model's code leaves."""
        if self.current:
            self._refuse("a seed that a later get_rng_state keeps")

    def _refuse(self, what: str) -> None:
        raise RuntimeError(
            "an attached method can set a generator back only to a state that it has not drawn from since, got"
            f" {what}; seed after get_rng_state, as within torch.random.fork_rng"
        )

    def _made(self, seed: int) -> int:
        self.rows.generators += 1
        self.rows.add(MAKE, [_signed(seed), self.rows.generators - 1])
        return self.rows.generators - 1


def _signed(seed: int) -> int:
    """Return the signed 64-bit number of the same bits."""
    return (seed + (1 << 63)) % (1 << 64) - (1 << 63)
