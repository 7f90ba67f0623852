"""Shows Philox to tracers and compilers as one operator: its rounds take most of the time to trace a keyed function.

Only for tests of what surrounds the rounds. Those of the rounds themselves are in jit_tests/test_philox.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor

from torchinit.keyed import _fill, _keys
from torchinit.keyed._philox import philox_words, stack_words


@torch.library.custom_op("torchinit_tests::philox_words", mutates_args=())
def _operator(bits: Tensor, number: Tensor) -> list[Tensor]:
    # Without gradients, this runs in eager.
    return [word.clone() for word in stack_words(philox_words(bits, number)).unbind(-1)]


@_operator.register_fake
def _(bits: Tensor, number: Tensor) -> list[Tensor]:
    return [torch.empty_like(number) for _ in range(4)]


@contextmanager
def philox_as_one_operator() -> Iterator[None]:
    """Trace and compile keyed functions inside this context with one operator in place of Philox's rounds."""
    with patch.object(_fill, "philox_words", _operator), patch.object(_keys, "philox_words", _operator):
        yield
