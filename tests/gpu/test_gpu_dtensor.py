"""Does a DTensor on a mesh of one GPU get the values of a plain tensor?"""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.support.gpu import DEVICE, ON_GPU, blank
from tests.support.keyed_records import CALLS, ROWS, KeyedCall
from tests.support.record import Record
from tests.support.records import RECORDS, call_id
from torchinit import keyed

KEY = keyed.key(3)
DRAWING = [record for record in RECORDS if record.takes_generator and record.name == record.current_name]
# Each rank draws the whole.
WHOLE = ("orthogonal_", "block_orthogonal_", "delta_orthogonal_", "sparse_", "icnr_")
FIRST_CALLS = [next(call for call in CALLS if call.name == name) for name in ROWS]


@pytest.fixture(scope="module")
def mesh() -> Iterator[Any]:
    from torch.distributed.device_mesh import init_device_mesh

    # One rank needs no network.
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    backend = "nccl" if ON_GPU else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=timedelta(seconds=60))
    yield init_device_mesh(DEVICE, (1,))
    dist.destroy_process_group()


def _sharded(shape: tuple[int, ...], mesh: Any) -> Any:
    from torch.distributed.tensor import Shard, distribute_tensor

    return distribute_tensor(blank(shape), mesh, [Shard(0)])


@pytest.mark.parametrize("record", DRAWING, ids=call_id)
def test_seeded_values_are_those_of_a_plain_tensor(record: Record, mesh: Any) -> None:
    torch.manual_seed(4)
    expected = record.function(blank(record.shape), **record.calls[0])
    sharded = _sharded(record.shape, mesh)
    torch.manual_seed(4)
    record.function(sharded, **record.calls[0])
    local = sharded.to_local()
    assert local.device.type == DEVICE
    assert not local.isnan().any()
    if not ON_GPU or record.name in WHOLE:
        assert torch.equal(local, expected)
    # On a GPU torch draws the others by its own sharded stream: the same distribution, not always the same bits.
    assert float(local.abs().max()) <= 6 * float(expected.abs().max())


@pytest.mark.parametrize("call", FIRST_CALLS, ids=str)
def test_keyed_values_are_those_of_a_plain_tensor(call: KeyedCall, mesh: Any) -> None:
    sharded = _sharded(call.shape, mesh)
    call(sharded, KEY)
    assert torch.equal(sharded.to_local(), call(blank(call.shape), KEY))
