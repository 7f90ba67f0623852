"""Find the line of the user's code that called torchinit."""

import sys
import warnings
from types import FrameType


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "torchinit"


def caller_location() -> str:
    """Return file and line of the innermost frame outside torchinit."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "torchinit"


def warn_caller(message: str) -> None:
    """Warn with the innermost frame outside torchinit as the place."""
    # NB: warnings has skip_file_prefixes only from Python 3.12 on.
    frame: FrameType | None = sys._getframe()
    level = 1
    while frame is not None and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
