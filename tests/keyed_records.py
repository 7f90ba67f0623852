"""The calls of keyed initializers that the suites make, from the records of their siblings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.records import RECORDS, Record, Refusal, call_id
from tools.codegen.functions import FUNCTIONS
from tools.codegen.keyed import keyed as keyed_rows
from torchinit import keyed

ROWS = {function.name: function for function in keyed_rows(FUNCTIONS)}


@dataclass(frozen=True)
class KeyedCall:
    """One initializer with its arguments, called on a tensor and a key."""

    record: Record
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def function(self) -> Callable[..., Tensor]:
        return getattr(keyed, self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.record.shape

    @property
    def continuous(self) -> bool:
        """Whether values are normal, or go through a logarithm or a decomposition, whose last bits may differ."""
        return "uniform" not in self.name

    def __call__(self, tensor: Tensor, key: Tensor, **piece: Any) -> Tensor:
        return self.function(tensor, key, **self.arguments, **piece)

    def __str__(self) -> str:
        return f"{self.name}-{call_id(self.arguments)}"


CALLS = [
    KeyedCall(record, arguments)
    for record in RECORDS
    if record.name in ROWS
    for arguments in record.calls + record.unmatched
]
REFUSALS: list[tuple[KeyedCall, Refusal]] = [
    (KeyedCall(record, refusal.arguments), refusal)
    for record in RECORDS
    if record.name in ROWS
    for refusal in record.refusals
]


def ulps(values: Tensor, expected: Tensor) -> int:
    """The greatest distance of two tensors, in steps of their dtype."""
    integer = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
    least = torch.iinfo(integer).min

    def ordered(x: Tensor) -> Tensor:
        bits = x.contiguous().view(integer).to(torch.float64 if integer == torch.int64 else torch.int64)
        return torch.where(bits < 0, least - bits, bits)

    return int((ordered(values) - ordered(expected)).abs().max()) if values.numel() else 0
