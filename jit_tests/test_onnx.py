"""Does an initializer in an ONNX graph do what the docs' table says, and is no graph silently wrong?"""

import functools
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn
from torch.onnx._internal.exporter import _registration

import torchinit
from tests.support.record import Record
from tests.support.records import RECORDS, call_id
from tools.codegen.__main__ import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(torch.__version__ < "2.9", reason="the exporter of older torch differs"),
]
CURRENT = [record for record in RECORDS if record.name == record.current_name]
# Large enough to estimate a mean and a std.
SHAPES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("dirac_", "bilinear_", "identity_"), (6, 4, 3, 3)),
    **dict.fromkeys(("orthogonal_", "sparse_"), (9, 6)),
    "block_orthogonal_": (8, 6),
    "delta_orthogonal_": (9, 6, 3),
    "icnr_": (120, 50, 2),
    **dict.fromkeys(("lstm_bias_", "rotary_inv_freq_", "alibi_slopes_"), (12,)),
}


def _documented() -> dict[str, str]:
    """Read the docs' table: the operator, "constant" or "no" for each initializer."""
    table = re.search(r"## ONNX\n(.*?)\n## ", (ROOT / "docs" / "guide" / "export.md").read_text(), re.DOTALL)
    assert table is not None
    rows: dict[str, str] = {}
    for names, cell in re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", table[1], re.MULTILINE):
        for name in re.findall(r"`(\w+_)`", names):
            rows[name] = cell
    return rows


