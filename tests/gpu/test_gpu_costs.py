"""Does an initializer wait for the GPU, or take memory there, where ``torch.nn.init`` does not?"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchinit
from tests.support.gpu import DEVICE, ON_GPU, blank, device_generator
from tests.support.keyed_records import CALLS as KEYED_CALLS, KeyedCall
from tests.support.record import Record
from tests.support.records import RECORDS, call_id
from tools.bench.measure import peak_extra_bytes, waits_for_gpu
from torchinit import keyed, recipes

CURRENT = [record for record in RECORDS if record.name == record.current_name]
CALLS = [(record, call) for record in CURRENT for call in record.calls + record.unmatched]
KEY = torch.tensor([42, 2**32 - 3])


def _waits(function: Callable[..., Any], shape: tuple[int, ...], **arguments: Any) -> bool:
    function(blank(shape), **arguments)
    return waits_for_gpu(lambda targets: function(targets[0], **arguments), [blank(shape)])


def _decomposition_waits() -> bool:
    """True if torch's own decomposition waits."""
    return _waits(torch.nn.init.orthogonal_, (64, 48))


@pytest.mark.skipif(not ON_GPU, reason="a CPU is never waited for")
def test_a_wait_is_seen() -> None:
    assert waits_for_gpu(lambda targets: targets[0].sum().item(), [blank((3,))])
    assert not waits_for_gpu(lambda targets: targets[0].zero_(), [blank((3,))])


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_a_call_waits_only_where_upstream_does(record: Record, arguments: dict[str, Any]) -> None:
    if record.upstream:
        allowed = _waits(getattr(torch.nn.init, record.name), record.shape, **arguments)
    else:
        allowed = "orthogonal" in record.name and _decomposition_waits()
    assert allowed or not _waits(record.function, record.shape, **arguments)


@pytest.mark.parametrize("record", [record for record in CURRENT if record.takes_generator], ids=call_id)
def test_a_call_with_a_generator_of_the_device_does_not_wait(record: Record) -> None:
    allowed = "orthogonal" in record.name and _decomposition_waits()
    assert allowed or not _waits(record.function, record.shape, **record.calls[0], generator=device_generator(3))


@pytest.mark.parametrize("call", KEYED_CALLS, ids=str)
def test_a_keyed_call_with_a_key_on_the_device_does_not_wait(call: KeyedCall) -> None:
    allowed = "orthogonal" in call.name and _decomposition_waits()
    for shape in (call.shape, call.weight_shape(180, 60)):
        assert allowed or not _waits(call, shape, key=KEY.to(DEVICE))


def test_recipe_does_not_wait() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Embedding(10, 8, padding_idx=3), nn.LSTM(8, 8))
    model.to(DEVICE)
    key = KEY.to(DEVICE)
    for fill in (
        lambda targets: recipes.torch_default().apply_(model),
        lambda targets: recipes.torch_default().apply_(model, key=key),
        lambda targets: recipes.resnet().plan(model),
    ):
        fill([])
        assert not waits_for_gpu(fill, [model[0].weight])


SIDE = 4096
MIB = 2**20
# A chunk of a tail on a GPU, of 2^22 values of 4 bytes; a Newton step holds six.
TAIL = 6 * 4 * 2**22
# The allocator's blocks are multiples of 512 bytes; 2 MiB at most for a few small ones.
SLACK = 2 * MIB


def _peak(function: Callable[..., Any], shape: tuple[int, ...], dtype: torch.dtype, **arguments: Any) -> int:
    target: Tensor = torch.zeros(shape, dtype=dtype, device=DEVICE)
    return peak_extra_bytes(lambda targets: function(targets[0], **arguments), [target])


@pytest.mark.skipif(not ON_GPU, reason="tests/core/test_memory.py measures a CPU")
@pytest.mark.parametrize("record", [record for record in CURRENT if record.upstream], ids=call_id)
def test_a_call_takes_no_more_memory_than_upstreams(record: Record) -> None:
    if len(record.shape) == 2:
        shape: tuple[int, ...] = (1024, 1024) if record.name in ("orthogonal_", "sparse_") else (SIDE, SIDE)
    else:
        shape = (1024, 1024, 3, 3)
    theirs, ours = (
        _peak(function, shape, torch.float32, **record.calls[0])
        for function in (getattr(torch.nn.init, record.name), record.function)
    )
    # sparse_ holds a block of permutations.
    assert ours <= theirs + SLACK + (6 * MIB if record.name == "sparse_" else 0)


@pytest.mark.skipif(not ON_GPU, reason="tests/core/test_memory.py measures a CPU")
@pytest.mark.parametrize(
    ("dtype", "arguments", "most"),
    [
        (torch.float32, {}, 0),
        (torch.float64, {}, 0),
        # A float32 copy, which is rounded once.
        (torch.bfloat16, {}, 4 * SIDE * SIDE),
        (torch.float32, {"a": 3.0, "b": 10.0}, TAIL),
        (torch.bfloat16, {"a": 3.0, "b": 10.0}, 4 * SIDE * SIDE + TAIL),
    ],
    ids=str,
)
def test_trunc_normal_takes_a_float32_copy_at_most_and_a_few_chunks_in_a_tail(
    dtype: torch.dtype, arguments: dict[str, float], most: int
) -> None:
    assert _peak(torchinit.trunc_normal_, (SIDE, SIDE), dtype, **arguments) <= most + SLACK


@pytest.mark.skipif(not ON_GPU, reason="tests/keyed/test_keyed.py measures a CPU")
@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_", "kaiming_uniform_"])
def test_scratch_of_a_keyed_call_does_not_grow_with_the_tensor(name: str) -> None:
    key = KEY.to(DEVICE)
    small, large = (
        _peak(getattr(keyed, name), shape, torch.float32, key=key) for shape in ((SIDE, SIDE), (4 * SIDE, SIDE))
    )
    assert large <= small + SLACK
    # Some ten tensors of int64 words, of 2^20 blocks of four.
    assert small <= 10 * 8 * 4 * 2**20
