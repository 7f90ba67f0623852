"""Does a function on a tensor of the CPU write the same values, whatever the default device is?"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.keyed_records import CALLS as KEYED_CALLS
from tests.support.records import RECORDS
from torchinit import keyed

pytestmark = pytest.mark.filterwarnings("ignore:.*is now deprecated:FutureWarning")
DTYPES = [torch.float32, torch.float16, torch.float64, torch.complex64, torch.float8_e4m3fn]


def _outcome(fill: Callable[[Tensor], Any], tensor: Tensor) -> list[int] | str:
    torch.manual_seed(0)
    try:
        fill(tensor)
    except NotImplementedError:
        return "not implemented"
    return tensor.view(torch.uint8).flatten().tolist()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rec", RECORDS, ids=lambda rec: rec.name)
def test_values_do_not_depend_on_the_default_device(rec: Any, dtype: torch.dtype) -> None:
    key = keyed.key(1)
    fills = [lambda tensor, call=call: rec.function(tensor, **call) for call in rec.calls]
    fills += [lambda tensor, call=call: call(tensor, key) for call in KEYED_CALLS if call.name == rec.name]
    for fill in fills:
        tensors = [torch.zeros(rec.shape, dtype=dtype) for _ in range(2)]
        expected = _outcome(fill, tensors[0])
        with torch.device("meta"):
            assert _outcome(fill, tensors[1]) == expected


@pytest.mark.parametrize("rec", RECORDS, ids=lambda rec: rec.name)
def test_values_do_not_depend_on_a_device_set_for_good(rec: Any) -> None:
    tensors = [torch.zeros(rec.shape) for _ in range(2)]
    expected = _outcome(lambda tensor: rec.function(tensor, **rec.calls[0]), tensors[0])
    torch.set_default_device("meta")
    try:
        assert _outcome(lambda tensor: rec.function(tensor, **rec.calls[0]), tensors[1]) == expected
    finally:
        torch.set_default_device(None)


def test_keys_lie_on_the_cpu_whatever_the_default_device() -> None:
    with torch.device("meta"):
        key = keyed.fold_in(keyed.split(keyed.key(1), 2)[1], "a")
    assert torch.equal(key, keyed.fold_in(keyed.split(keyed.key(1), 2)[1], "a"))
