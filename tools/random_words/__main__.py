"""Stream the 32-bit words of a key, or of many keys interleaved, to standard output, forever unless told how many.

The words are little-endian, as dieharder and PractRand read them.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import torch
from torch import Tensor

from torchinit import keyed
from torchinit.keyed._philox import philox_words, stack_words

# Blocks per batch: four int64 words of each fit into a processor's cache.
_BLOCKS = 65536


def keys(seed: int, name: str | None, interleave: int | None) -> Tensor:
    """Make the keys to stream, of shape ``(N, 2)``.

    Args:
        seed: the first key's seed
        name: what to fold into the seed's key; with ``interleave``, ``{}`` in it stands for the number of the key
        interleave: number of keys (default: one); without a name, those of consecutive seeds
    """
    key = keyed.key(seed)
    if interleave is None:
        return (key if name is None else keyed.fold_in(key, name)).unsqueeze(0)
    if interleave < 1:
        raise ValueError(f"--interleave must be at least 1, got {interleave}")
    if name is None:
        # After the greatest 64-bit seed comes 0.
        return torch.stack([keyed.key((seed + i) % 2**64) for i in range(interleave)])
    if "{}" not in name:
        raise ValueError(f"--name must have a {{}} for the number of the key, got {name!r}")
    return torch.stack([keyed.fold_in(key, name.replace("{}", str(i))) for i in range(interleave)])


def batches(bits: Tensor) -> Iterator[Tensor]:
    """Yield the words of all keys without end: the first of each, in the keys' order, the second of each, and so on."""
    count = bits.size(0)
    rows = max(1, _BLOCKS // count)
    # Without a batch dimension the operators are faster.
    bits = bits[0] if count == 1 else bits
    numbers = bits.select(-1, 1) + (torch.arange(rows) if count == 1 else torch.arange(rows).unsqueeze(1))
    while True:
        words = philox_words(bits, numbers)
        lanes = [stack_words(words).select(-1, i) for i in range(4)] if len(words) == 1 else words
        # (rows, 4, keys)
        batch = torch.empty([rows, 4, *numbers.shape[1:]], dtype=torch.int32)
        for i, lane in enumerate(lanes):
            # Keep the low 32 of 64 bits.
            batch.select(1, i).copy_(lane)
        yield batch
        numbers += rows


def write(bits: Tensor, words: int | None) -> None:
    """Write this many words to standard output; None for words without end."""
    for batch in batches(bits):
        taken = batch.flatten()[:words].numpy().astype("<i4", copy=False)
        sys.stdout.buffer.write(taken.data)
        if words is not None:
            words -= len(taken)
            if words == 0:
                sys.stdout.buffer.flush()
                return


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the usage."""
        self.exit(2, f"random_words: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m tools.random_words", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seed", type=int, default=0, help="the key's seed, or that of the first key (default: 0)")
    parser.add_argument(
        "--name",
        help="what to fold into the key, such as layers.0.weight; with --interleave, a {} in it stands for 0 to N - 1",
    )
    parser.add_argument(
        "--interleave",
        type=int,
        metavar="N",
        help="take a word of each of N keys in turn: of consecutive seeds, or of names",
    )
    parser.add_argument("--words", type=int, metavar="COUNT", help="how many words to write (default: without end)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Write the words; return 0, also if the reader closed the pipe (argparse exits with 2 on wrong arguments)."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    try:
        bits = keys(parsed.seed, parsed.name, parsed.interleave)
    except ValueError as error:
        parser.error(str(error))
    if parsed.words is not None and parsed.words < 0:
        parser.error(f"--words must not be negative, got {parsed.words}")
    if sys.stdout.isatty():
        parser.error("standard output must not be a terminal: the words are bytes for a program to read")
    try:
        write(bits, parsed.words)
    except BrokenPipeError:
        # The reader closed the pipe; discard what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        sys.stderr.write(f"random_words: {error}\n")
        return 1
    except KeyboardInterrupt:
        # A shell's exit code for a program that SIGINT ended.
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
