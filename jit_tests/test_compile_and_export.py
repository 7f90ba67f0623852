"""Do torch.compile and torch.export capture every initializer whole?"""

import io
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn

import torchinit
from tests.support.layouts import LAYOUTS
from tests.support.outcome import ulps
from tests.support.record import Record
from tests.support.records import CALLS, RECORDS, call_id

Call = tuple[Record, dict[str, Any]]


def _weights(calls: list[Call]) -> list[Tensor]:
    return [torch.full(record.shape, 7.0) for record, _ in calls]


def _fill(calls: list[Call], weights: list[Tensor]) -> list[Tensor]:
    return [record.function(weight, **arguments) for (record, arguments), weight in zip(calls, weights)]


def _seeded(function: Callable[..., Any], *arguments: Any) -> Any:
    torch.manual_seed(4)
    return function(*arguments)


def _assert_equal(calls: list[Call], ours: list[Tensor], expected: list[Tensor]) -> None:
    for (record, arguments), one, other in zip(calls, ours, expected, strict=True):
        assert torch.equal(one, other), (record.name, arguments)


class Refill(nn.Module):
    """Fills one buffer a call in forward."""

    def __init__(self, calls: list[Call]) -> None:
        super().__init__()
        self.calls = calls
        for index, weight in enumerate(_weights(calls)):
            self.register_buffer(f"weight_{index}", weight)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [weight * x for weight in _fill(self.calls, list(self.buffers()))]


@pytest.mark.slow
def test_compiles_without_graph_breaks_and_draws_eagers_bits() -> None:
    torch.compiler.reset()
    weights = [nn.Parameter(weight) for weight in _weights(CALLS)]
    versions = [weight._version for weight in weights]
    _seeded(torch.compile(lambda weights: _fill(CALLS, weights), fullgraph=True, backend="eager"), weights)
    _assert_equal(CALLS, weights, _seeded(_fill, CALLS, _weights(CALLS)))
    for (record, _), weight, version in zip(CALLS, weights, versions, strict=True):
        assert weight._version > version, record.name
        assert weight.is_leaf, record.name
        assert weight.requires_grad, record.name


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{}, {"a": 3.0, "b": 10.0}], ids=["central", "tail"])
def test_large_trunc_normal_is_compiled_with_eagers_bits(arguments: dict[str, float]) -> None:
    torch.compiler.reset()
    kinds = list(itertools.product(("contiguous", "transposed", "sliced"), (torch.float32, torch.bfloat16)))

    def fill(weights: list[Tensor]) -> list[Tensor]:
        return [torchinit.trunc_normal_(weight, **arguments) for weight in weights]

    eager, compiled = (
        _seeded(function, [LAYOUTS[layout]((600, 900), dtype) for layout, dtype in kinds])
        for function in (fill, torch.compile(fill, fullgraph=True, backend="aot_eager"))
    )
    for kind, one, other in zip(kinds, compiled, eager, strict=True):
        assert torch.equal(one, other), kind


# Initializers that can draw a truncated normal.
TRUNCATED = ("trunc_normal_", "trunc_normal_tf_", "variance_scaling_", "lecun_normal_", "icnr_")
# Initializers of powers and logarithms.
POWERS = ("rotary_inv_freq_", "sinusoidal_", "alibi_slopes_", "log_arange_")
CURRENT = [record for record in RECORDS if record.name == record.current_name]


