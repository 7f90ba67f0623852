"""The command line, ``torchinit`` or ``python -m torchinit``: a file for each command."""

from torchinit.cli._main import main

__all__ = ["main"]
