"""The command line, ``python -m torchinit``."""

import argparse
import os
import sys
import warnings
from typing import Any

from torchinit.recipes import RecipeError


def _bundle(arguments: argparse.Namespace) -> None:
    from torchinit.deploy import write_package

    for path in write_package(arguments.directory, force=arguments.force):
        print(path)


def _parser() -> argparse.ArgumentParser:
    from torchinit.commands import _inspect, _probe, _recipes

    parser = argparse.ArgumentParser(prog="torchinit", description="Weight initialization.")
    commands = parser.add_subparsers(dest="command", required=True)
    _recipes.add(commands)
    _inspect.add(commands)
    _probe.add(commands)
    bundle = commands.add_parser(
        "bundle",
        help="write what a C++ or mobile program needs, for the torch that is installed",
        description="Write torchinit.pt, torchinit.ptl, include/torchinit/init.h, torchinitConfig.cmake and an example"
        " into DIR, for the torch that is installed, and print their paths.",
    )
    bundle.add_argument("directory", metavar="DIR", help="where to write; made if it is not there")
    bundle.add_argument("--force", action="store_true", help="overwrite files that are there already")
    bundle.set_defaults(run=_bundle)
    return parser


def _show_warning(message: Any, *_: Any) -> None:
    sys.stderr.write(f"torchinit: warning: {str(message).splitlines()[0]}\n")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 0, or 1 if the input is at fault (argparse itself exits with 2)."""
    parsed = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            parsed.run(parsed)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read the output has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (OSError, RuntimeError, RecipeError) as error:
            sys.stderr.write(f"torchinit: {(str(error) or type(error).__name__).splitlines()[0]}\n")
            return 1
    return 0