@pytest.mark.slow
@torch._inductor.config.patch(fallback_random=True)  # torch 2.15's inductor has its own random stream
@pytest.mark.parametrize("record", CURRENT, ids=call_id)
def test_inductor_compiles_without_graph_breaks_and_draws_eagers_bits(record: Record) -> None:
    torch.compiler.reset()
    calls = record.calls + record.unmatched

    def fill(weights: list[Tensor]) -> list[Tensor]:
        return [record.function(weight, **arguments) for weight, arguments in zip(weights, calls)]

    def weights() -> list[Tensor]:
        torch.manual_seed(4)
        return [nn.Parameter(torch.full(record.shape, 7.0)) for _ in calls]

    eager = fill(weights())
    compiled = torch.compile(fill, fullgraph=True)(weights())
    # Inductor has its own erfinv, erfcx and powers. Its expm1 loses digits of small values.
    limit = 4 if record.name in TRUNCATED + POWERS else 0
    limit = 64 if record.name == "inverse_softplus_log_uniform_" else limit
    assert max(ulps(one, other) for one, other in zip(compiled, eager)) <= limit


@pytest.mark.slow
@torch._inductor.config.patch(fallback_random=True)
@pytest.mark.parametrize("arguments", [{}, {"a": 1.0, "b": 3.0}, {"a": 3.0, "b": 10.0}, {"std": 0.02}], ids=call_id)
def test_large_trunc_normal_is_compiled_by_inductor_to_4_ulp(arguments: dict[str, float]) -> None:
    torch.compiler.reset()
    compiled = torch.compile(torchinit.trunc_normal_, fullgraph=True)
    torch.manual_seed(4)
    eager = torchinit.trunc_normal_(torch.empty(300, 1000), **arguments)
    torch.manual_seed(4)
    drawn = compiled(torch.empty(300, 1000), **arguments)
    # Beyond 3 std inductor's erfinv is off by up to 70 ulp, 3e-5 of the std.
    far = eager.abs() > (3.0 * arguments["std"] if "std" in arguments else float("inf"))
    assert ulps(drawn[~far], eager[~far]) <= 4
    assert torch.allclose(drawn[far], eager[far], rtol=0.0, atol=6e-7)


# Strict export is Dynamo's capture, which the tests above have of every call, and the trace of non-strict export.
ONE_EACH = [(record, record.calls[0]) for record in CURRENT]


@pytest.mark.slow
@pytest.mark.parametrize("calls", [ONE_EACH, CALLS], ids=["strict", "non-strict"])
def test_exported_program_refills_its_buffers_with_eagers_bits_even_decomposed_or_from_a_file(
    calls: list[Call],
) -> None:
    x, file, strict = torch.ones(()), io.BytesIO(), calls is ONE_EACH
    program = torch.export.export(Refill(calls), (x,), strict=strict)
    expected = _seeded(_fill, calls, _weights(calls))
    module = program.module()
    _assert_equal(calls, _seeded(module, x), expected)
    _assert_equal(calls, list(module.buffers()), expected)
    if strict:
        _assert_equal(calls, _seeded(program.run_decompositions().module(), x), expected)
    else:
        torch.export.save(program, file)
        file.seek(0)
        _assert_equal(calls, _seeded(torch.export.load(file).module(), x), expected)


class FillAlike(nn.Module):
    """Fills one new tensor of its input's shape a call in forward."""

    def __init__(self, *calls: Call) -> None:
        super().__init__()
        self.calls = list(calls)

    def forward(self, x: Tensor) -> list[Tensor]:
        return _fill(self.calls, [torch.empty_like(x) for _ in self.calls])


# With a fused multiply-add, scaling a unit draw gives the bits of a draw between the bounds.
FUSED = torch.backends.cpu.get_cpu_capability() != "DEFAULT"
AFTER_2_6 = pytest.mark.skipif(
    torch.__version__ < "2.7", reason="torch 2.6 specializes sizes that a fan depends on, and raises other errors"
)


def _row_multiple(record: Record, arguments: dict[str, Any]) -> int:
    """Return the number that the rows of a weight must be a multiple of."""
    if record.name == "icnr_":
        return arguments.get("upscale_factor", 2) ** (len(record.shape) - 2)
    return 4 if record.name == "lstm_bias_" else arguments.get("groups", arguments.get("blocks", 1))


