"""Does every keyed initializer draw eager's values scripted, saved, mobile, compiled, exported and packaged?"""

import io
import itertools
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.jit.mobile import _load_for_lite_interpreter

from jit_tests.scripting import last_line, rounded, run_quietly
from tests.support.keyed_records import CALLS, REFUSALS, ROWS, KeyedCall
from tests.support.outcome import ulps
from tests.support.philox_operator import philox_as_one_operator
from tests.support.record import Refusal
from tests.support.records import call_id
from tools.codegen.deployed import PREFIX
from torchinit import keyed
from torchinit.deploy import bundle, mobile_bundle

pytestmark = pytest.mark.slow

KEY = torch.tensor([42, 2**32 - 3])
# Besides the record's shape: many Philox blocks, and more than one tile.
SIZES = ((180, 160), (1000, 500))
NAMES = ("layer.0.weight", "größe", "")

every_call = pytest.mark.parametrize("call", CALLS, ids=str)
# One call of each initializer, and the tail.
SOME = [next(call for call in CALLS if call.name == name) for name in ROWS]
SOME += [call for call in CALLS if call.arguments.get("a") == 3.0]


def _positional(call: KeyedCall, piece: dict[str, Any]) -> list[Any]:
    """List every argument after tensor and key: the mobile interpreter takes no keywords."""
    given = {**call.arguments, **piece}
    defaults = {"None": None}
    return [
        given[a.name] if a.name in given else defaults.get(str(a.default), eval(a.python_default or "None"))
        for a in ROWS[call.name].arguments[2:]
    ]


@pytest.fixture(scope="module")
def deployed() -> dict[str, Any]:
    loaded = run_quietly(torch.jit.load, io.BytesIO(bundle().save_to_buffer()))
    mobile = run_quietly(mobile_bundle()._save_to_buffer_for_lite_interpreter)
    return {"loaded": loaded, "mobile": run_quietly(_load_for_lite_interpreter, io.BytesIO(mobile))}


@pytest.mark.parametrize("name", list(ROWS))
def test_schema_equals_the_row(name: str) -> None:
    assert str(run_quietly(torch.jit.script, getattr(keyed, name)).schema) == ROWS[name].schema


@every_call
def test_scripted_loaded_and_mobile_values_are_the_eager_ones(call: KeyedCall, deployed: dict[str, Any]) -> None:
    scripted = run_quietly(torch.jit.script, call.function)
    method = f"{PREFIX}{call.name}"
    sizes = [call.weight_shape(*size) for size in SIZES if call in SOME]
    for shape, dtype in itertools.product((call.shape, *sizes), (torch.float32, torch.bfloat16, torch.float64)):
        weight = torch.empty(shape, dtype=dtype)
        for piece in ({}, call.piece()) if shape == call.shape else ({},):
            expected, arguments = call(weight.clone(), KEY, **piece), _positional(call, piece)
            for _ in range(3 if shape == call.shape else 1):  # later runs use the optimised graph
                assert torch.equal(scripted(weight.clone(), KEY, *arguments), expected)
                assert torch.equal(getattr(deployed["loaded"], method)(weight.clone(), KEY, *arguments), expected)
                assert torch.equal(deployed["mobile"].run_method(method, weight.clone(), KEY, *arguments), expected)


@pytest.mark.parametrize("how", ["loaded", "mobile"])
def test_derived_keys_equal_the_eager_ones(how: str, deployed: dict[str, Any]) -> None:
    module = deployed[how]

    def run(name: str, *arguments: Any) -> Tensor:
        return module.run_method(name, *arguments) if how == "mobile" else getattr(module, name)(*arguments)

    assert torch.equal(run("key", -5), keyed.key(-5))
    assert torch.equal(run("split", KEY, 3), keyed.split(KEY, 3))
    assert torch.equal(run("fold_in", KEY, 2**62), keyed.fold_in(KEY, 2**62))
    for name in NAMES:
        assert torch.equal(run("fold_in_name", KEY, name), keyed.fold_in(KEY, name))


@pytest.mark.parametrize(("call", "refusal"), REFUSALS, ids=call_id)
def test_scripted_message_is_the_eager_one(call: KeyedCall, refusal: Refusal) -> None:
    if not refusal.scripts:
        pytest.skip("TorchScript does not accept the argument's type")
    scripted, tensor = run_quietly(torch.jit.script, call.function), refusal.tensor()
    with pytest.raises(refusal.error) as eager:
        call(refusal.tensor(), KEY)
    with pytest.raises(torch.jit.Error) as caught:
        scripted(tensor, KEY, **refusal.arguments)
    assert rounded(last_line(caught.value)) == rounded(str(eager.value))
    assert torch.equal(tensor, refusal.tensor())


def test_scripted_message_about_keys_and_pieces_is_the_eager_one() -> None:
    scripted = run_quietly(torch.jit.script, keyed.uniform_)
    for key, piece in (
        (torch.zeros(2), {}),
        (torch.zeros(2, dtype=torch.int32), {}),
        (torch.zeros(3, dtype=torch.int64), {}),
        (keyed.split(KEY), {}),
        (KEY, {"full_size": [3]}),
        (KEY, {"full_size": [3, 3], "offset": [2, 2]}),
    ):
        with pytest.raises(ValueError, match=r".") as eager:
            keyed.uniform_(torch.zeros(2, 2), key, **piece)
        with pytest.raises(torch.jit.Error) as caught:
            scripted(torch.zeros(2, 2), key, 0.0, 1.0, **piece)
        assert last_line(caught.value) == str(eager.value)


