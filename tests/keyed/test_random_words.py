"""Does tools.random_words write the words of the given keys until the reader closes the pipe?"""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.philox_reference import philox
from tools.random_words import __main__ as random_words
from tools.random_words.__main__ import main
from torchinit import keyed

# Random123's known answer for a zero counter and key.
KNOWN = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
ROOT = Path(__file__).parents[2]

Capture = pytest.CaptureFixture[bytes]


def _written_words(capture: Capture, *arguments: str) -> list[int]:
    assert main(list(arguments)) == 0
    written = capture.readouterr()
    assert written.err == b""
    return np.frombuffer(written.out, "<u4").tolist()


def _stream_words(key: torch.Tensor, count: int) -> list[int]:
    blocks = (philox(key, block) for block in range(count // 4 + 1))
    return list(itertools.chain.from_iterable(blocks))[:count]


@pytest.mark.parametrize("count", [0, 1, 4, 7, 300_001])
def test_the_first_words_are_the_known_ones_and_as_many_as_asked_for(count: int, capsysbinary: Capture) -> None:
    # The last count is more than one batch of the tool.
    words = _written_words(capsysbinary, "--words", str(count))
    assert len(words) == count
    assert words[:4] == KNOWN[:count]
    assert words == _stream_words(keyed.key(0), count)


def test_a_name_is_folded_into_the_seeds_key(capsysbinary: Capture) -> None:
    key = keyed.fold_in(keyed.key(7), "layers.0.weight")
    assert _written_words(capsysbinary, "--seed", "7", "--name", "layers.0.weight", "--words", "9") == _stream_words(
        key, 9
    )


def test_interleaved_keys_give_a_word_each_in_turn(capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = _written_words(capsysbinary, "--seed", "5", "--interleave", "3", "--words", "29")
    for i in range(3):
        assert seeds[i::3] == _stream_words(keyed.key(5 + i), len(seeds[i::3]))
    # More keys than blocks in one batch of the tool.
    monkeypatch.setattr(random_words, "_BLOCKS", 64)
    names = _written_words(capsysbinary, "--seed", "5", "--interleave", "66", "--name", "a.{}.b", "--words", "462")
    for i in range(66):
        assert names[i::66] == _stream_words(keyed.fold_in(keyed.key(5), f"a.{i}.b"), 7)


def test_seeds_wrap_from_the_greatest_to_0(capsysbinary: Capture) -> None:
    assert (
        _written_words(capsysbinary, "--seed", str(2**64 - 1), "--interleave", "2", "--words", "4")[1::2] == KNOWN[:2]
    )


@pytest.mark.slow
def test_a_closed_pipe_ends_it_quietly() -> None:
    command = [sys.executable, "-m", "tools.random_words", "--interleave", "40"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert len(process.stdout.read(1 << 20)) == 1 << 20
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=900) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--words", "-1"), "--words must not be negative, got -1"),
        (("--interleave", "0"), "--interleave must be at least 1, got 0"),
        (("--interleave", "2", "--name", "a"), "--name must have a {} for the number of the key, got 'a'"),
        (("--seed", str(2**64)), f"seed must be in [-2**63, 2**64 - 1], got {2**64}"),
        (("--seed", "x"), "argument --seed: invalid int value: 'x'"),
        (("--word", "3"), "unrecognized arguments: --word 3"),
    ],
    ids=str,
)
def test_an_error_is_one_line(arguments: tuple[str, ...], message: str, capsysbinary: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    written = capsysbinary.readouterr()
    assert (caught.value.code, written.out) == (2, b"")
    assert written.err.decode().splitlines() == [f"random_words: {message}"]
