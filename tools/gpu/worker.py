"""The process that touches the GPU. It runs the sections that it is told, so that a crash loses only one."""

import os
import platform
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from typing import Any

import torch

from tools.gpu.sections import Findings, Row, Settings

# Sections, in the order of the run, each with its share of the time. Time that one leaves goes to the later ones.
SHARES = {
    "parity": 25,
    "bandwidth": 25,
    "functions": 60,
    "models": 30,
    "distances": 15,
    "kernels": 20,
    "graphs": 10,
    "costs": 20,
    "keyed": 35,
    "recording": 10,
    "draws": 30,
    "compiled": 45,
    "dtensor": 10,
    "scripted": 25,
}


def machine(settings: Settings) -> Row:
    """Describe the machine and what is installed on it."""
    import torchinit

    found: Row = {
        "torch": torch.__version__,
        "torchinit": torchinit.__version__,
        "python": platform.python_version(),
        "triton": _triton(),
        "cores": os.cpu_count(),
        "card": "no GPU",
    }
    if settings.device != "cpu":
        card = torch.cuda.get_device_properties(settings.device)
        found["card"] = card.name
        found["memory"] = card.total_memory
        found["multiprocessors"] = card.multi_processor_count
        found["capability"] = f"{card.major}.{card.minor}"
        found["cuda"] = torch.version.cuda
        found["driver"] = _driver()
    return found


def _triton() -> str:
    try:
        return version("triton")
    except PackageNotFoundError:
        return "none"


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.strip().partition("\n")[0]


def run_section(name: str, settings: Settings, seconds: float, send: Callable[[Row], None]) -> Row:
    """Run a section; send its rows as they come, and return how it ended."""
    begin = time.monotonic()
    findings, error = Findings(begin + seconds, send), ""
    try:
        if name == "machine":
            findings.add(**machine(settings))
        else:
            _section(name)(settings, findings)
        if settings.device != "cpu":
            torch.cuda.synchronize()
    except Exception:
        error = traceback.format_exc()
    return {
        "name": name,
        "seconds": time.monotonic() - begin,
        "cut": "; ".join(findings.cut),
        "error": error,
        "failed": findings.failed,
    }


def _section(name: str) -> Callable[[Settings, Findings], None]:
    # Imported late: the tests read the device as they are imported.
    from tools.gpu import checks, measures

    if name in checks.TESTS:
        return lambda settings, findings: checks.run_tests(name, settings, findings)
    section: Callable[[Settings, Findings], None] = getattr(measures, name)
    return section


def _is_usable(settings: Settings) -> bool:
    """False once a kernel has failed: then every call of this process fails."""
    try:
        return settings.device == "cpu" or int(torch.ones(3, device=settings.device).sum()) == 3
    except RuntimeError:
        return False


def serve(connection: Connection, settings: Settings) -> None:
    """Answer each (section, seconds) with its rows, and then with how it ended."""
    os.environ["TORCHINIT_DEVICE"] = settings.device
    # The profiler that measures a CPU's memory writes a line at each start.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    warnings.simplefilter("ignore")

    def send(row: Any) -> None:
        connection.send({"row": row})

    while True:
        try:
            name, seconds = connection.recv()
        except EOFError:
            return
        ended = run_section(name, settings, seconds, send)
        usable = _is_usable(settings)
        connection.send({**ended, "usable": usable})
        if not usable:
            sys.exit(1)
