"""Does a sharded model get the bits of one process, from a seed and from a key, without communication?"""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.testing._internal.distributed.fake_pg import FakeStore

import torchinit
from tests.support.allocated import Allocated
from tests.support.built import tensors_of
from tests.support.distributed import on_ranks
from tests.support.recorded_chains import MODELS, Copies, Views
from torchinit import keyed
from torchinit.recording import Recording

pytestmark = pytest.mark.slow

KEY = keyed.key(11)


# Differences from one process, the peak of memory and a shard's size, and refusals.
Results = tuple[list[str], tuple[int, int], list[str]]


class Net(nn.Module):
    """Every kind of chain, layers for tensor parallelism, and sizes that no number of ranks divides."""

    def __init__(self, chains: list[str]) -> None:
        super().__init__()
        self.inputs, self.outputs = nn.Linear(12, 8), nn.Linear(8, 12)
        nn.init.trunc_normal_(self.outputs.weight, std=0.1)
        self.copies, self.views = Copies(), Views()
        self.chains = nn.ModuleDict({f"{name} chain": MODELS[name]() for name in chains})


def _shardable() -> list[str]:
    """Return the chains whose parameters fully_shard takes: contiguous, of floating-point dtype, with a dimension."""
    with torch.random.fork_rng(devices=[]):
        weights = {name: getattr(make(), "weight", torch.tensor(0)) for name, make in MODELS.items()}
    return [name for name, w in weights.items() if w.dim() > 0 and w.is_floating_point() and w.is_contiguous()]


SHARDABLE = _shardable()


def _net() -> Net:
    """Build the model with all chains on two ranks; by key, ranks of eight have all of them too."""
    return Net(SHARDABLE if dist.get_world_size() == 2 else SHARDABLE[::3])


def _expected(recording: Recording) -> dict[str, dict[str, Tensor]]:
    """Return the tensors that one process has, by the draws' origin."""
    with torch.random.fork_rng(devices=[]), torchinit.patch_torch():
        torch.manual_seed(5)
        seeded = _net()
    return {"seed": tensors_of(seeded), "key": tensors_of(recording.build(key=KEY))}


def _fully_sharded(model: nn.Module) -> None:
    fully_shard(model.copies)
    fully_shard(model)


def _parallel(model: nn.Module, mesh: Any = None) -> None:
    mesh = mesh or init_device_mesh("cpu", (dist.get_world_size(),))
    parallelize_module(model, mesh, {"inputs": ColwiseParallel(), "outputs": RowwiseParallel()})


def _both(model: nn.Module) -> None:
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("data", "tensor"))
    _parallel(model, mesh["tensor"])
    fully_shard(model, mesh=mesh["data"])


SHARDINGS: dict[str, Callable[[nn.Module], None]] = {
    "fully sharded": _fully_sharded,
    "parallel": _parallel,
    "both": _both,
}


# Two ranks fill in every sharding of a one-dimensional mesh from both origins; one and four do so from one each.
ALIKE = {
    (size, sharding, origin) for size in (1, 4) for sharding, origin in (("fully sharded", "seed"), ("parallel", "key"))
}


def _made(sharding: str, dtype: torch.dtype | None) -> nn.Module:
    """Make a model on meta, shard it, and give it memory with no number in it."""
    with torch.device("meta"):
        model = _net()
    if dtype is not None:
        model.to(dtype)
    SHARDINGS[sharding](model)
    model.to_empty(device="cpu")
    for tensor in tensors_of(model).values():
        local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        local.detach().fill_(float("nan") if local.is_floating_point() else -1)
    return model


def _same(tensor: Tensor, expected: Tensor) -> bool:
    """Compare a tensor, gathered from all ranks, with that of one process."""
    found, expected = tensor.detach(), expected.detach().to(tensor.dtype)
    if isinstance(found, DTensor):
        # NB: nothing is gathered from one rank.
        found = found.full_tensor() if dist.get_world_size() > 1 else found.to_local()
    return torch.equal(found, expected)


def _wrong(rank: int) -> list[str]:
    """Fill the model in every sharding, from a seed and from a key; return what differs from one process."""
    warnings.simplefilter("ignore")
    recording, wrong = torchinit.record(_net), list[str]()
    expected = _expected(recording)
    for sharding, dtype in (("fully sharded", None), ("parallel", torch.bfloat16), ("both", None)):
        # NB: torch 2.6's gloo cannot gather uneven parts of a 2-D mesh.
        if sharding == "both" and (dist.get_world_size() < 4 or torch.__version__ < "2.7"):
            continue
        for origin, options in {"seed": {"seed": 5}, "key": {"key": KEY}}.items():
            if (dist.get_world_size(), sharding, origin) in ALIKE:
                continue
            model = _made(sharding, dtype)
            # Each rank has its own state.
            torch.manual_seed(rank)
            state = torch.get_rng_state()
            messages = 0
            if origin == "key":
                with CommDebugMode() as counted:
                    recording.materialize_(model, **options)
                messages = counted.get_total_counts()
            else:
                # NB: the mode makes each operator of a DTensor several times as slow.
                recording.materialize_(model, **options)
            if messages or not torch.equal(torch.get_rng_state(), state):
                wrong.append(f"{sharding} {origin}: {messages} messages, or the state changed")
            wrong += [
                f"{sharding} {origin} {name}"
                for name, tensor in tensors_of(model).items()
                if not _same(tensor, expected[origin][name])
            ]
    return wrong


@pytest.mark.parametrize("size", [1, 4])
def test_sharded_model_has_the_bits_of_one_process(size: int) -> None:
    assert on_ranks(size, _wrong) == [[]] * size