def _sized_calls(record: Record) -> list[Call]:
    """List the first call, those whose arguments are read together with the size, and the tail."""
    calls = record.calls + record.unmatched
    sized = {"mode", "groups", "blocks", "upscale_factor", "fan_in", "is_first"}
    return [(record, call) for call in calls if call is calls[0] or sized & set(call) or call.get("a") == 3.0]


# One initializer a way to use the number of rows: as a size alone, in a fan, a std, a loop, a split or a comparison.
STRICT = ("uniform_", "xavier_normal_", "variance_scaling_", "dirac_", "icnr_", "lstm_bias_", "sparse_", "orthogonal_")


@pytest.mark.slow
@AFTER_2_6
@pytest.mark.parametrize(
    ("record", "strict"),
    [(record, strict) for record in CURRENT for strict in (True, False) if not strict or record.name in STRICT],
    ids=lambda value: call_id(value) if isinstance(value, Record) else "strict" if value else "non-strict",
)
def test_exported_program_fills_any_number_of_rows(record: Record, strict: bool) -> None:
    calls = _sized_calls(record)
    # QR needs to know which side is longer; a split needs equal parts.
    parts = math.lcm(*(_row_multiple(*call) for call in calls))
    rows = parts * torch.export.Dim("rows", min=8 if "orthogonal" in record.name else 2, max=200)
    module = FillAlike(*calls)
    example = torch.ones(12 * parts, *record.shape[1:])
    program = torch.export.export(module, (example,), strict=strict, dynamic_shapes={"x": {0: rows}}).module()
    for size in (12 * parts, 24 * parts, 96 * parts):
        x = torch.ones(size, *record.shape[1:])
        for (_, arguments), drawn, expected in zip(calls, _seeded(program, x), _seeded(module, x), strict=True):
            # A truncated normal with a symbolic std is scaled a second time.
            scaled_later = record.name == "variance_scaling_" and arguments == {"mode": "fan_out"}
            if FUSED and not scaled_later:
                assert torch.equal(drawn, expected), (arguments, size)
            else:
                assert torch.allclose(drawn, expected, rtol=1e-6, atol=0.0), (arguments, size)


@AFTER_2_6
def test_symbolic_fan_draws_eagers_bits_in_64_bits_and_from_16_elements_on() -> None:
    for dtype, size, limit in ((torch.float64, 2, not FUSED), (torch.float32, 2, 1), (torch.float32, 9, not FUSED)):
        for name in ("xavier_uniform_", "xavier_normal_"):
            record = next(record for record in RECORDS if record.name == name)
            module = FillAlike((record, {"gain": 0.7}))
            dynamic = {"x": {0: torch.export.Dim("rows", max=100)}}
            program = torch.export.export(module, (torch.ones(5, 4, dtype=dtype),), dynamic_shapes=dynamic).module()
            x = torch.ones(size, 4, dtype=dtype)
            (expected,), (drawn,) = _seeded(module, x), _seeded(program, x)
            assert (drawn - expected).abs().max() <= limit * torch.finfo(dtype).eps * expected.abs().max()


@AFTER_2_6
def test_negative_gain_is_refused_for_a_symbolic_fan() -> None:
    module = FillAlike((next(record for record in RECORDS if record.name == "xavier_normal_"), {"gain": -0.5}))
    for strict in (True, False):
        dynamic = {"x": {0: torch.export.Dim("rows", max=100)}}
        with pytest.raises(Exception, match=r"xavier_\* expects gain >= 0.0, but found gain -0.5"):
            torch.export.export(module, (torch.ones(5, 4),), dynamic_shapes=dynamic, strict=strict)


