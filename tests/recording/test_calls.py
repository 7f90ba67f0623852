"""Are the calls of initializers recorded with the arguments that they were given?"""

from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from tests.support.record import Record
from tests.support.records import CALLS, call_id


@pytest.mark.parametrize(("record", "arguments"), [call for call in CALLS if call[0].takes_generator], ids=call_id)
def test_call_is_recorded_with_its_arguments(record: Record, arguments: dict[str, Any]) -> None:
    def build() -> nn.Module:
        model = nn.ParameterList([torch.empty(record.shape)])
        record.function(model[0], **arguments)
        return model

    (call,) = torchinit.record(build).program.calls
    assert call.function == record.current_name
    assert {name: _spelled(call.args[name]) for name in arguments} == {n: _spelled(x) for n, x in arguments.items()}


def _spelled(value: Any) -> Any:
    # Some functions turn the name of a mode into lower case first.
    return value.lower() if isinstance(value, str) else value
