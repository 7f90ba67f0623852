"""Times two fills in turn, and measures the memory that each takes beside its targets."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Fill = Callable[[list[Tensor]], object]


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call over several samples, bytes, and whether a call waits for the GPU."""

    median: float
    least: float
    most: float
    extra_bytes: int
    waits: bool


def peak_extra_bytes(fill: Fill, targets: list[Tensor]) -> int:
    """Measure the peak of memory that ``fill`` allocates."""
    if targets[0].is_cuda:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        fill(targets)
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        fill(targets)
    assert profile.profiler is not None
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def _sample(fill: Fill, targets: list[Tensor], calls: int) -> float:
    """Time ``calls`` calls; return milliseconds per call."""
    if targets[0].is_cuda:
        start: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        start.record()
        for _ in range(calls):
            fill(targets)
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / calls
    begin = time.perf_counter()
    for _ in range(calls):
        fill(targets)
    return (time.perf_counter() - begin) * 1e3 / calls


def import_milliseconds() -> float:
    """Time the import of the functions once torch is there: the least of several processes."""
    code = "import time, torch; t = time.perf_counter(); from torchinit import normal_; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    return min(float(run.stdout) for run in runs) * 1e3


@contextmanager
def load() -> Iterator[None]:
    """Keep one core busy by another process, which ends with this one."""
    code = "import os, sys, threading\nthreading.Thread(target=lambda: (sys.stdin.read(), os._exit(0))).start()\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        # It is started, and its core is warm.
        time.sleep(0.5)
        try:
            yield
        finally:
            process.kill()


def waits_for_gpu(fill: Fill, targets: list[Tensor]) -> bool:
    """True if a call after the first one waits for the GPU, as torch's sync debug mode sees it."""
    if not targets[0].is_cuda:
        return False
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        fill(targets)
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return True
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return False


def measure(
    fills: Sequence[Fill], targets: list[Tensor], seconds: float, fewest: int = 7, slow: float = 3e3
) -> list[Timing]:
    """Time fills in turn; a first call of each warms up and is measured for memory.

    Args:
        fills: what to time, side by side
        targets: the tensors that each fills
        seconds: about how long each is timed
        fewest: number of samples of a fill that takes longer than ``seconds`` allow
        slow: milliseconds of a call from which on one sample is enough
    """
    extra = [peak_extra_bytes(fill, targets) for fill in fills]
    waits = [waits_for_gpu(fill, targets) for fill in fills]
    once = [_sample(fill, targets, 1) for fill in fills]
    # A sample lasts 2 ms at least, so that the clock's own cost does not show.
    calls = [max(1, int(2.0 / max(time_once, 1e-4))) for time_once in once]
    # Upstream's sampler takes a random number of passes: several samples, unless one takes many seconds.
    rounds = min(31, max(int(seconds * 1e3 / (once[0] * calls[0])), fewest if once[0] < slow else 0))
    samples = [[_sample(fill, targets, count) for fill, count in zip(fills, calls, strict=True)] for _ in range(rounds)]
    return [
        Timing(statistics.median(times), min(times), max(times), size, waiting)
        for times, size, waiting in zip(zip(*(samples or [once]), strict=True), extra, waits, strict=True)
    ]
