"""``bundle``: write what a C++ or mobile program needs, for the torch that is installed."""

import argparse
import os

from torchinit._core.table import printable
from torchinit.cli._output import Output
from torchinit.deploy import write_package


def run(arguments: argparse.Namespace, output: Output) -> None:
    if os.path.exists(arguments.directory) and not os.path.isdir(arguments.directory):
        raise RuntimeError(f"DIR must be a folder to write to, got {printable(arguments.directory)}, a file")
    paths = write_package(arguments.directory, force=arguments.force)
    for path in paths:
        output.text(str(path))
    output.written(arguments.directory, paths)
