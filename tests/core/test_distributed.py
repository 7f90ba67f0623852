"""Does a DTensor hold the values that a single process draws, and is a partitioned parameter refused?"""

import os
import threading
import warnings
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import torchinit
from tests.support.distributed import on_ranks
from tests.support.pairwise import pairwise
from tests.support.record import Record
from tests.support.records import CALLS, RECORDS, call_id
from torchinit import recipes

pytestmark = pytest.mark.slow

# Among them: one row for two ranks, and sizes that two ranks cannot shard evenly.
SHAPES = ((5, 7), (8, 6), (1, 4), (3, 3, 2), (6, 3, 3, 3), (9, 5, 3), (12,))
# The shapes that a record's later calls fill: other arguments change the values, not how a tensor is sharded.
FEW_SHAPES = ((5, 7), (3, 3, 2), (6, 3, 3, 3), (12,))
# (dtype, with_generator); with a generator the weight is an nn.Parameter.
KINDS = ((torch.float32, False), (torch.bfloat16, False), (torch.float32, True))
CASES = pairwise(
    [call for call in CALLS if call[0].name == call[0].current_name],
    SHAPES,
    ("rows", "columns", "replicas"),
    KINDS,
    possible=lambda call, shape, place, kind: (
        call[0].accepts(shape, call[1]) and (shape in FEW_SHAPES or call[1] is call[0].calls[0])
    ),
)
SEED = 6


# Initializers whose shards depend on each other.
INDIVISIBLE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("orthogonal_", {}),
    ("sparse_", {"sparsity": 0.5}),
    ("block_orthogonal_", {"blocks": 2}),
)


def _single(record: Record, arguments: dict[str, Any], shape: Any, dtype: torch.dtype, generator: bool) -> Tensor:
    torch.manual_seed(SEED)
    drawn = {"generator": torch.Generator().manual_seed(9)} if generator and record.takes_generator else {}
    return record.function(torch.full(shape, float("nan"), dtype=dtype), **arguments, **drawn)


def _placements() -> dict[str, Any]:
    from torch.distributed.tensor import Replicate, Shard

    return {"rows": Shard(0), "columns": Shard(-1), "replicas": Replicate()}


def _fill_all(rank: int) -> list[Any]:
    """Fill every case; return the gathered tensor and the local shard, as each rank sees them."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import distribute_tensor

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    places, found = _placements(), []
    warnings.simplefilter("ignore")
    for (record, arguments), shape, place, (dtype, generator) in CASES:
        weight = distribute_tensor(torch.full(shape, float("nan"), dtype=dtype), mesh, [places[place]])
        weight = nn.Parameter(weight) if generator else weight
        drawn = {"generator": torch.Generator().manual_seed(9)} if generator and record.takes_generator else {}
        torch.manual_seed(SEED)
        version = weight._version
        assert record.function(weight, **arguments, **drawn) is weight
        assert weight._version > version
        whole, part = weight.detach().full_tensor(), weight.detach().to_local()
        found.append((whole.float().numpy(), part.float().numpy()))
    return found


def _fill_with_seed_per_rank(rank: int) -> dict[str, Any]:
    """Fill with a different seed on each rank, fill Partial placements, and count collectives."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Partial, Shard, distribute_tensor
    from torch.distributed.tensor.debug import CommDebugMode

    warnings.simplefilter("ignore")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    found: dict[str, Any] = {}
    for name, arguments in INDIVISIBLE:
        weight = distribute_tensor(torch.zeros(8, 6), mesh, [Shard(0)])
        torch.manual_seed(SEED + rank)
        getattr(torchinit, name)(weight, **arguments)
        found[name] = weight.full_tensor().numpy()
    for record in RECORDS:
        pending = DTensor.from_local(torch.full(record.shape, 7.0), mesh, [Partial()], run_check=False)
        state = torch.get_rng_state()
        try:
            record.function(pending, **record.calls[0])
        except RuntimeError as error:
            untouched = bool((pending.to_local() == 7.0).all()) and torch.equal(torch.get_rng_state(), state)
            found[f"partial {record}"] = str(error) if untouched else "written or drawn"
    for name in ("kaiming_uniform_", "trunc_normal_", "eye_", "zeros_"):
        weight = distribute_tensor(torch.zeros(8, 6), mesh, [Shard(0)])
        with CommDebugMode() as counted:
            getattr(torchinit, name)(weight)
        found[f"messages {name}"] = counted.get_total_counts()
    weight = distribute_tensor(torch.zeros(8, 6), mesh, [Shard(0)])
    with torch.inference_mode():
        for name in ("ones_", "normal_", "eye_", "orthogonal_"):
            torch.manual_seed(SEED)
            getattr(torchinit, name)(weight)
            found[f"inference {name}"] = weight.full_tensor().numpy()
    torch.manual_seed(SEED)
    found["transposed"] = (
        torchinit.normal_(distribute_tensor(torch.zeros(8, 6).t(), mesh, [Shard(1)])).full_tensor().numpy()
    )
    for name in ("uniform_", "normal_", "trunc_normal_", "eye_"):
        weight = distribute_tensor(torch.zeros(8, 6), mesh, [Shard(0)])
        torch.manual_seed(SEED)
        torch.compile(getattr(torchinit, name), backend="eager")(weight)
        found[f"compiled {name}"] = weight.full_tensor().numpy()
    pending = DTensor.from_local(torch.full((8, 6), 7.0), mesh, [Partial()], run_check=False)
    for name in ("trunc_normal_", "ones_"):
        try:
            torch.compile(getattr(torchinit, name), backend="eager")(pending)
        except Exception:
            found[f"compiled partial {name}"] = bool((pending.to_local() == 7.0).all())
    return found


