"""``record``: show how a model's own code initializes it, and save that."""

import argparse
from pathlib import Path

from torchinit.cli._models import recording_of
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_output, save
from torchinit.recording import Recording


def _save(recording: Recording, path: str, force: bool) -> None:
    """Write a recording, or its recipe if the suffix says so."""
    if Path(path).suffix.lower() == ".toml":
        save(path, recording.recipe().to_toml().encode(), force)
    else:
        recording.save(path, overwrite=force)


def run(arguments: argparse.Namespace, output: Output) -> None:
    if arguments.output is not None:
        check_output(arguments.output, arguments.force)
    with output.progress(1) as progress:
        progress.step("recording", arguments.model)
        recording = recording_of(arguments.model, dict(arguments.values))
    if arguments.output is not None:
        _save(recording, arguments.output, arguments.force)
        output.written(arguments.output)
    output.show(recording.audit() if arguments.audit else recording)
