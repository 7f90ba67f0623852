"""``diff``: compare how two models are initialized."""

import argparse

from torchinit import recording
from torchinit.cli._arguments import Commands, add_json, add_table
from torchinit.cli._models import MODEL, recording_of_words
from torchinit.cli._output import Output


def _run(arguments: argparse.Namespace, output: Output) -> int:
    with output.progress(2) as progress:
        pair = []
        for model in (arguments.a, arguments.b):
            progress.step("record", model)
            pair.append(recording_of_words(model))
    found = recording.diff(*pair)
    output.show(found)
    return int(bool(found))


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "diff",
        help="compare how two models are initialized",
        description="Compare two recordings: of two versions of a library, by files, or of two configurations. The exit"
        " code is 0 if they are equal, 1 if they differ, and 2 if there is an error.",
    )
    for name in ("a", "b"):
        parser.add_argument(
            name, metavar=name.upper(), help=f"{MODEL}; with arguments in one word, 'hf:gpt2 n_layer=2'"
        )
    add_table(parser)
    add_json(parser)
    parser.set_defaults(run=_run, failed=2)