@pytest.mark.parametrize("name", ["uniform_", "normal_", "xavier_uniform_", "xavier_normal_"])
def test_number_that_changes_between_compiled_calls_is_checked_and_draws_eagers_bits(name: str) -> None:
    # From the second call on Dynamo treats a float as dynamic.
    torch.compiler.reset()
    function = getattr(torchinit, name)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    two = name in ("uniform_", "normal_")
    for first, second in ((0.0, 1.0), (0.2, 0.7), (0.5, 2.0)):
        arguments = (first, second) if two else (second,)
        torch.manual_seed(4)
        expected = function(torch.empty(8, 9), *arguments)
        torch.manual_seed(4)
        assert torch.equal(compiled(torch.empty(8, 9), *arguments), expected)
    with pytest.raises(RuntimeError):
        compiled(torch.empty(8, 9), *((3.0, -1.0) if two else (-1.0,)))


@AFTER_2_6
def test_override_of_upstreams_function_is_called_under_a_compiler() -> None:
    class Own(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.nn.init.uniform_:
                return 42.0
            return super().__torch_function__(func, types, args, kwargs or {})

    torch.compiler.reset()
    weight = torch.zeros(3).as_subclass(Own)
    assert torchinit.uniform_(weight) == 42.0
    assert torch.compile(torchinit.uniform_, backend="eager")(weight) == 42.0


def test_compiled_sparse_takes_a_matrix_without_columns() -> None:
    torch.compiler.reset()
    compiled = torch.compile(lambda weight: torchinit.sparse_(weight, 0.5), fullgraph=True, backend="aot_eager")
    assert compiled(torch.empty(5, 0)).shape == (5, 0)


@AFTER_2_6
def test_generator_is_refused_under_fullgraph_and_accepted_by_non_strict_export() -> None:
    torch.compiler.reset()
    compiled = torch.compile(torchinit.normal_, fullgraph=True, backend="eager")
    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(torch.empty(20), generator=torch.Generator())

    class Drawing(nn.Module):
        def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
            return torchinit.kaiming_uniform_(x.clone(), generator=generator)

    arguments = (torch.ones(4, 5), torch.Generator().manual_seed(1))
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.export.export(Drawing(), arguments, strict=True)
    # The program keeps the generator of the export and ignores the one it is called with.
    program = torch.export.export(Drawing(), arguments, strict=False).module()
    drawn = program(torch.ones(4, 5), torch.Generator().manual_seed(2))
    assert torch.equal(drawn, Drawing()(torch.ones(4, 5), torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
def test_export_holds_tensor_operators_only(strict: bool) -> None:
    call = next((r, a) for r, a in CALLS if r.name == "kaiming_uniform_")
    program = torch.export.export(Refill([call]), (torch.ones(()),), strict=strict)
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert operators - {"aten.detach.default"} == {"aten.uniform_.default", "aten.mul.Tensor"}


def test_compiled_zero_element_tensor_is_left_alone() -> None:
    torch.compiler.reset()
    for fill, name in itertools.product([torchinit.kaiming_uniform_, torchinit.xavier_normal_], ["eager", "aot_eager"]):
        compiled = torch.compile(lambda weight, fill=fill: fill(weight), fullgraph=True, backend=name)
        assert compiled(torch.empty(0, 3)).shape == (0, 3)


def test_exported_sparse_draws_from_the_generator_that_it_was_traced_with() -> None:
    generator = torch.Generator()

    class Draw(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torchinit.sparse_(torch.empty_like(x), 0.5, generator=generator)

    program = torch.export.export(Draw(), (torch.zeros(9, 6),), strict=False).module()
    generator.manual_seed(1)
    drawn = program(torch.zeros(9, 6))
    expected = torchinit.sparse_(torch.empty(9, 6), 0.5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(drawn, expected)


def test_variance_scaling_compiles_where_the_outputs_depend_on_data() -> None:
    def draw(x: torch.Tensor) -> torch.Tensor:
        return torchinit.variance_scaling_(torch.empty(int(x.sum().item()), 8), 1.0, "fan_in", "normal")

    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        compiled = torch.compile(draw, backend="eager", fullgraph=True)
        assert compiled(torch.tensor([3, 2])).shape == (5, 8)
