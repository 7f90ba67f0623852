"""Run every check and measurement of torchinit on a GPU; write a JSON and a page of tables.

Nothing is installed: run it in a checkout, with any torch that sees the GPU, and pytest.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from tools.files import write_whole
from tools.gpu.goals import goals
from tools.gpu.page import page
from tools.gpu.process import Worker
from tools.gpu.sections import Settings
from tools.gpu.worker import SHARES

# The last seconds are for a section that ends late: it is stopped after this many more than its time.
_RESERVE, _GRACE = 0.05, 20.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cpu tries the command itself (default: cuda)")
    parser.add_argument("--json", type=Path, default=Path("docs/gpu.json"), help="default: docs/gpu.json")
    parser.add_argument("--table", type=Path, default=Path("docs/gpu.md"), help="default: docs/gpu.md")
    parser.add_argument("--force", action="store_true", help="overwrite these files")
    parser.add_argument("--quick", action="store_true", help="a quarter of the time, and no size beyond 4096")
    parser.add_argument("--minutes", type=float, help="time for all (default: 6, or 1.5 if quick)")
    parser.add_argument("--only", default=",".join(SHARES), help=f"sections (default: {','.join(SHARES)})")
    # For the tests of this command.
    parser.add_argument("--sides", type=lambda text: tuple(map(int, text.split(","))), help=argparse.SUPPRESS)
    parser.add_argument("--models", type=lambda text: tuple(text.split(",")), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--select", default="", help=argparse.SUPPRESS)
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    quick = options.quick
    return Settings(
        device=options.device,
        sides=options.sides or ((4096,) if quick else (4096, 16384)),
        models=options.models or (("Llama-1B",) if quick else ("Llama-1B", "Llama-8B")),
        seconds=options.seconds or (0.1 if quick else 0.3),
        select=options.select,
    )


def run(worker: Any, names: list[str], seconds: float, save: Any) -> list[dict[str, Any]]:
    """Run sections one after the other; save what is found after each.

    Args:
        worker: runs a section
        names: the sections
        seconds: time for all
        save: writes the machine and the sections so far

    Returns:
        the sections, with their rows; the first describes the machine
    """
    begin, found = time.monotonic(), list[dict[str, Any]]()
    shares = {"machine": 20, **{name: SHARES[name] for name in names}}
    for name in shares:
        left = seconds - (time.monotonic() - begin)
        if left < 1.0:
            found.append(
                {"name": name, "seconds": 0.0, "cut": "no time was left", "error": "", "failed": 0, "rows": []}
            )
            save(found)
            continue
        weight = shares[name] / sum(
            share for other, share in shares.items() if other not in {row["name"] for row in found}
        )
        most = max(0.0, left * (1 - _RESERVE)) * weight
        sys.stderr.write(f"{name}: {most:.0f} s at most\n")
        # The first section also imports torch, for which nothing could go instead.
        found.append(worker.run(name, most, left if name == "machine" else min(left, most + _GRACE)))
        save(found)
    return found


def failed(sections: list[dict[str, Any]]) -> bool:
    """True if a check failed, or a section raised or crashed."""
    return any(section["failed"] or section["error"] for section in sections)


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    names = [name for name in options.only.split(",") if name]
    for name in names:
        if name not in SHARES:
            parser.error(f"--only must name sections among {', '.join(SHARES)}, got {name}")
    for path in (options.json, options.table):
        if path.exists() and not options.force:
            parser.error(f"an existing file is overwritten only with --force, got {path}")
    begin, worker = time.monotonic(), Worker(_settings(options))
    seconds = 60 * (options.minutes or (1.5 if options.quick else 6.0))

    def save(sections: list[dict[str, Any]]) -> None:
        found = {
            "command": " ".join(["python -m tools.gpu", *(sys.argv[1:] if arguments is None else arguments)]),
            "machine": (sections[0]["rows"] or [{}])[0],
            "seconds": time.monotonic() - begin,
            "goals": goals(sections),
            "sections": sections,
        }
        write_whole(options.json, json.dumps(found, indent=1) + "\n")
        write_whole(options.table, page(found))

    try:
        sections = run(worker, names, seconds, save)
    finally:
        worker.stop()
    sys.stdout.write(options.table.read_text())
    return 1 if failed(sections) else 0


if __name__ == "__main__":
    sys.exit(main())
