"""Measure torchinit against torch.nn.init in one run: a table, and the same as JSON and as a chart."""

import argparse
import json
import os
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

import torchinit
from tools.bench.cases import Case, cases
from tools.bench.chart import draw
from tools.bench.measure import Timing, import_milliseconds, load, measure
from tools.files import write_whole
from torchinit.cli._progress import Progress

# Relative noise of a measurement on a machine that also does other work.
_NOISE = 0.03
_HEADER = ("function", "shape", "dtype", "theirs ms", "ours ms", "ratio", "least", "theirs MiB", "ours MiB")
_WIDTHS = (38, 16, 10, 22, 22, 8, 11, 11, 9)


def row(case: Case, threads: int, theirs: Timing, ours: Timing) -> dict[str, Any]:
    """Describe a measured case, for JSON."""
    return {
        "function": case.function,
        "shape": case.shape,
        "dtype": case.dtype,
        "against": case.against,
        "threads": threads,
        "theirs": vars(theirs),
        "ours": vars(ours),
        "ratio": theirs.median / ours.median,
        "least": case.least_with(threads),
        "most": case.most,
    }


def _spread(timing: dict[str, float]) -> str:
    return f"{timing['median']:.4g} ({timing['least']:.3g}-{timing['most']:.3g})"


def table(rows: list[dict[str, Any]]) -> str:
    """Format the rows as a table: times are medians with least and greatest, memory is the peak beside the target."""
    lines = [_HEADER]
    for row in rows:
        name = row["function"] + ("" if row["against"] == "torch.nn.init" else f" / {row['against']}")
        ratio = f"{row['ratio']:.2f}" + ("" if row["ratio"] >= row["least"] * (1 - _NOISE) else " *")
        ratio += " w" if row["ours"]["waits"] and not row["theirs"]["waits"] else ""
        memory = [f"{row[side]['extra_bytes'] / 2**20:.1f}" for side in ("theirs", "ours")]
        least = f"{row['least']:.2f}" + (f" of {row['most']:g}" if row["most"] else "")
        cells = (row["shape"], row["dtype"], _spread(row["theirs"]), _spread(row["ours"]), ratio, least)
        lines.append((name, *cells, *memory))
    return "\n".join("".join(f"{cell:<{w}} " for cell, w in zip(line, _WIDTHS, strict=True)).rstrip() for line in lines)


def _threads(text: str) -> list[int]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return sorted({cores if part == "all" else int(part) for part in text.split(",")})


def run(selected: list[Case], threads: list[int], seconds: float) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure each case at each thread count; return the rows, and a line for each case that fails."""
    progress, rows, failed = Progress(len(selected) * len(threads)), list[dict[str, Any]](), list[str]()
    for count in threads:
        torch.set_num_threads(count)
        for case in selected:
            progress.step(f"{count} thread(s):", f"{case.function} {case.shape} {case.dtype}")
            try:
                with load() if case.busy else nullcontext():
                    rows.append(row(case, count, *measure((case.theirs, case.ours), case.targets(), seconds)))
            except RuntimeError as error:
                failed.append(f"{case.function} {case.shape} {case.dtype}: {error}")
    progress.clear()
    return rows, failed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--only", default="", help="only rows whose function and shape contain this text")
    parser.add_argument("--threads", default="1,all", type=_threads, help="thread counts (default: 1,all)")
    parser.add_argument("--seconds", default=1.0, type=float, help="time for each side of a row (default: 1)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--png", type=Path, help="draw them to this file")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    selected = [case for case in cases(options.device) if options.only in f"{case.function} {case.shape}"]
    on_cpu = options.device == "cpu"
    rows, failed = run(selected, options.threads if on_cpu else [1], options.seconds)
    where = f"{max(options.threads)} cores" if on_cpu else torch.cuda.get_device_name(options.device)
    machine = f"torch {torch.__version__}, torchinit {torchinit.__version__}, {where}"
    print(machine)
    if on_cpu:
        print(f"import torchinit after torch: {import_milliseconds():.1f} ms")
    for count in sorted({row["threads"] for row in rows}):
        print(f"\n{count} thread(s); * is short of its least ratio by more than {_NOISE:.0%}; w: only ours waits\n")
        print(table([row for row in rows if row["threads"] == count]))
    if options.json:
        write_whole(options.json, json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    if options.png:
        most = max(row["threads"] for row in rows)
        draw([row for row in rows if row["threads"] == most], machine, options.png)
    for line in failed:
        sys.stderr.write(f"failed: {line}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
