"""Can a call be captured in a CUDA graph, and does a replay draw what the call draws?"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.gpu import DEVICE, ON_GPU, blank, device_generator
from tests.support.keyed_records import CALLS as KEYED_CALLS, ROWS, KeyedCall
from tests.support.record import Record
from tests.support.records import RECORDS, call_id
from torchinit import keyed, recipes

pytestmark = pytest.mark.skipif(not ON_GPU, reason="a CPU has no graphs")

KEY = torch.tensor([42, 2**32 - 3])
# A decomposition waits for the GPU, and sparse_ draws its rows on the CPU, as upstream's do.
CAPTURED = [
    record
    for record in RECORDS
    if record.name == record.current_name and "orthogonal" not in record.name and record.name != "sparse_"
]
CALLS = [(record, call) for record in CAPTURED for call in record.calls + record.unmatched]
FIRST_KEYED = [next(call for call in KEYED_CALLS if call.name == name) for name in ROWS if "orthogonal" not in name]


def _captured(call: Callable[[], object], *generators: torch.Generator) -> Any:
    """Capture a call after a first one, which makes what is made once."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)  # type: ignore[no-untyped-call]
    with torch.cuda.graph(graph):
        call()
    return graph


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_a_replay_writes_what_the_call_writes(record: Record, arguments: dict[str, Any]) -> None:
    for shape in filter(lambda shape: record.accepts(shape, arguments), (record.shape, (300, 301))):
        torch.cuda.manual_seed(4)
        expected = record.function(blank(shape), **arguments)
        target = blank(shape)
        graph = _captured(lambda target=target: record.function(target, **arguments))
        target.fill_(7.0)
        torch.cuda.manual_seed(4)
        graph.replay()
        assert torch.equal(target, expected), shape


@pytest.mark.parametrize("record", [record for record in CAPTURED if record.takes_generator], ids=call_id)
def test_each_replay_draws_on_from_its_generator(record: Record) -> None:
    generator, other = device_generator(5), device_generator(5)
    target = blank(record.shape)
    graph = _captured(lambda: record.function(target, generator=generator, **record.calls[0]), generator)
    generator.manual_seed(5)
    for _ in range(2):
        graph.replay()
        assert torch.equal(target, record.function(blank(record.shape), generator=other, **record.calls[0]))


@pytest.mark.parametrize("call", FIRST_KEYED, ids=str)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_replay_draws_from_the_key(call: KeyedCall, compiled: bool) -> None:
    key = KEY.to(DEVICE)

    def fill(target: Tensor) -> Tensor:
        if not compiled:
            return call(target, key)
        with keyed.compiled():
            return call(target, key)

    for shape in (call.shape, call.weight_shape(300, 180)):
        target, expected = blank(shape), fill(blank(shape))
        graph = _captured(lambda target=target: fill(target))
        target.fill_(7.0)
        graph.replay()
        assert torch.equal(target, expected), shape


def test_a_replay_follows_the_key() -> None:
    key, target = KEY.to(DEVICE), blank((300, 301))
    for fill in (keyed.uniform_, keyed.normal_):
        graph = _captured(lambda fill=fill: fill(target, key))
        other = keyed.key(9)
        key.copy_(other)
        graph.replay()
        assert torch.equal(target, fill(blank((300, 301)), other))


def test_a_recipe_by_key_is_captured() -> None:
    model, key = nn.Sequential(nn.Linear(64, 300), nn.LayerNorm(300), nn.Embedding(90, 8)).to(DEVICE), KEY.to(DEVICE)
    recipe = recipes.torch_default()
    expected = [tensor.clone() for tensor in recipe.apply_(model, key=key).parameters()]
    graph = _captured(lambda: recipe.apply_(model, key=key))
    for parameter in model.parameters():
        parameter.detach().fill_(7.0)
    graph.replay()
    assert all(map(torch.equal, model.parameters(), expected))