class Net(nn.Module):
    """Linear layers, with sizes that ranks cannot shard evenly."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.middle, self.head = nn.Linear(16, 33), nn.Linear(33, 8), nn.Linear(8, 8)


def _reset(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        if module.in_features == 16:
            torchinit.kaiming_uniform_(module.weight)
        elif module.in_features == 33:
            torchinit.trunc_normal_(module.weight, std=0.02)
        else:
            torchinit.orthogonal_(module.weight)
        torchinit.uniform_(module.bias, -0.1, 0.1)


def _shard(rank: int) -> dict[str, Any]:
    """Shard a model made on meta with FSDP2; on four ranks, over tensor parallelism."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    warnings.simplefilter("ignore")
    with torch.device("meta"):
        model = Net()
    if dist.get_world_size() == 4:
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
        parallelize_module(model, mesh["tensor"], {"head": ColwiseParallel()})
        fully_shard(model.head, mesh=mesh["data"])
    else:
        fully_shard(model)
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        local = parameter.detach()
        (local.to_local() if hasattr(local, "to_local") else local).fill_(float("nan"))
    torch.manual_seed(SEED)
    model.apply(_reset)
    placements = str(getattr(model.head.weight, "placements", ""))
    whole = {
        n: p.detach().full_tensor() if hasattr(p, "full_tensor") else p.detach() for n, p in model.named_parameters()
    }
    return {"placements": placements, **{name: weight.numpy() for name, weight in whole.items()}}


