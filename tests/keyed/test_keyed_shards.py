"""Does a key give a sharded tensor the unsharded values, on any mesh, without communication?"""

import copy
import functools
import warnings
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.support.distributed import on_ranks
from tests.support.keyed_records import CALLS, KeyedCall
from tests.support.pairwise import pairwise
from torchinit import keyed, recipes

pytestmark = pytest.mark.slow

KEY = torch.tensor([42, 2**32 - 3])
# Even and uneven shards, fewer rows than ranks, and rows that end within a Philox block.
SHAPES = ((8, 12), (7, 5), (3, 9), (1, 16), (5, 3, 2), (12, 3, 2))


def _placements(size: int) -> dict[str, tuple[tuple[int, ...], tuple[Any, ...]]]:
    """Return meshes with placements, by name."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.placement_types import _StridedShard

    found: dict[str, tuple[tuple[int, ...], tuple[Any, ...]]] = {
        "rows": ((size,), (Shard(0),)),
        "columns": ((size,), (Shard(1),)),
        "last": ((size,), (Shard(-1),)),
        "replicas": ((size,), (Replicate(),)),
    }
    if size == 4:
        found |= {
            "rows and columns": ((2, 2), (Shard(0), Shard(1))),
            "columns and rows": ((2, 2), (Shard(1), Shard(0))),
            "rows twice": ((2, 2), (Shard(0), Shard(0))),
            "columns of replicas": ((2, 2), (Replicate(), Shard(1))),
            "strided": ((2, 2), (_StridedShard(0, split_factor=2), Shard(0))),
            "strided columns": ((2, 2), (_StridedShard(1, split_factor=2), Shard(1))),
        }
    return found


@functools.cache
def _mesh(shape: tuple[int, ...]) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh("cpu", shape)


def _part(whole: Tensor, mesh: Any, placements: tuple[Any, ...]) -> Tensor:
    """Return this rank's shard, cut by torch's own placements one mesh dimension at a time."""
    for index, placement in enumerate(placements):
        if hasattr(placement, "dim"):
            own = copy.copy(placement) if placement.dim >= 0 else type(placement)(whole.dim() + placement.dim)
            parts, _ = own._split_tensor(whole, mesh.size(index), with_padding=False)
            whole = parts[mesh.get_local_rank(index)]
    return whole


def _accepts(call: KeyedCall, shape: tuple[int, ...], place: str, dtype: torch.dtype) -> bool:
    return call.accepts(shape)


def _fill_all(rank: int) -> list[str]:
    """Fill every call's weight in every shape and placement; return the cases that differ from the unsharded tensor.

    A rank needs no other one to fill its shard, so each case is one rank's. Four ranks fill every case, fewer a part.
    """
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor.debug import CommDebugMode

    warnings.simplefilter("ignore")
    wrong: list[str] = []
    size = dist.get_world_size()
    places, dtypes = _placements(size), (torch.float32, torch.bfloat16)
    cases = pairwise(CALLS, SHAPES, list(places), dtypes, possible=_accepts)
    # Deal them so that every rank has every shape in every placement.
    cases.sort(key=lambda case: (case[2], case[1]))
    # Making a mesh of ranks takes all of them.
    for mesh_shape, _ in places.values():
        _mesh(mesh_shape)
    for call, shape, place, dtype in cases[rank::4]:
        whole = call(torch.empty(shape, dtype=dtype), KEY)
        mesh, placements = _mesh(places[place][0]), places[place][1]
        try:
            part = _part(whole, mesh, placements)
        except AssertionError as error:
            # NB: torch 2.6 has no uneven strided shards.
            assert "only allows even sharding" in str(error)  # noqa: PT017
            continue
        local = torch.full(part.shape, float("nan"), dtype=dtype)
        placements = tuple(type(p)(len(shape) + p.dim) if getattr(p, "dim", 0) < 0 else p for p in placements)
        weight = nn.Parameter(
            DTensor.from_local(local, mesh, placements, run_check=False, shape=whole.shape, stride=whole.stride())
        )
        version, state = weight._version, torch.get_rng_state()
        with CommDebugMode() as counted:
            same = call(weight, KEY) is weight
        good = (
            same
            and torch.equal(weight.to_local().detach(), part)
            and weight._version > version
            and counted.get_total_counts() == 0
            and torch.equal(torch.get_rng_state(), state)
        )
        if not good:
            wrong.append(f"{call} {shape} {dtype} {place}")
    return wrong


@pytest.mark.parametrize("size", [1, 2, 4])
def test_every_rank_draws_its_shard_without_communication(size: int) -> None:
    assert on_ranks(size, _fill_all) == [[]] * size


class Net(nn.Module):
    """Layers with sizes that ranks cannot shard evenly, and a packed weight."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.packed = nn.Embedding(9, 8, padding_idx=4), nn.Linear(8, 33)
        self.hidden, self.head, self.norm = nn.Linear(33, 10), nn.Linear(10, 8), nn.LayerNorm(8)


