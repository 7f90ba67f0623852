"""The calls of keyed initializers, made from the records of their siblings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tests.support.record import Record, Refusal
from tests.support.records import RECORDS, call_id
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

    def weight_shape(self, *size: int) -> tuple[int, ...]:
        """Return the shape of a weight of this size, with the record's kernel."""
        return size[: len(self.shape)] + self.shape[2:]

    def piece(self) -> dict[str, Any]:
        """Return the full size and offset of a piece with up to 45 rows and 18 columns; every call accepts them."""
        kernel = list(self.shape[2:])
        return {"full_size": [48, 20, *kernel], "offset": [3, 2, *[0] * len(kernel)]}

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """True if the initializer accepts the shape."""
        return self.record.accepts(shape, self.arguments)

    @property
    def continuous(self) -> bool:
        """True if values go through a logarithm or a decomposition, whose last bits may differ."""
        return "uniform" not in self.name or "log_uniform" in self.name

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