def test_sharded_model_has_the_bits_of_one_process_on_two_ranks(two_ranks: list[Results]) -> None:
    assert [wrong for wrong, _, _ in two_ranks] == [[]] * 2


class Large(nn.Module):
    """A large tensor of one draw, and one of a chain with temporaries."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = nn.Parameter(torch.empty(6001, 1024))
        nn.init.trunc_normal_(self.drawn, std=0.02)
        self.chained = nn.Parameter(torch.exp(torch.rand(6001, 1024) * 3.0 + 1.0).mul(torch.randn(6001, 1024)))


def _memory() -> tuple[int, int]:
    """Return the peak of what a key allocates, and the size of the largest shard."""
    recording = torchinit.record(Large)
    with torch.device("meta"):
        model = Large()
    fully_shard(model)
    model.to_empty(device="cpu")
    shards = [parameter.to_local() for parameter in model.parameters()]  # type: ignore[attr-defined]
    with Allocated(*shards) as allocated:
        recording.materialize_(model, key=KEY)
    return allocated.peak, max(shard.nbytes for shard in shards)


def test_rank_allocates_at_most_a_shard_by_key(two_ranks: list[Results]) -> None:
    for _, (peak, shard), _ in two_ranks:
        assert 0 < peak <= shard


def _cut(whole: Tensor, mesh: Any, placements: tuple[Any, ...]) -> Tensor:
    """Cut this rank's part of a tensor as torch's placements do, one mesh dimension at a time."""
    for index, placement in enumerate(placements):
        if isinstance(placement, Shard):
            parts, _ = placement._split_tensor(whole, mesh.size(index), with_padding=False)
            whole = parts[mesh.get_local_rank(index)]
    return whole


PLACEMENTS = ((Shard(0), Shard(0)), (Shard(0), Shard(1)), (Shard(1), Shard(0)), (Replicate(), Shard(0)))


def _distributed(model: nn.Module, mesh: Any, placements: tuple[Any, ...]) -> None:
    """Replace a model's tensors by distributed ones of this rank, with no number in them."""
    made: dict[int, Tensor] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None or not all(p.is_replicate() or p.dim < tensor.dim() for p in placements):
                    continue
                local = torch.zeros_like(_cut(tensor.detach(), mesh, placements)) - 1
                size = {"shape": tensor.shape, "stride": tensor.stride()}
                whole = DTensor.from_local(local.to(tensor.dtype), mesh, placements, run_check=False, **size)
                is_parameter = isinstance(tensor, nn.Parameter)
                whole = nn.Parameter(whole, tensor.requires_grad) if is_parameter else whole
                tensors[name] = made.setdefault(id(tensor), whole)


# Each column of a mesh of 2 x 4 ranks once, and both rows.
SOME_OF_EIGHT = (0, 3, 5, 6)


def _wrong_of_eight(process: int) -> list[str]:
    """Fill each model as one rank of a 2-D mesh that nobody else is in; return what differs from one process."""
    dist.destroy_process_group()
    # Any message to another rank would be lost.
    rank = SOME_OF_EIGHT[process]
    dist.init_process_group("fake", rank=rank, world_size=8, store=FakeStore())
    mesh, wrong = init_device_mesh("cpu", (2, 4)), []
    for name, make in MODELS.items():
        # A model is in each placement once.
        recording, placements = torchinit.record(make), PLACEMENTS[(rank + len(name)) % 4]
        expected, model = tensors_of(recording.build(key=KEY)), recording.build(seed=0)
        _distributed(model, mesh, placements)
        recording.materialize_(model, key=KEY)
        for path, tensor in tensors_of(model).items():
            found, whole = tensor.detach(), expected[path].detach()
            if isinstance(found, DTensor):
                found, whole = found.to_local(), _cut(whole, mesh, placements)
            if not torch.equal(found, whole):
                wrong.append(f"{name} {path} {placements} rank {rank}")
    return wrong


def test_ranks_of_eight_have_their_parts() -> None:
    assert on_ranks(4, _wrong_of_eight) == [[]] * 4


def _refused() -> list[str]:
    mesh = init_device_mesh("cpu", (2,))
    model = nn.Linear(6, 4)

    def reset() -> None:
        with torch.no_grad():
            model.bias.copy_(model.weight[:, 0].flip(0))

    recordings = torchinit.record(lambda: nn.Linear(6, 4)), torchinit.record(reset, model=model)
    messages = []
    for recording, placement in zip(recordings, (Partial(), Shard(0))):
        weight = nn.Parameter(
            DTensor.from_local(torch.full((4, 6), 7.0)[: 4 // (1 + placement.is_shard())], mesh, [placement])
        )
        target = nn.Linear(6, 4)
        target.bias.detach().fill_(7.0)
        target.weight = weight
        for options in ({"key": KEY}, {"seed": 0})[: 1 + placement.is_partial()]:
            try:
                recording.materialize_(target, **options)
            except RuntimeError as error:
                kept = (weight.detach().to_local() == 7.0).all() and (target.bias == 7.0).all()
                messages.append(str(error) if kept else "written")
    return messages


def test_target_that_cannot_be_filled_is_refused_before_a_write(two_ranks: list[Results]) -> None:
    for _, _, found in two_ranks:
        assert found == [
            *["a DTensor with a Partial placement cannot be initialized, got (Partial(sum),)"] * 2,
            "a sharded tensor must not be computed from the whole of its earlier values, got weight; record how the model"
            " is built, or fill it before it is sharded",
        ]


def _on_two(rank: int) -> Results:
    return _wrong(rank), _memory(), _refused()


@pytest.fixture(scope="module")
def two_ranks() -> list[Results]:
    """Run all that needs two ranks in one group."""
    return on_ranks(2, _on_two)
