"""Write the generated files: ``python -m tools.codegen``; check that they are fresh: ``--check``."""

import argparse
import sys
from pathlib import Path

from tools.codegen import (
    emit_deprecated,
    emit_header,
    emit_keyed_stub,
    emit_stub,
    emit_version,
)
from tools.codegen.model import CodegenError
from tools.codegen.writer import Checker, Writer

ROOT = Path(__file__).resolve().parents[2]

# An emitter is a module with a PATH and a pure ``render(functions) -> str``.
EMITTERS = (emit_deprecated, emit_stub, emit_keyed_stub, emit_header, emit_version)


def generate(writer: Writer) -> None:
    # Imported late, so that a bad entry is an error of this command.
    from tools.codegen.functions import TABLE

    for emitter in EMITTERS:
        writer.put(emitter.PATH, emitter.render(TABLE))


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.codegen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; print what would change and fail")
    check = parser.parse_args(arguments).check
    writer = Checker(root) if check else Writer(root)
    try:
        generate(writer)
    except CodegenError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(writer.messages))
    if writer.failed:
        sys.stdout.write("Generated files are stale; run `python -m tools.codegen`.\n")
    return int(writer.failed)


if __name__ == "__main__":
    sys.exit(main())
