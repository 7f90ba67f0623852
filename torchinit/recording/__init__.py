"""Records how a model's own code initializes it, and does the same again, anywhere."""

# A recording is a `_program.Program`: the operators that ran while the model was built under fake tensors, in order,
# with a strided view of a numbered storage in place of each tensor, and which of these views each parameter and buffer is.
# Read `_program` first, and `_regions`, which says where a view lies in another. Each line below can be read alone;
# its files stand in the order in which to read them.
#
# - **Record**: `_record` runs the model's code, and `_tape` sees its operators. `_invocation` is one operator with
#   its arguments, `_frames` finds the line of code and the initializer that called it, `_storages` knows which values
#   may be read, `_functions` watches what runs no operator, `_random` follows torch's generators, and `_outside`
#   notes numpy, Python's generators and files.
# - **Fill a model** in the recorded order: `_replay` runs operators on real memory, `_targets` pairs them with a
#   model's tensors, `_skeleton` makes the model for `Recording.build`.
# - **Fill it from a key**: `_keyed_program` finds the steps that each tensor needs, where `_keyed_draws` turns random
#   operators into keyed draws. `_keyed` runs the steps, and `_keyed_pieces` computes what a rank owns alone.
# - **Attach it to TorchScript**: `_attach` defines the methods, `_lowering` makes rows of numbers of the steps,
#   `_script_lines` writes each kind of row as TorchScript, and `_scripted` has the functions that these lines call.
# - **Describe it**: `_values` follows what each tensor holds, `_words` says it, `_describe` makes the
#   table and the JSON, `_diff` compares two recordings. `torchinit.diagnostics` reads these values too.
# - **Make a recipe of it**: `_recipe` says each tensor as initializers of torchinit, `_rules` finds few rules for them.
# - **Audit it**: `_audit` joins `_audit_memory` (tensors that nothing fills), `_audit_calls` (laws and fans) and
#   `_audit_draws` (wasted, copied and foreign draws); `_findings` is what they return.
# - **Save it**: `_file` is the file, `_encode` and `_decode` its content, `_operators` what it may hold.
#
# `_recording` is the class that users have, with a method for each line.

from torchinit.recording._diff import Difference, Differences, diff
from torchinit.recording._file import load
from torchinit.recording._findings import Finding, Findings
from torchinit.recording._program import Outside, RecordError
from torchinit.recording._record import record
from torchinit.recording._recording import Recording

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
