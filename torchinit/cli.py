"""The command line, ``python -m torchinit``."""

import argparse
import sys


def _bundle(arguments: argparse.Namespace) -> None:
    from torchinit.deploy import write_package

    for path in write_package(arguments.directory, force=arguments.force):
        print(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m torchinit", description="Weight initialization, deployed.")
    commands = parser.add_subparsers(dest="command", required=True)
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


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 0, or 1 if the input is at fault (argparse itself exits with 2)."""
    parsed = _parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"torchinit: {str(error).splitlines()[0]}\n")
        return 1
    return 0
