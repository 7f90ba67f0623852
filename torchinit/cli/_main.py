"""Parse the arguments and run a command."""

import argparse
import io
import os
import sys
import warnings
from importlib import import_module

from torchinit.cli._arguments import model_argument
from torchinit.cli._output import Output
from torchinit.cli._parser import make_parser


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:
        # The shell asks for completions; this does not return.
        import argcomplete

        argcomplete.autocomplete(parser)
    parsed, rest = parser.parse_known_args(arguments)
    if rest:
        _take_values(parsed, rest)
    return parsed


def _take_values(parsed: argparse.Namespace, words: list[str]) -> None:
    """Add ``NAME=VALUE`` words that stand after an option, where argparse does not expect any more."""
    if not hasattr(parsed, "values") or any(word.startswith("-") for word in words):
        parsed.usage_error(f"unrecognized arguments: {' '.join(words)}")
    try:
        parsed.values = [*parsed.values, *map(model_argument, words)]
    except argparse.ArgumentTypeError as error:
        parsed.usage_error(f"argument NAME=VALUE: {error}")


def _run(parsed: argparse.Namespace) -> int:
    output = Output(parsed)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        # NB: torch warns of it when it is first imported; no command needs NumPy.
        warnings.filterwarnings("ignore", "Failed to initialize NumPy")
        warnings.showwarning = output.warning  # type: ignore[assignment]
        if "torch" not in sys.modules:
            # Read when torch is imported. Its C++ code warns in lines that name its source files.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        # Imported only now, because torch takes seconds.
        return int(import_module("torchinit.cli._run").run(parsed, output))


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
    try:
        return _run(_parsed(arguments))
    except KeyboardInterrupt:
        # A shell's exit code for a program that SIGINT ended.
        return 130
