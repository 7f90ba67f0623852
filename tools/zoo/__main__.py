"""Records the models of transformers and timm, compares, and writes a page: `make zoo`."""

import argparse
import json
import multiprocessing
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tools.files import write_whole
from tools.zoo.check import MOST_ELEMENTS, Result
from tools.zoo.page import page
from tools.zoo.work import LIBRARIES, run


def _results(work: list[tuple[str, str]], jobs: int) -> Iterator[Result]:
    # Spawned, because a fork of a process that has used torch may hang.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run, work, chunksize=1)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.zoo", description=__doc__)
    parser.add_argument("--only", choices=sorted(LIBRARIES), help="the models of one library")
    parser.add_argument("--names", default="", help="regular expression for the names")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    parser.add_argument("--page", type=Path, help="write the page to this file")
    options = parser.parse_args(arguments)
    libraries = [options.only] if options.only else list(LIBRARIES)
    work = [(key, name) for key in libraries for name in LIBRARIES[key].names() if re.search(options.names, name)]
    results = []
    for result in _results(work, options.jobs):
        results.append(result)
        verdict = (
            result.error or result.own_error or (f"equal at {result.compared:,}" if result.compared else "recorded")
        )
        print(f"{result.library}:{result.name}  {result.seconds:.1f} s  {verdict}", flush=True)
    if options.json:
        write_whole(options.json, json.dumps([asdict(result) for result in results], indent=1) + "\n")
    if options.page:
        write_whole(options.page, page(results, MOST_ELEMENTS))
    failed = [result for result in results if result.error]
    print(f"{len(results)} models, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
