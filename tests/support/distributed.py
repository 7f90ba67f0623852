"""Runs a function on several ranks of a gloo group, one process each, and reports the rank that fails."""

import os
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.distributed as dist

from tests.support.forked import CONTEXT

# Long enough for a busy machine: only a rank that hangs times out.
TIMEOUT = 900.0


def _rank(rank: int, size: int, folder: str, function: Callable[[int], Any], result: Connection) -> None:
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=TIMEOUT),
        )
        result.send((True, function(rank)))
    except BaseException:
        result.send((False, traceback.format_exc()))
    # NB: skip destroy_process_group, which would wait for a dead peer.
    os._exit(0)


def on_ranks(size: int, function: Callable[[int], Any], timeout: float = TIMEOUT) -> list[Any]:
    """Call an importable function on each rank and return the results, which must pickle and hold no tensor."""
    with tempfile.TemporaryDirectory() as folder:
        processes, pipes = [], {}
        for rank in range(size):
            receiver, sender = CONTEXT.Pipe(duplex=False)
            process = CONTEXT.Process(target=_rank, args=(rank, size, folder, function, sender))
            process.start()
            sender.close()
            processes.append(process)
            pipes[receiver] = rank
        try:
            return _results(processes, pipes, time.monotonic() + timeout)
        finally:
            for process in processes:
                process.kill()
                process.join()


def _results(processes: list[Any], pipes: dict[Any, int], end: float) -> list[Any]:
    """Receive a result from each rank. Raise at the first failure, since other ranks may wait for it forever."""
    results: dict[int, Any] = {}
    lost: list[str] = []
    while len(results) < len(processes):
        ready = wait([pipe for pipe in pipes if pipes[pipe] not in results], max(0.0, end - time.monotonic()))
        if not ready:
            running = sorted(set(pipes.values()) - set(results))
            raise AssertionError("\n".join(f"rank {rank} was still running" for rank in running))
        for pipe in ready:
            rank = pipes[pipe]
            try:
                good, results[rank] = pipe.recv()
            except EOFError:
                processes[rank].join()
                raise AssertionError(f"rank {rank} died, exit code {processes[rank].exitcode}") from None
            trouble = f"rank {rank} raised\n{results[rank]}"
            if not good and "Connection" not in results[rank]:
                raise AssertionError(trouble)
            # A rank that has lost its connection tells of another one that died, whose pipe may end later.
            lost += [] if good else [trouble]
    if lost:
        raise AssertionError(lost[0])
    return [results[rank] for rank in range(len(processes))]
