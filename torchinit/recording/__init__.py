"""Records how a model's own code initializes it, and does the same again, anywhere."""

from torchinit.recording._diff import Difference, Differences, diff
from torchinit.recording._file import load
from torchinit.recording._findings import Finding, Findings
from torchinit.recording._outside import Outside
from torchinit.recording._record import record
from torchinit.recording._recording import Recording
from torchinit.recording._storages import RecordError

__all__ = [
    "Difference",
    "Differences",
    "Finding",
    "Findings",
    "Outside",
    "RecordError",
    "Recording",
    "diff",
    "load",
    "record",
]