class Packed(nn.Module):
    """Parameters that a recipe writes twice or block by block."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.packed = nn.Embedding(9, 8, padding_idx=4), nn.Linear(8, 24)
        self.attention, self.norm = nn.MultiheadAttention(8, 2), nn.BatchNorm1d(8)


_RECIPES = {
    "torch": recipes.torch_default(),
    "blocks": recipes.Recipe(
        [
            recipes.Rule("orthogonal_", name="packed.weight", blocks=(5, 19)),
            recipes.Rule("xavier_uniform_", name="*.in_proj_weight", blocks=4, dim=1),
            recipes.Rule("normal_"),
        ]
    ),
}


def _shard_by_recipe(rank: int) -> dict[str, Any]:
    from torch.distributed.fsdp import fully_shard

    warnings.simplefilter("ignore")
    found: dict[str, Any] = {}
    for name, recipe in _RECIPES.items():
        with torch.device("meta"):
            model = Packed()
        fully_shard(model.packed)
        fully_shard(model)
        model.to_empty(device="cpu")
        torch.manual_seed(SEED)
        recipe.apply_(model)
        found[name] = {n: p.detach().full_tensor().numpy() for n, p in model.named_parameters()}
    return found


def _warnings_of_empty(rank: int) -> list[str]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for name in ("uniform_", "normal_", "trunc_normal_"):
            getattr(torchinit, name)(DTensor.from_local(torch.empty(0, 3), mesh, [Shard(0)], run_check=False))
    return [str(warning.message) for warning in warned]


def _on_each_of_two_ranks(rank: int) -> dict[str, Any]:
    """Run all that two ranks do in one group, because a group takes a second to start."""
    functions = (_fill_all, _fill_with_seed_per_rank, _shard, _shard_by_recipe, _warnings_of_empty)
    return {function.__name__: function(rank) for function in functions}


@pytest.fixture(scope="module")
def two_ranks() -> list[dict[str, Any]]:
    return on_ranks(2, _on_each_of_two_ranks)


@pytest.fixture
def filled(two_ranks: list[dict[str, Any]]) -> list[list[Any]]:
    return [found["_fill_all"] for found in two_ranks]


@pytest.fixture
def filled_with_seed_per_rank(two_ranks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [found["_fill_with_seed_per_rank"] for found in two_ranks]


@pytest.mark.parametrize("record", [record for record in RECORDS if record.name == record.current_name], ids=call_id)
def test_gathered_tensor_equals_the_draw_of_a_single_process(filled: list[list[Any]], record: Record) -> None:
    cases = [(index, case) for index, case in enumerate(CASES) if case[0][0] is record]
    assert cases
    for index, ((_, arguments), shape, place, kind) in cases:
        expected = _single(record, arguments, shape, *kind).float()
        for found in filled:
            whole, part = map(torch.from_numpy, found[index])
            assert torch.equal(whole, expected), (arguments, shape, place, kind)
            assert not part.isnan().any()
            if place == "replicas":
                assert torch.equal(part, expected)


def test_shards_of_an_orthogonal_or_sparse_matrix_fit_with_any_seeds(
    filled_with_seed_per_rank: list[dict[str, Any]],
) -> None:
    for name, arguments in INDIVISIBLE:
        torch.manual_seed(SEED)
        expected = getattr(torchinit, name)(torch.zeros(8, 6), **arguments)
        assert all(torch.equal(torch.from_numpy(found[name]), expected) for found in filled_with_seed_per_rank)


@pytest.mark.parametrize("record", RECORDS, ids=call_id)
def test_partial_placement_is_refused_before_anything_is_written(
    filled_with_seed_per_rank: list, record: Record
) -> None:
    for found in filled_with_seed_per_rank:
        message = found[f"partial {record}"]
        assert message == "a DTensor with a Partial placement cannot be initialized, got (Partial(sum),)"


def test_only_orthogonal_and_sparse_communicate(filled_with_seed_per_rank: list[dict[str, Any]]) -> None:
    for found in filled_with_seed_per_rank:
        assert {name: found[name] for name in found if name.startswith("messages")} == {
            f"messages {name}": 0 for name in ("kaiming_uniform_", "trunc_normal_", "eye_", "zeros_")
        }


def test_sharded_tensor_is_filled_in_inference_mode_compiled_and_transposed(
    filled_with_seed_per_rank: list[dict[str, Any]],
) -> None:
    for found in filled_with_seed_per_rank:
        for key in found:
            if key.startswith(("inference", "compiled ")) and "partial" not in key:
                torch.manual_seed(SEED)
                expected = getattr(torchinit, key.split()[1])(torch.zeros(8, 6))
                assert torch.equal(torch.from_numpy(found[key]), expected), key
        torch.manual_seed(SEED)
        assert torch.equal(torch.from_numpy(found["transposed"]), torchinit.normal_(torch.zeros(8, 6).t()))
        assert found["compiled partial trunc_normal_"]
        assert found["compiled partial ones_"]


def test_recipe_gives_a_sharded_model_the_weights_of_the_unsharded_one(two_ranks: list[dict[str, Any]]) -> None:
    for found in two_ranks:
        for name, recipe in _RECIPES.items():
            expected = Packed()
            torch.manual_seed(SEED)
            for key, parameter in recipe.apply_(expected).named_parameters():
                assert torch.equal(torch.from_numpy(found["_shard_by_recipe"][name][key]), parameter), (name, key)


def test_empty_tensor_is_left_alone_without_a_word(two_ranks: list[dict[str, Any]]) -> None:
    assert [found["_warnings_of_empty"] for found in two_ranks] == [[], []]


@pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6's gloo cannot gather uneven parts of a 2-D mesh")
@pytest.mark.parametrize("size", [2, 4])
def test_model_sharded_from_meta_is_the_unsharded_model(size: int, request: pytest.FixtureRequest) -> None:
    torch.manual_seed(SEED)
    expected = Net()
    torch.manual_seed(SEED)
    expected.apply(_reset)
    ranks = on_ranks(4, _shard) if size == 4 else [each["_shard"] for each in request.getfixturevalue("two_ranks")]
    for found in ranks:
        assert ("_StridedShard" in found["placements"]) == (size == 4)
        for name, parameter in expected.named_parameters():
            assert torch.equal(torch.from_numpy(found[name]), parameter), name


@pytest.mark.parametrize("record", RECORDS, ids=call_id)
def test_parameter_that_zero_partitioned_is_refused_by_name(record: Record) -> None:
    weight = nn.Parameter(torch.empty(0))
    weight.ds_shape = torch.Size(record.shape)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError) as caught:
        record.function(weight, **record.calls[0])
    assert str(caught.value) == (
        "a parameter that ZeRO stage 3 (DeepSpeed) has partitioned must be gathered before it is initialized, got an"
        f" empty one in place of shape {list(record.shape)}"
    )


@pytest.mark.parametrize("record", RECORDS, ids=call_id)
def test_flattened_parameter_that_lies_on_another_rank_is_refused_by_name(record: Record) -> None:
    weight = nn.Parameter(torch.empty(0))
    weight._fsdp_flattened = True  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="FullyShardedDataParallel has partitioned must be gathered"):
        record.function(weight, **record.calls[0])


# Skip vectors: FullyShardedDataParallel leaves an empty vector.
@pytest.mark.parametrize("record", [record for record in RECORDS if len(record.shape) > 1], ids=call_id)
def test_gathered_parameter_without_elements_is_not_taken_for_a_partitioned_one(record: Record) -> None:
    arguments = record.calls[0]
    weight = nn.Parameter(torch.empty(next(s for s in ((0, 5), (0, 4), (0, 0, 3)) if record.accepts(s, arguments))))
    weight._fsdp_flattened = True  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert record.function(weight, **arguments) is weight
        del weight._fsdp_flattened
        weight.ds_shape = weight.shape  # type: ignore[attr-defined]
        assert record.function(weight, **arguments) is weight


def _raise(rank: int) -> None:
    if rank == 1:
        raise ValueError("on purpose")
    dist.barrier()


def _die(rank: int) -> None:
    if rank == 1:
        os._exit(3)
    dist.barrier()


def _hang(rank: int) -> None:
    if rank == 1:
        threading.Event().wait()


@pytest.mark.parametrize(("function", "trouble"), [(_raise, "on purpose"), (_die, "rank 1 died, exit code 3")])
def test_rank_that_fails_is_named(function: Any, trouble: str) -> None:
    with pytest.raises(AssertionError, match=trouble):
        on_ranks(2, function)


def test_rank_that_hangs_is_named() -> None:
    with pytest.raises(AssertionError, match="rank 1 was still running"):
        on_ranks(2, _hang, timeout=0.0)
