"""Parse the arguments, run a command, and turn errors into one line and an exit code."""

import argparse
import io
import os
import platform
import sys
import warnings

import torch

import torchinit
from torchinit.cli import attach, bundle, diff, init, inspect, list as list_, plan, probe, record, report
from torchinit.cli._output import Output
from torchinit.recipes import RecipeError


def _version() -> str:
    python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return f"torchinit {torchinit.__version__}, torch {torch.__version__}, {python}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torchinit",
        description="Weight initialization.",
        # Keep the version in one line.
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (list_, record, diff, plan, init, attach, inspect, probe, report, bundle):
        command.add(commands)
    return parser


def _run(arguments: argparse.Namespace, output: Output) -> int:
    code = 0
    try:
        code = arguments.run(arguments, output) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe; discard what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, RuntimeError, RecipeError) as error:
        output.error(error)
        return int(getattr(arguments, "failed", 1))
    except KeyboardInterrupt:
        # A shell's exit code for a program that SIGINT ended.
        return 130
    return code


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the arguments after the program's name; None for those of ``sys.argv``

    Returns:
        0, or 1 if the input is at fault; a wrong usage exits with 2 by ``SystemExit``. ``diff`` returns 1 if the models
        differ, ``inspect --check`` if a parameter is marked, and both return 2 for any error
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Escape what the encoding lacks, as stderr does.
        sys.stdout.reconfigure(errors="backslashreplace")
    parsed = _parser().parse_args(arguments)
    output = Output(parsed)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = output.warning  # type: ignore[assignment]
        return _run(parsed, output)
