"""Finds fans that are not those of the unit: expert weights and packed projections."""

import re
from collections.abc import Iterator

from torchinit._core.fans import fans
from torchinit._core.registry import INITIALIZERS
from torchinit.recording._findings import FACT, FAULT, Finding, Group, Subject
from torchinit.recording._program import Call, Entry

# Names that models give to the query, key and value projections in one tensor, and to the layers that hold it.
_PACKED = re.compile(r"(^|[._])(in_proj_weight|(w|c_)?qkv(_proj)?|query_key_value|c_attn)([._]|$)", re.IGNORECASE)
# It does so itself.
_ATTENTION = "torch.nn.modules.activation.MultiheadAttention"
# The gates of torch.nn's recurrent layers, each a block of rows.
_GATES = {"torch.nn.modules.rnn.LSTM": 4, "torch.nn.modules.rnn.LSTMCell": 4}
_GATES |= {"torch.nn.modules.rnn.GRU": 3, "torch.nn.modules.rnn.GRUCell": 3}


def wrong_fans(subject: Subject) -> Iterator[Finding]:
    """Find calls that take the fans of another unit than the one that the weight is for."""
    group = Group("fans")
    places = {x.label: x.place for x in subject.live if x.label is not None}
    for number, call in subject.calls():
        if call.function not in INITIALIZERS or not INITIALIZERS[call.function].needs_fans:
            continue
        for entry in subject.entries.get(call.target.storage, ()):
            found = _judged(call, entry) if entry.tied is None and entry.ref == call.target else None
            if found is not None:
                severity, what, right = found
                group.add([entry.name], what, places[number], right, severity)
    yield from group.findings()


def _judged(call: Call, entry: Entry) -> tuple[str, str, str] | None:
    """Say how severe it is, what is wrong with the fans of a call and what would be right, or return None."""
    size = list(call.target.size)
    fan_in, fan_out = fans(size)
    is_convolution = "conv" in f"{entry.name} {entry.module}".lower()
    # A weight of one expert, or of one input, is no stack of matrices.
    if len(size) == 3 and min(size) > 1 and not is_convolution:
        what = (
            f"{call.function}() takes its {size[0]} matrices of {size[1]}x{size[2]} for one convolution,"
            f" with fan_in {fan_in} and fan_out {fan_out}"
        )
        return FAULT, what, f"fill each matrix by itself: for matrix in weight: {call.function}(matrix)"
    parts = _parts(entry)
    if parts and len(size) == 2 and size[0] % parts == 0 and _uses_fan_out(call):
        what = f"{call.function}() takes its {parts} packed matrices for one, with fan_out {fan_out}"
        severity = FACT if entry.module == _ATTENTION else FAULT
        right = f"fill each block of {size[0] // parts} rows by itself, as weight.chunk({parts}) gives them"
        return severity, what, right
    return None


def _parts(entry: Entry) -> int:
    """Return how many matrices a weight packs along its rows; 0 for one."""
    if entry.module in _GATES:
        return _GATES[entry.module]
    size = entry.ref.size
    return 3 if _PACKED.search(entry.name) and len(size) == 2 and size[0] == 3 * size[1] else 0


def _uses_fan_out(call: Call) -> bool:
    return call.function.startswith("xavier") or str(call.args.get("mode", "fan_in")).lower() != "fan_in"
