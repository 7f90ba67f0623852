"""The command line, ``python -m torchinit``."""

import argparse
import io
import os
import platform
import sys
import warnings
from typing import Any

import torch

import torchinit
from torchinit._table import first_line
from torchinit.recipes import RecipeError


def _bundle(arguments: argparse.Namespace) -> None:
    from torchinit.deploy import write_package

    for path in write_package(arguments.directory, force=arguments.force):
        print(path)


def _version() -> str:
    python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return f"torchinit {torchinit.__version__}, torch {torch.__version__}, {python}"


def _parser() -> argparse.ArgumentParser:
    from torchinit.commands import _inspect, _probe, _recipes

    parser = argparse.ArgumentParser(
        prog="torchinit",
        description="Weight initialization.",
        # Keeps the version in one line.
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
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


def _say(words: str) -> None:
    sys.stderr.write(f"torchinit: {words}\n")


def _cause(error: Exception) -> str:
    """Say an error in one line, one of the system without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {str(error.filename)!r}"
    return first_line(str(error)) or type(error).__name__


def _show_warning(message: Any, *_: Any) -> None:
    _say(f"warning: {first_line(str(message))}")


def _run(parsed: argparse.Namespace) -> int:
    try:
        parsed.run(parsed)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, RuntimeError, RecipeError) as error:
        _say(_cause(error))
        return 1
    except KeyboardInterrupt:
        # As a shell says of a program that the signal ended.
        return 130
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 0, or 1 if the input is at fault (argparse itself exits with 2)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As stderr does by itself.
        sys.stdout.reconfigure(errors="backslashreplace")
    parsed = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        return _run(parsed)
