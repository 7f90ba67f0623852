"""Processes forked from one that has imported torch, which saves seconds each."""

import multiprocessing
import os
import runpy
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["pytest", "torch", "torch.distributed.tensor.parallel", "torch.distributed.fsdp", "torch._dynamo", "torchinit"]
)


def _run(script: Path, folder: Path, output: Path) -> None:
    os.chdir(folder)
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    runpy.run_path(str(script), run_name="__main__")


def run_script(script: Path, folder: Path) -> tuple[int | None, str]:
    """Run a Python file in a new process in a folder; return its exit code and output."""
    output = folder / "output.txt"
    process = CONTEXT.Process(target=_run, args=(script, folder, output))
    process.start()
    process.join()
    return process.exitcode, output.read_text()