class Buffers(nn.Module):
    """Fills one buffer a call from the key it is called with."""

    def __init__(self, calls: list[KeyedCall]) -> None:
        super().__init__()
        self.calls, self.pieces = calls, [_piece(call) for call in calls]
        for index, call in enumerate(calls):
            self.register_buffer(f"weight_{index}", torch.zeros(call.shape))

    def forward(self, key: Tensor) -> list[Tensor]:
        filled = zip(self.calls, self.pieces, self.buffers())
        return [call(weight, key, **piece).clone() for call, piece, weight in filled]


def _piece(call: KeyedCall) -> dict[str, Any]:
    """Return the arguments of a piece for every second call."""
    return call.piece() if SOME.index(call) % 2 else {}


def _check_program(program: torch.export.ExportedProgram, calls: list[KeyedCall]) -> None:
    for call, drawn, expected in zip(calls, program.module()(KEY), Buffers(calls)(KEY), strict=True):
        assert torch.equal(drawn, expected), call
    called = [n.target for n in program.graph.nodes if isinstance(n.target, torch._ops.OpOverload)]
    assert called
    assert not [op for op in called if torch.Tag.nondeterministic_seeded in op.tags]


# Philox is one operator in the following: its rounds, which are the same for all, take most of the time to trace.
# jit_tests/test_philox.py and test_keyed_dynamic.py trace and compile them.


def test_exported_values_are_the_eager_ones_and_no_operator_is_random() -> None:
    # strict=True also traces as torch.compile(fullgraph=True) does.
    with philox_as_one_operator():
        exported = torch.export.export(Buffers(SOME), (KEY,), strict=True)
    _check_program(exported, SOME)


# Between them: uniform and normal draws, QR, sort and scatter, sub-pixels, and the tail.
VARIOUS = [call for call in SOME if call.name in ("orthogonal_", "sparse_", "icnr_") or call.arguments.get("b") == 10.0]


def test_decomposed_values_are_the_eager_ones_and_no_operator_is_random() -> None:
    with philox_as_one_operator():
        exported = torch.export.export(Buffers(VARIOUS), (KEY,), strict=False)
        decomposed = exported.run_decompositions()
    _check_program(exported, VARIOUS)
    _check_program(decomposed, VARIOUS)


def test_an_exported_conjugate_view_is_filled_as_in_eager() -> None:
    class Conjugate(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.view_as_real(keyed.uniform_(torch.empty_like(x).conj(), KEY).resolve_conj())

    x = torch.zeros(2, 2, dtype=torch.complex64)
    with philox_as_one_operator():
        exported = torch.export.export(Conjugate(), (x,), strict=False)
    assert torch.equal(exported.module()(x), Conjugate()(x))


def test_compiled_values_are_the_eager_ones() -> None:
    torch._dynamo.reset()
    with philox_as_one_operator():
        compiled = torch.compile(Buffers(VARIOUS), fullgraph=True, backend="aot_eager")(KEY)
    for call, drawn, expected in zip(VARIOUS, compiled, Buffers(VARIOUS)(KEY), strict=True):
        assert torch.equal(drawn, expected), call


@pytest.mark.parametrize("call", [call for call in SOME if call.name == "kaiming_uniform_"], ids=str)
def test_sizes_may_be_symbolic(call: KeyedCall) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager", dynamic=True)
    for shape in ((6, 5), (4, 9), (11, 8)):
        with philox_as_one_operator():
            drawn = compiled(torch.empty(shape), KEY)
        assert torch.equal(drawn, call(torch.empty(shape), KEY))


def test_inductor_draws_uniform_values_exactly_and_others_within_4_ulp() -> None:
    chosen = [call for call in SOME if call.name in ("kaiming_uniform_", "normal_", "trunc_normal_", "sparse_")]

    def draw(weight: Tensor, key: Tensor) -> list[Tensor]:
        keys = keyed.split(key, len(chosen))
        return [call(torch.empty_like(weight), keys[index]) for index, call in enumerate(chosen)]

    torch._dynamo.reset()
    weight = torch.empty(37, 11)
    with philox_as_one_operator():
        compiled = torch.compile(draw, fullgraph=True)(weight, KEY)
    for call, made, expected in zip(chosen, compiled, draw(weight, KEY)):
        if call.name == "kaiming_uniform_":
            assert torch.equal(made, expected)
        else:
            assert ulps(made, expected) <= (4 if call.arguments.get("a") != 3.0 else 70), call


def test_traced_function_draws_from_the_key_it_is_called_with() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(
            lambda w, k: keyed.normal_(w.clone(), keyed.fold_in(k, "name")), (torch.zeros(300, 400), KEY)
        )
    other = keyed.key(3)
    assert torch.equal(
        traced(torch.zeros(300, 400), other), keyed.normal_(torch.empty(300, 400), keyed.fold_in(other, "name"))
    )


@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_"])
def test_draw_is_inlined_once_for_real_and_once_for_complex_tensors(name: str) -> None:
    # Each more of them adds as much again to the first two calls, which take up to a second.
    graph = torch.jit.script(getattr(keyed, name)).inlined_graph
    assert len(graph.findAllNodes("aten::flip")) == 2
