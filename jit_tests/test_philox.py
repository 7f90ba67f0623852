"""Is a key's stream the same in every mode: scripted, saved and loaded, mobile, compiled and exported?"""

import io
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.jit.mobile import _load_for_lite_interpreter

from tests.support.outcome import ulps
from torchinit import keyed
from torchinit.keyed import fold_in, key, split

# The counter carries into its upper 32 bits within the tensor.
KEY = torch.tensor([42, 2**32 - 7])
FULL, PART, OFFSET = [9, 7, 5], [4, 3, 5], [2, 1, 0]


class Stream(nn.Module):
    """The functions under test as methods."""

    def forward(self, seed: int, data: int) -> Tensor:
        return fold_in(split(key(seed), 3)[1], data)

    @torch.jit.export
    def uniform(self, tensor: Tensor, key: Tensor, low: float, high: float) -> Tensor:
        return keyed.uniform_(tensor, key, low, high)

    @torch.jit.export
    def normal(self, tensor: Tensor, key: Tensor) -> Tensor:
        return keyed.normal_(tensor, key)

    @torch.jit.export
    def piece(self, tensor: Tensor, key: Tensor, full_size: list[int], offset: list[int]) -> Tensor:
        return keyed.uniform_(tensor, key, 0.0, 1.0, full_size, offset)


class Mobile:
    """A module in the mobile interpreter, called like any other."""

    def __init__(self, module: Any) -> None:
        self._module = _load_for_lite_interpreter(io.BytesIO(module._save_to_buffer_for_lite_interpreter()))

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self._module.run_method(name, *arguments)


def _as_deployed(how: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(Stream())
        if how == "scripted":
            return scripted
        if how == "mobile":
            return Mobile(scripted)
        buffer = io.BytesIO()
        torch.jit.save(scripted, buffer)
        return torch.jit.load(io.BytesIO(buffer.getvalue()))


@pytest.mark.parametrize("how", ["scripted", "loaded", "mobile"])
def test_deployed_stream_equals_eager(how: str) -> None:
    module, eager = _as_deployed(how), Stream()
    # Few blocks and many blocks take different paths.
    for rows in (37, 2000):
        for dtype in (torch.float16, torch.float32, torch.float64):
            weight = torch.empty(rows, 11, dtype=dtype)
            calls = [
                ("uniform", weight, KEY, -1.0, 2.0),
                ("normal", weight, KEY),
                ("piece", torch.empty(PART, dtype=dtype), KEY, FULL, OFFSET),
            ]
            for name, tensor, *rest in calls:
                expected = getattr(eager, name)(tensor.clone(), *rest)
                for _ in range(3):  # later runs use the optimised graph
                    assert torch.equal(getattr(module, name)(tensor.clone(), *rest), expected), (name, dtype)
    assert torch.equal(module.forward(7, 2), eager(7, 2))


def _compiled(function: Any, backend: str, dynamic: bool) -> Any:
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend=backend, dynamic=dynamic)


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_piece_and_keys_equal_eager(dynamic: bool) -> None:
    stream = Stream()
    piece = _compiled(lambda w, k: stream.piece(w, k, FULL, OFFSET), "eager", dynamic)
    assert torch.equal(piece(torch.empty(PART), KEY), stream.piece(torch.empty(PART), KEY, FULL, OFFSET))
    assert torch.equal(_compiled(stream, "eager", dynamic)(7, 2), stream(7, 2))


@pytest.mark.slow
def test_compiled_fill_of_any_size_equals_eager() -> None:
    weight, stream = torch.empty(37, 11), Stream()
    uniform = _compiled(lambda w, k: stream.uniform(w, k, -1.0, 2.0), "aot_eager", True)
    assert torch.equal(uniform(weight.clone(), KEY), stream.uniform(weight.clone(), KEY, -1.0, 2.0))


@pytest.mark.slow
def test_inductor_draws_uniform_values_exactly_and_normal_ones_within_4_ulp() -> None:
    def both(w: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        # A chain of keys: inductor computes a derived key anew for each value.
        return keyed.uniform_(w, k, -1.0, 2.0), keyed.normal_(torch.empty_like(w), fold_in(k, 3))

    # Not a multiple of a vector register, so that the loop has a tail.
    weight = torch.empty(37, 11)
    uniform, normal = _compiled(both, "inductor", False)(weight.clone(), KEY)
    eager_uniform, eager_normal = both(weight.clone(), KEY)
    assert torch.equal(uniform, eager_uniform)
    assert ulps(normal, eager_normal) <= 4


class Buffers(nn.Module):
    """Fills its own buffer from its own key."""

    weight: Tensor
    key: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(37, 11))
        self.register_buffer("key", KEY.clone())

    def forward(self) -> Tensor:
        return keyed.normal_(keyed.uniform_(self.weight, self.key, -1.0, 2.0), self.key).clone()


@pytest.mark.parametrize("strict", [False, True])
def test_exported_graph_draws_the_same_and_holds_no_random_operator(strict: bool) -> None:
    exported = torch.export.export(Buffers(), (), strict=strict)
    expected = Buffers()()
    # Both ways export the same operators, so decompose those of one.
    for program in [exported] if strict else [exported, exported.run_decompositions()]:
        assert torch.equal(program.module()(), expected)
        operators = [node.target for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
        assert operators
        assert not [op for op in operators if torch.Tag.nondeterministic_seeded in op.tags]
