"""Records how a model's own code initializes it, and does the same again, anywhere."""

from torchinit.recording._diff import Difference, Differences, diff
from torchinit.recording._record import record
from torchinit.recording._recording import Recording
from torchinit.recording._tape import RecordError

__all__ = ["Difference", "Differences", "RecordError", "Recording", "diff", "record"]
