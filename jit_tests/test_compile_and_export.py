"""Do torch.compile and torch.export capture every initializer whole?"""

import itertools
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn

import torchinit
from tests.layouts import LAYOUTS
from tests.records import CALLS, Record, call_id

EVERY_CALL = pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)


class Refill(nn.Module):
    """A module whose forward fills its buffer again."""

    def __init__(self, record: Record, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full(record.shape, 7.0))
        self.record, self.arguments = record, arguments

    def forward(self, x: Tensor) -> Tensor:
        return self.record.function(self.weight, **self.arguments) * x


def _expected(record: Record, arguments: dict[str, Any]) -> Tensor:
    torch.manual_seed(4)
    return record.function(torch.full(record.shape, 7.0), **arguments)


@EVERY_CALL
def test_compiled_whole_by_aot_eager_with_eagers_bits(record: Record, arguments: dict[str, Any]) -> None:
    torch.compiler.reset()

    def fill(weight: Tensor) -> Tensor:
        return record.function(weight, **arguments)

    weight = nn.Parameter(torch.full(record.shape, 7.0))
    version = weight._version
    compiled = torch.compile(fill, fullgraph=True, backend="aot_eager")
    expected = _expected(record, arguments)
    torch.manual_seed(4)
    compiled(weight)
    assert torch.equal(weight, expected)
    assert weight._version > version
    assert weight.is_leaf
    assert weight.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced"])
@pytest.mark.parametrize("arguments", [{}, {"a": 3.0, "b": 10.0}], ids=["central", "tail"])
def test_large_trunc_normal_is_compiled_with_eagers_bits(
    arguments: dict[str, float], layout: str, dtype: torch.dtype
) -> None:
    torch.compiler.reset()
    compiled = torch.compile(
        lambda weight: torchinit.trunc_normal_(weight, **arguments), fullgraph=True, backend="aot_eager"
    )
    tensors = []
    for function in (lambda weight: torchinit.trunc_normal_(weight, **arguments), compiled):
        torch.manual_seed(4)
        tensors.append(function(LAYOUTS[layout]((600, 900), dtype)))
    assert torch.equal(*tensors)


@pytest.mark.slow
@torch._inductor.config.patch(fallback_random=True)  # torch 2.15's inductor has a stream of its own
@pytest.mark.parametrize("arguments", [{}, {"a": 3.0, "b": 10.0}], ids=["central", "tail"])
def test_trunc_normal_is_compiled_whole_by_inductor(arguments: dict[str, float]) -> None:
    torch.compiler.reset()
    compiled = torch.compile(torchinit.trunc_normal_, fullgraph=True)
    torch.manual_seed(4)
    eager = torchinit.trunc_normal_(torch.empty(300, 1000), **arguments)
    torch.manual_seed(4)
    # Inductor computes erfinv and its kind itself, to some ulp.
    assert torch.allclose(compiled(torch.empty(300, 1000), **arguments), eager, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@EVERY_CALL
def test_exported_program_refills_its_buffer_with_eagers_bits(
    record: Record, arguments: dict[str, Any], strict: bool
) -> None:
    x = torch.ones(record.shape)
    program = torch.export.export(Refill(record, arguments), (x,), strict=strict)
    module = program.module()
    expected = _expected(record, arguments)
    torch.manual_seed(4)
    assert torch.equal(module(x), expected)
    assert torch.equal(module.get_buffer("weight"), expected)
    decomposed = program.run_decompositions().module()
    torch.manual_seed(4)
    assert torch.equal(decomposed(x), expected)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
def test_export_is_of_tensor_operators_alone(strict: bool) -> None:
    record, arguments = next((r, a) for r, a in CALLS if r.name == "kaiming_uniform_")
    program = torch.export.export(Refill(record, arguments), (torch.ones(record.shape),), strict=strict)
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert operators - {"aten.detach.default"} == {"aten.uniform_.default", "aten.mul.Tensor"}


def test_compiled_zero_element_tensor_is_left_alone() -> None:
    torch.compiler.reset()
    for fill, name in itertools.product([torchinit.kaiming_uniform_, torchinit.xavier_normal_], ["eager", "aot_eager"]):
        compiled = torch.compile(lambda weight, fill=fill: fill(weight), fullgraph=True, backend=name)
        assert compiled(torch.empty(0, 3)).shape == (0, 3)
