"""Run a command, and turn errors into one line and an exit code."""

import argparse
import os
import sys

from torchinit.cli import attach, bundle, diff, init, inspect, list as list_, plan, probe, record, report
from torchinit.cli._output import Output
from torchinit.recipes import RecipeError

_RUN = {
    "list": list_.run,
    "record": record.run,
    "diff": diff.run,
    "plan": plan.run,
    "init": init.run,
    "attach": attach.run,
    "inspect": inspect.run,
    "probe": probe.run,
    "report": report.run,
    "bundle": bundle.run,
}


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command of parsed arguments.

    Returns:
        the exit code
    """
    code = 0
    try:
        code = _RUN[arguments.command](arguments, output) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe; discard what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, RuntimeError, RecipeError) as error:
        output.error(error)
        return int(getattr(arguments, "failed", 1))
    return code