class Fresh(nn.Module):
    """Fills a new tensor of its input's shape."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record

    def forward(self, x: Tensor) -> Tensor:
        return self.record.function(torch.empty_like(x), **self.record.calls[0]) + 0.0 * x


class Buffer(nn.Module):
    """Fills a buffer."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record
        self.register_buffer("weight", torch.full(_shape(record), 7.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.record.function(self.weight, **self.record.calls[0]) + x


class Exportable(nn.Module):
    """Fills a new tensor and a buffer with each initializer that an ONNX graph can hold."""

    def __init__(self, records: list[Record]) -> None:
        super().__init__()
        self.fresh = nn.ModuleList(Fresh(record) for record in records)
        self.buffers_of = nn.ModuleList(Buffer(record) for record in records)

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        return [fill(x) for fills in (self.fresh, self.buffers_of) for fill, x in zip(fills, inputs, strict=True)]


@pytest.fixture(autouse=True, scope="module")
def one_registry() -> Iterator[None]:
    """Keep the table of translations, which every export would read anew, for most of its time."""
    with pytest.MonkeyPatch.context() as patch:
        registry = _registration.ONNXRegistry
        patch.setattr(registry, "from_torchlib", staticmethod(functools.cache(registry.from_torchlib)))
        yield


def _shape(record: Record) -> tuple[int, ...]:
    return SHAPES.get(record.name, (120, 50))


def _exported(module: nn.Module, *shapes: tuple[int, ...]) -> Any:
    program = torch.onnx.export(module.eval(), tuple(map(torch.zeros, shapes)), dynamo=True, verbose=False)
    assert program is not None
    return program.model_proto


def _run(model: Any, *shapes: tuple[int, ...]) -> list[Tensor]:
    inputs = {given.name: torch.zeros(shape).numpy() for given, shape in zip(model.graph.input, shapes, strict=True)}
    return [torch.as_tensor(value) for value in ReferenceEvaluator(model).run(None, inputs)]


def _random_operators(graph: Any, output: str) -> set[str]:
    """Return the random operators that an output of a graph depends on."""
    makers = {name: node for node in graph.node for name in node.output}
    found, names = set(), [output]
    while names:
        node = makers.pop(names.pop(), None)
        if node is not None:
            found |= {node.op_type} if node.op_type.startswith("Random") else set()
            names += node.input
    return found


@pytest.fixture(scope="module")
def exportable() -> dict[str, list[tuple[set[str], Tensor, Tensor]]]:
    """Map each name to the random operators and two draws of its new tensor and of its buffer, in one graph of all."""
    records = [record for record in CURRENT if _documented()[record.name] != "no"]
    shapes = [_shape(record) for record in records]
    model = _exported(Exportable(records), *shapes)
    operators = [_random_operators(model.graph, output.name) for output in model.graph.output]
    made = list(zip(operators, _run(model, *shapes), _run(model, *shapes), strict=True))
    return {record.name: made[index :: len(records)] for index, record in enumerate(records)}


def test_grouped_dirac_is_exact_in_onnx() -> None:
    class Grouped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torchinit.dirac_(torch.empty_like(x), 2) + 0.0 * x

    (made,) = _run(_exported(Grouped(), (6, 4, 3)), (6, 4, 3))
    assert torch.equal(made, torchinit.dirac_(torch.empty(6, 4, 3), 2))


@pytest.mark.parametrize("name", ["xavier_normal_", "xavier_uniform_"])
def test_fan_of_a_dynamic_size_exports(name: str) -> None:
    class Draw(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return getattr(torchinit, name)(torch.empty_like(x)) + 0.0 * x

    dynamic = {"x": {0: torch.export.Dim.DYNAMIC}}
    program = torch.onnx.export(Draw(), (torch.zeros(40, 50),), dynamo=True, verbose=False, dynamic_shapes=dynamic)
    assert program is not None
    for rows in (40, 400):
        (drawn,) = _run(program.model_proto, (rows, 50))
        assert abs(float(drawn.std()) / math.sqrt(2.0 / (rows + 50)) - 1) < 0.06


@pytest.mark.parametrize("record", [r for r in CURRENT if _documented()[r.name] != "no"], ids=call_id)
def test_onnx_model_behaves_as_documented(
    record: Record, exportable: dict[str, list[tuple[set[str], Tensor, Tensor]]]
) -> None:
    documented = _documented()[record.name]
    eager = record.function(torch.empty(_shape(record)), **record.calls[0])
    fresh, buffer = exportable[record.name]
    for operators, first, second in (fresh, buffer):
        if documented == "exact":
            assert torch.equal(first, eager)
            continue
        if documented == "up to rounding":
            assert torch.allclose(first, eager, rtol=1e-6, atol=1e-5)
            continue
        assert {f"`{operator}`" for operator in operators} == {documented}
        assert not torch.equal(first, second)
        assert abs(float(first.mean() - eager.mean())) < 6 * float(eager.std()) / math.sqrt(eager.numel())
        assert abs(float(first.std() / eager.std()) - 1) < 0.05
        assert float(first.abs().max()) <= float(eager.abs().max()) * (1.01 if "Uniform" in documented else 2.0)


@pytest.mark.parametrize("record", [r for r in CURRENT if _documented()[r.name] == "no"], ids=call_id)
def test_exporter_refuses_what_the_docs_say_it_does(record: Record) -> None:
    # A buffer for one initializer of each operator that ONNX lacks; a new tensor for all.
    kinds = (Fresh, Buffer) if record.name in ("trunc_normal_", "orthogonal_", "sparse_") else (Fresh,)
    for kind in kinds:
        with pytest.raises(Exception, match=r"No ONNX function found|Failed to decompose|Error when translating"):
            _exported(kind(record), _shape(record))


def test_strict_program_of_a_uniform_is_refused_by_the_exporter() -> None:
    class Uniform(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torchinit.uniform_(torch.empty_like(x))

    program = torch.export.export(Uniform(), (torch.zeros(3, 4),), strict=True)
    with pytest.raises(Exception, match="Error when translating"):
        torch.onnx.export(program, dynamo=True, verbose=False)


@pytest.mark.parametrize("kind", [Fresh, Buffer], ids=["fresh", "buffer"])
@pytest.mark.parametrize("record", RECORDS, ids=call_id)
def test_legacy_exporter_is_refused_before_anything_is_written(
    record: Record, kind: type[nn.Module], tmp_path: Path
) -> None:
    shape = _shape(record) if record.name == record.current_name else (6, 4, 3, 3) if "dirac" in record.name else (9, 6)
    module = Fresh(record) if kind is Fresh else Buffer(record)
    if kind is Buffer:
        module.weight = torch.full(shape, 7.0)
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="got the legacy one, which drops it"):
        torch.onnx.export(module, (torch.zeros(shape),), io.BytesIO(), dynamo=False)
    assert torch.equal(torch.get_rng_state(), state)
    if kind is Buffer:
        assert bool((module.weight == 7.0).all())
