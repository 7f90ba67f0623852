"""``bundle``: write what a C++ or mobile program needs, for the torch that is installed."""

import argparse
import os

from torchinit._core.table import printable
from torchinit.cli._arguments import Commands
from torchinit.cli._output import Output
from torchinit.deploy import write_package


def _run(arguments: argparse.Namespace, output: Output) -> None:
    if os.path.exists(arguments.directory) and not os.path.isdir(arguments.directory):
        raise RuntimeError(f"DIR must be a folder to write to, got {printable(arguments.directory)}, a file")
    for path in write_package(arguments.directory, force=arguments.force):
        output.text(str(path))


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "bundle",
        help="write what a C++ or mobile program needs, for the torch that is installed",
        description="Write torchinit.pt, torchinit.ptl, include/torchinit/init.h, torchinitConfig.cmake and an example"
        " into DIR, for the torch that is installed, and print their paths.",
    )
    parser.add_argument("directory", metavar="DIR", help="the folder to write to; created if it does not exist")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.set_defaults(run=_run)
