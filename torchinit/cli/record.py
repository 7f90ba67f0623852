"""``record``: show how a model's own code initializes it, and save that."""

import argparse
from pathlib import Path

from torchinit.cli._arguments import Commands, add_json, add_recording_output, add_table, add_values
from torchinit.cli._models import MODEL, recording_of
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_output, save
from torchinit.recording import Recording


def _save(recording: Recording, path: str, force: bool) -> None:
    """Write a recording, or its recipe if the suffix says so."""
    if Path(path).suffix.lower() == ".toml":
        save(path, recording.recipe().to_toml().encode(), force)
    else:
        recording.save(path, overwrite=force)


def _run(arguments: argparse.Namespace, output: Output) -> None:
    if arguments.output is not None:
        check_output(arguments.output, arguments.force)
    with output.progress(1) as progress:
        progress.step("recording", arguments.model)
        recording = recording_of(arguments.model, dict(arguments.values))
    if arguments.output is not None:
        _save(recording, arguments.output, arguments.force)
        output.written(arguments.output)
    output.show(recording.audit() if arguments.audit else recording)


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "record",
        help="show how a model's own code initializes it, and save that",
        description="Run the code that builds a model, without memory for its tensors and without downloads, and show"
        " what fills each parameter and buffer. OUT.init holds all of it, for plan, init and attach; OUT.toml holds the"
        " rules that say the same as a recipe.",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    add_values(parser)
    parser.add_argument("--audit", action="store_true", help="show what the audit finds instead")
    add_table(parser, bad=True)
    add_json(parser)
    add_recording_output(parser)
    parser.set_defaults(run=_run)