RECIPE = recipes.Recipe(
    [
        recipes.Rule("orthogonal_", name="packed.weight", blocks=(5, 28)),
        recipes.Rule("xavier_uniform_", name="hidden.weight", blocks=3, dim=1),
        recipes.Rule("eye_", name="head.weight", blocks=2),
        recipes.Rule("default"),
    ]
)


def _shard(rank: int) -> tuple[str, dict[str, Any]]:
    """Shard a model made on meta with FSDP2; on four ranks, over tensor parallelism."""
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    warnings.simplefilter("ignore")
    with torch.device("meta"):
        model = Net()
    if dist.get_world_size() == 4:
        from torch.distributed.device_mesh import init_device_mesh

        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
        parallelize_module(model, mesh["tensor"], {"head": ColwiseParallel()})
        fully_shard(model, mesh=mesh["data"])
    else:
        fully_shard(model)
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.detach().to_local().fill_(float("nan"))  # type: ignore[attr-defined]
    # Each rank has its own seed.
    torch.manual_seed(rank)
    RECIPE.apply_(model, key=KEY)
    placements = str(model.head.weight.placements)
    names = (
        ["head.weight"]
        if dist.get_world_size() == 4 and torch.__version__ < "2.7"
        else list(dict(model.named_parameters()))
    )
    # NB: torch 2.6's gloo cannot gather uneven parts of a 2-D mesh, and none gathers from one rank.
    weights = {name: model.get_parameter(name).detach() for name in names}
    gather = "full_tensor" if dist.get_world_size() > 1 else "to_local"
    return placements, {name: getattr(weight, gather)().clone().numpy() for name, weight in weights.items()}


@pytest.mark.parametrize("size", [1, 2, 4])
def test_model_sharded_from_meta_is_the_unsharded_model(size: int) -> None:
    expected = RECIPE.apply_(Net(), key=KEY).state_dict()
    for placements, found in on_ranks(size, _shard):
        assert ("_StridedShard" in placements) == (size == 4)
        for name, values in found.items():
            assert torch.equal(torch.from_numpy(values), expected[name]), name


def _refused(rank: int) -> list[str]:
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

    mesh, messages = _mesh((2,)), []
    pending = DTensor.from_local(torch.full((4, 6), 7.0), mesh, [Partial()], run_check=False)
    whole = DTensor.from_local(torch.full((4, 6), 7.0), mesh, [Replicate()], run_check=False)
    lying = DTensor.from_local(
        torch.full((3, 6), 7.0), mesh, [Shard(0)], run_check=False, shape=torch.Size([4, 6]), stride=(6, 1)
    )
    for weight, piece in ((pending, {}), (whole, {"offset": [0, 0]}), (whole, {"full_size": [4, 6]}), (lying, {})):
        try:
            keyed.normal_(weight, KEY, **piece)
        except (RuntimeError, ValueError) as error:
            messages.append(str(error) if (weight.to_local() == 7.0).all() else "written")
    with torch.inference_mode():
        made = keyed.normal_(DTensor.from_local(torch.empty(2, 6), mesh, [Shard(0)], run_check=False), KEY)
        good = torch.equal(made.to_local(), keyed.normal_(torch.empty(4, 6), KEY)[2 * rank : 2 * rank + 2])
    return [*messages, f"inference {good}"]


def test_tensor_that_is_not_a_shard_is_refused_before_a_write() -> None:
    for found in on_ranks(2, _refused):
        assert found == [
            "a DTensor with a Partial placement cannot be initialized, got (Partial(sum),)",
            "a DTensor knows its own piece and takes neither full_size nor offset",
            "a DTensor knows its own piece and takes neither full_size nor offset",
            "a DTensor's local part must have the shape that its placements say, [2, 6], got [3, 6]",
            "inference True",
        ]


def _outside(rank: int) -> float:
    """Fill a tensor that lies on the first rank only."""
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor, Shard

    mesh = DeviceMesh("cpu", [0])
    weight = DTensor.from_local(torch.zeros(4, 3) if rank == 0 else torch.zeros(0), mesh, [Shard(0)], run_check=False)
    return float(keyed.uniform_(weight, KEY).to_local().sum())


def test_rank_outside_the_mesh_has_nothing_to_fill() -> None:
    first, second = on_ranks(2, _outside)
    assert first == pytest.approx(float(keyed.uniform_(torch.zeros(4, 3), KEY).sum()))
    assert second == 0.0
