"""Records a model, builds it for real, and compares."""

import re
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

import torchinit
from tests.support.built import built, differing_tensors
from torchinit.recording import Recording

# Models with more elements than this are recorded and not built.
MOST_ELEMENTS = 30_000_000


@dataclass
class Result:
    """What was seen of one model.

    Args:
        library: the library that builds it
        name: its name there
        family: the row of the table that counts it
        tensors: number of parameters and buffers
        elements: number of their elements
        operators: number of recorded operators
        seconds: time to record it
        compared: elements of the model that was built for real, 0 if none was
        own_error: what the model's own code raises also without a recording
        error: what only the recording raises, or how it differs
    """

    library: str
    name: str
    family: str
    tensors: int = 0
    elements: int = 0
    operators: int = 0
    seconds: float = 0.0
    compared: int = 0
    own_error: str = ""
    error: str = ""


def describe(error: BaseException) -> str:
    """Return an error's type and first line."""
    # Not where this checkout is.
    text = re.sub(r"/\S+/", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def elements(recording: Recording) -> int:
    """Return the number of elements of all parameters and buffers."""
    return sum(entry.ref.numel for entry in recording.program.entries if entry.tied is None)


def _fails_alone(build: Callable[[], nn.Module], error: BaseException) -> bool:
    """True if a model's own code raises the same without a recording."""
    try:
        with torch.device("meta"):
            build()
    except Exception as again:
        return describe(again) == describe(error)
    return False


def check(result: Result, build: Callable[[], nn.Module], smaller: Iterable[Callable[[], nn.Module]]) -> Result:
    """Record a model; compare the first of smaller models that can be built.

    Args:
        result: the row to fill in
        build: builds the model
        smaller: build the same model at smaller sizes, the preferred one first
    """
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    try:
        recording = torchinit.record(build)
    except Exception as error:
        own = _fails_alone(build, error)
        result.own_error, result.error = (describe(error), "") if own else ("", describe(error))
        return result
    result.seconds = time.perf_counter() - start
    result.tensors, result.operators = len(recording.program.entries), len(recording.program.operations)
    result.elements = elements(recording)
    for make in smaller:
        if _compare(result, make):
            break
    return result


def _compare(result: Result, build: Callable[[], nn.Module]) -> bool:
    """Compare a model built for real with one built from its recording; return False if it cannot be built."""
    try:
        recording = torchinit.record(build)
    except Exception:
        return False
    if elements(recording) > MOST_ELEMENTS:
        return False
    try:
        expected, state = built(build)
    except Exception:
        return False
    result.compared = elements(recording)
    generator = torch.Generator().manual_seed(0)
    try:
        actual = recording.build(generator=generator)
    except Exception as error:
        result.error = describe(error)
        return True
    wrong = differing_tensors(actual, expected)
    if wrong:
        result.error = f"other bits: {', '.join(wrong[:3])}"
    elif not torch.equal(generator.get_state(), state):
        result.error = "another generator state"
    return True
