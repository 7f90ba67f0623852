"""Runs a function on several ranks of a gloo group, each a process, and says which rank failed and how."""

import os
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _rank(rank: int, size: int, folder: str, function: Callable[[int], Any]) -> None:
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=60),
        )
        outcome = (True, function(rank))
    except BaseException:
        outcome = (False, traceback.format_exc())
    part = Path(folder, f"{rank}.part")
    part.write_bytes(pickle.dumps(outcome))
    part.rename(Path(folder, f"{rank}.done"))
    # NB: no orderly end; the group would wait for a peer that is gone.
    os._exit(0)


def _report(folder: str, rank: int, process: Any) -> tuple[bool, Any]:
    """Return what a rank that has ended left behind: whether it went well, and its result or its trouble."""
    done = Path(folder, f"{rank}.done")
    if not done.exists():
        return False, f"rank {rank} died, exit code {process.exitcode}"
    good, value = pickle.loads(done.read_bytes())
    return good, value if good else f"rank {rank} raised\n{value}"


def on_ranks(size: int, function: Callable[[int], Any], timeout: float = 150.0) -> list[Any]:
    """Call an importable function on each rank and return the results, which must pickle without a tensor."""
    with tempfile.TemporaryDirectory() as folder:
        context = mp.get_context("spawn")
        ranks = [context.Process(target=_rank, args=(rank, size, folder, function)) for rank in range(size)]
        for process in ranks:
            process.start()
        end = time.monotonic() + timeout
        while any(process.is_alive() for process in ranks) and time.monotonic() < end:
            time.sleep(0.02)
            ended = [rank for rank, process in enumerate(ranks) if not process.is_alive()]
            if not all(_report(folder, rank, ranks[rank])[0] for rank in ended):
                # The others only wait for the failed rank.
                end = min(end, time.monotonic() + 2.0)
        hung = [rank for rank, process in enumerate(ranks) if process.is_alive()]
        for process in ranks:
            process.kill()
            process.join()
        reports = [_report(folder, rank, process) for rank, process in enumerate(ranks) if rank not in hung]
        troubles = [value for good, value in reports if not good] + [f"rank {rank} was still running" for rank in hung]
        if troubles:
            raise AssertionError("\n".join(troubles))
        return [value for _, value in reports]
