"""Is every keyed initializer a pure function of key and logical index, and otherwise equal to its sibling?"""

import inspect
import itertools
import re
import warnings
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import torchinit
from tests.support import keyed_records
from tests.support.keyed_records import CALLS, REFUSALS, ROWS, KeyedCall
from tests.support.layouts import LAYOUTS
from tests.support.record import Refusal
from tests.support.records import RECORDS, call_id
from torchinit import keyed

# The counter carries into its upper 32 bits within a tensor.
KEY = torch.tensor([42, 2**32 - 3])
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

# FIRST_CALLS: one call an initializer. TAILS: draws from a tail, which take another path.
FIRST_CALLS = [next(call for call in CALLS if call.name == name) for name in ROWS]
TAILS = [call for call in CALLS if call.arguments.get("a") == 3.0]
# The initializers that the others call to draw.
PRIMITIVES = ("uniform_", "normal_", "trunc_normal_", "inverse_softplus_log_uniform_", "sparse_", "orthogonal_")
every_call = pytest.mark.parametrize("call", CALLS, ids=str)


def _filled(call: KeyedCall, shape: tuple[int, ...] = (), dtype: torch.dtype = torch.float32, **piece: Any) -> Tensor:
    return call(torch.full(shape or call.shape, float("nan"), dtype=dtype), KEY, **piece)


def test_every_initializer_that_draws_has_a_keyed_sibling() -> None:
    drawing = {r.name for r in RECORDS if r.takes_generator and r.name == r.current_name}
    assert drawing == set(ROWS) == set(keyed.__all__) - {"key", "split", "fold_in", "compiled"}


@pytest.mark.parametrize("name", list(ROWS))
def test_signature_is_the_siblings_with_a_key_and_a_piece_for_the_generator(name: str) -> None:
    sibling = list(inspect.signature(getattr(torchinit, name)).parameters.values())
    own = list(inspect.signature(getattr(keyed, name)).parameters.values())
    kept = [p for p in sibling[1:] if p.name != "generator"]
    assert [p.name for p in own] == ["tensor", "key", *(p.name for p in kept), "full_size", "offset"]
    assert [p.default for p in own[2:-2]] == [p.default for p in kept]


def test_first_docstring_lines_are_unique() -> None:
    lines = [inspect.getdoc(getattr(keyed, name)).splitlines()[0] for name in keyed.__all__]  # type: ignore[union-attr]
    assert len(set(lines)) == len(lines)


@every_call
def test_returned_is_the_argument_and_no_generator_or_gradient_is_touched(call: KeyedCall) -> None:
    weight = nn.Parameter(torch.empty(call.shape))
    state, version = torch.get_rng_state(), weight._version
    assert call(weight, KEY) is weight
    assert torch.equal(torch.get_rng_state(), state)
    assert weight.grad_fn is None
    assert weight.requires_grad
    assert weight._version > version


@every_call
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_pieces_equal_the_parts_of_the_whole(call: KeyedCall, dtype: torch.dtype) -> None:
    sizes = [call.weight_shape(*size) for size in ((12, 10), (7, 5), (8, 16), (12, 6))]
    for full in filter(call.accepts, sizes):
        whole, rest = _filled(call, full, dtype), full[2:]
        for top, bottom, left, right in (
            (0, 5, 0, full[1]),
            (3, 7, 2, 5),
            (0, full[0], 1, 4),
            (6, 7, 4, 5),
            (2, 2, 0, 3),
        ):
            shape, offset = (bottom - top, right - left, *rest), [top, left] + [0] * len(rest)
            part = _filled(call, shape, dtype, full_size=list(full), offset=offset)
            assert torch.equal(part, whole[top:bottom, left:right]), (full, offset)
    assert call.accepts(sizes[-1])


@every_call
def test_piece_far_into_a_large_tensor_equals_that_part_of_it(call: KeyedCall) -> None:
    # More columns than a chunk of sparse_.
    full, shape = call.weight_shape(600, 300), call.weight_shape(20, 50)
    whole = _filled(call, full)
    part = _filled(call, shape, full_size=list(full), offset=[100, 240, *[0] * len(full[2:])])
    assert torch.equal(part, whole[100:120, 240:290])


@every_call
def test_layout_of_the_target_does_not_matter(call: KeyedCall) -> None:
    expected = _filled(call)
    for name, layout in LAYOUTS.items():
        target = layout(call.shape, torch.float32)
        if not target.is_meta and target.shape == expected.shape and 0 not in target.stride():
            assert torch.equal(call(target, KEY), expected), name


@every_call
def test_sixteen_bit_values_are_the_float32_ones_rounded_once(call: KeyedCall) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(_filled(call, dtype=dtype), _filled(call).to(dtype))


@every_call
def test_values_are_distributed_as_the_siblings(call: KeyedCall) -> None:
    torch.manual_seed(1)
    shape = call.weight_shape(300, 120)
    drawn, reference = _filled(call, shape), call.record.function(torch.empty(shape), **call.arguments)
    assert scipy.stats.ks_2samp(drawn.flatten().numpy(), reference.flatten().numpy()).pvalue > 1e-4
    assert int((drawn == 0).sum()) == int((reference == 0).sum()) or call.name != "sparse_"


@every_call
def test_another_key_or_seed_or_offset_draws_other_values(call: KeyedCall) -> None:
    if (
        call.arguments.get("std") == 0.0
        or call.arguments == {"a": 0.3, "b": 0.3}
        or call.arguments.get("sparsity") == 1.0
    ):
        pytest.skip("every key draws the same value")
    others = [keyed.fold_in(KEY, "a"), keyed.fold_in(KEY, "b"), torch.tensor([43, 2**32 - 3]), torch.tensor([42, 0])]
    values = [_filled(call), *(call(torch.empty(call.shape), key) for key in others)]
    for index, one in enumerate(values):
        assert all(not torch.equal(one, other) for other in values[:index])


@pytest.mark.slow
@pytest.mark.parametrize("call", [*(c for c in FIRST_CALLS if c.name in PRIMITIVES), *TAILS], ids=str)
def test_neither_threads_nor_tiles_matter(call: KeyedCall) -> None:
    # More values than one tile.
    shape, threads, drawn = call.weight_shape(1620, 250), torch.get_num_threads(), []
    try:
        for count in (2, 1):
            torch.set_num_threads(count)
            drawn.append(_filled(call, shape))
        # A piece too small to be tiled.
        offset = [1532, 100, *[0] * len(shape[2:])]
        part = _filled(call, call.weight_shape(8, 60), full_size=list(shape), offset=offset)
    finally:
        torch.set_num_threads(threads)
    if "orthogonal" in call.name:
        # LAPACK's sums depend on the number of threads.
        assert torch.allclose(*drawn, atol=1e-6)
    else:
        assert torch.equal(*drawn)
    assert torch.equal(part, drawn[1][1532:1540, 100:160])


@every_call
def test_an_ensemble_by_vmap_equals_the_loop(call: KeyedCall) -> None:
    keys = keyed.split(KEY, 4)
    loop = torch.stack([call(torch.empty(call.shape), key) for key in keys])
    assert torch.equal(torch.func.vmap(call)(torch.empty(4, *call.shape), keys), loop)
    # Large enough for the path that computes each of the four words in its own tensor.
    large = call.weight_shape(180, 60)
    loop = torch.stack([call(torch.empty(large), key) for key in keys])
    assert torch.equal(torch.func.vmap(call)(torch.empty(4, *large), keys), loop)


class PassThroughMode(TorchDispatchMode):
    """Passes every operator on. Under a dispatch mode no fast path is taken."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@every_call
def test_fast_paths_of_eager_code_change_no_bit(call: KeyedCall) -> None:
    for shape in filter(call.accepts, (call.weight_shape(*size) for size in ((3, 1), (9, 7), (40, 50), (60, 30)))):
        fast = _filled(call, shape)
        with PassThroughMode():
            assert torch.equal(_filled(call, shape), fast)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64], ids=str)
@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_"])
def test_few_values_of_any_number_and_key_have_the_bits_of_operators(name: str, dtype: torch.dtype) -> None:
    if name == "trunc_normal_" and dtype.is_complex:
        pytest.skip("takes no complex tensor")
    fill, sizes = getattr(keyed, name), [1, 2, 3, 4, 5, 95, 96, 97, 191, 192, 193]
    # The last keys' blocks pass 2^63 and 2^64.
    keys = [keyed.fold_in(KEY, "name"), torch.tensor([-7, -2]), torch.tensor([2**62, 2**63 - 2])]
    for key, size in itertools.product(keys, sizes):
        drawn = fill(torch.zeros(size, dtype=dtype), key)
        with PassThroughMode():
            assert torch.equal(fill(torch.zeros(size, dtype=dtype), key), drawn)


@every_call
def test_tensors_without_elements_or_data_are_left_alone(call: KeyedCall) -> None:
    meta = torch.empty(call.shape, device="meta")
    assert call(meta, KEY) is meta
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape = next(shape for shape in (call.weight_shape(0, 7), call.weight_shape(0, 0)) if call.accepts(shape))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        empty = torch.empty(shape)
        assert call(empty, KEY) is empty
        assert [str(w.message) for w in caught if w.filename != keyed_records.__file__] == []
        assert bool(caught) == call.name.startswith("kaiming")
        caught.clear()
        whole = call.weight_shape(24, 7)
        call(torch.empty(0, *whole[1:]), KEY, full_size=list(whole), offset=[24, *[0] * len(whole[1:])])
        assert not caught


@pytest.mark.parametrize("mode", ["meta", "fake"])
@every_call
def test_modes_do_not_matter(call: KeyedCall, mode: str) -> None:
    from torch._subclasses import FakeTensorMode

    if mode == "meta":
        with torch.device("meta"):
            key = keyed.fold_in(keyed.key(5), "name")
            drawn = call(torch.zeros(call.shape, device="cpu"), key)
        assert torch.equal(drawn, call(torch.zeros(call.shape), keyed.fold_in(keyed.key(5), "name")))
    else:
        with FakeTensorMode():
            weight = torch.empty(call.shape)
            assert call(weight, keyed.key(3)) is weight


@pytest.mark.parametrize(("call", "refusal"), REFUSALS, ids=call_id)
def test_refusals_are_the_siblings_word_for_word_and_leave_the_tensor(call: KeyedCall, refusal: Refusal) -> None:
    def said(function: Any) -> tuple[type, str]:
        tensor = refusal.tensor()
        before = tensor.clone()
        with pytest.raises(refusal.error) as caught:
            function(tensor)
        assert torch.equal(tensor, before)
        # Messages of kernels print six digits.
        return type(caught.value), re.sub(r"\d+\.\d+", lambda n: f"{float(n[0]):.6g}", str(caught.value))

    own = said(lambda tensor: call(tensor, KEY))
    assert own == said(lambda tensor: call.record.function(tensor, **refusal.arguments))


@every_call
def test_wrong_key_or_piece_is_refused_before_a_write(call: KeyedCall) -> None:
    weight = torch.full(call.shape, 7.0)
    wrong = [torch.zeros(2), torch.zeros(3, dtype=torch.int64), torch.zeros(2, dtype=torch.int32), keyed.split(KEY)]
    for key in [*wrong, torch.zeros(2, dtype=torch.complex64), torch.zeros(2, dtype=torch.bool)]:
        with pytest.raises(ValueError, match=r"key"):
            call(weight, key)
    shape, rest = list(call.shape), [0] * (len(call.shape) - 2)
    for full_size, offset in (
        ([9], None),
        (shape, [0]),
        (shape, [1, 0, *rest]),
        (None, [0, -1, *rest]),
        ([1, 1, *call.shape[2:]], None),
    ):
        with pytest.raises(ValueError, match=r"full_size"):
            call(weight, KEY, full_size=full_size, offset=offset)
    assert torch.equal(weight, torch.full(call.shape, 7.0))


@every_call
def test_inference_and_expanded_tensors_are_refused_as_by_the_sibling(call: KeyedCall) -> None:
    with torch.inference_mode():
        made = torch.zeros(call.shape)
        assert call(made, KEY) is made
    values = made.clone()
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        call(made, KEY)
    assert torch.equal(made, values)
    if call.arguments.get("std") == 0.0 and "trunc" in call.name:
        pytest.skip("fills all elements with one value, so an expanded tensor is accepted")
    single = torch.full((1, *call.shape[1:]), 7.0)
    with pytest.raises(RuntimeError, match="single memory location"):
        call(single.expand(call.shape), KEY)


@every_call
def test_partitioned_parameter_is_refused_by_name(call: KeyedCall) -> None:
    weight = nn.Parameter(torch.empty(0))
    weight.ds_shape = torch.Size(call.shape)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match=r"ZeRO stage 3 \(DeepSpeed\) has partitioned must be gathered"):
        call(weight, KEY)


@pytest.mark.parametrize(
    "name",
    sorted(
        set(ROWS)
        - {"trunc_normal_", "trunc_normal_tf_", "variance_scaling_", "lecun_normal_", "inverse_softplus_log_uniform_"}
    ),
)
def test_complex_values_are_pairs_of_real_ones(name: str) -> None:
    call = next(call for call in CALLS if call.name == name)
    for dtype in (torch.complex64, torch.complex128):
        shape = call.weight_shape(40, 30)
        whole = call(torch.empty(shape, dtype=dtype), KEY)
        offset = [5, 7] + [0] * len(shape[2:])
        part = call(torch.empty(call.weight_shape(3, 4), dtype=dtype), KEY, full_size=list(shape), offset=offset)
        assert torch.equal(part, whole[5:8, 7:11])
        torch.manual_seed(0)
        reference = call.record.function(torch.empty(shape, dtype=dtype), **call.arguments)
        assert abs(float(whole.abs().std() - reference.abs().std())) < 0.1 * float(reference.abs().mean())
    if name == "normal_":
        real = keyed.normal_(torch.empty(40, 30, 2), KEY, 1.0, 3.0 / 2**0.5)
        made = keyed.normal_(torch.empty(40, 30, dtype=torch.complex64), KEY, 1.0, 3.0)
        assert torch.equal(torch.view_as_real(made), real)


def test_fans_are_those_of_the_whole() -> None:
    part = keyed.xavier_uniform_(torch.empty(2, 3), KEY, full_size=[100, 200])
    assert float(part.abs().max()) <= (6 / 300) ** 0.5
    for mode, fan in (("fan_in", 200 * 9), ("fan_out", 100 * 9)):
        part = keyed.kaiming_normal_(
            torch.empty(50, 200, 3, 3), KEY, 0.0, mode, "relu", [100, 200, 3, 3], [50, 0, 0, 0]
        )
        assert abs(float(part.std()) / (2 / fan) ** 0.5 - 1) < 0.02


def test_names_are_hashed_by_fnv_1a() -> None:
    # From Noll's test suite, http://www.isthe.com/chongo/src/fnv/test_fnv.c
    known = {"": 0xCBF29CE484222325, "a": 0xAF63DC4C8601EC8C, "foobar": 0x85944171F73967E8, "ß": None}
    for name, expected in known.items():
        value = 0xCBF29CE484222325
        for byte in name.encode():
            value = (value ^ byte) * 0x100000001B3 % 2**64
        assert expected in (None, value)
        assert torch.equal(keyed.fold_in(KEY, name), keyed.fold_in(KEY, value))


@pytest.mark.slow
def test_scratch_stays_under_16_mib_for_any_tensor() -> None:
    from tools.bench.measure import peak_extra_bytes

    whole = {"full_size": [2001, 2003], "offset": [1, 2]}
    # The primitives that the others call, and the tail, which takes the most steps.
    chosen = [
        call for call in CALLS if call.name in ("uniform_", "normal_", "sparse_") or call.arguments.get("a") == 3.0
    ]
    for call in [*chosen[:1], *chosen[2:3], *chosen[5:8]]:
        for targets, piece in (([torch.zeros(2000, 2000)], {}), ([torch.zeros(2000, 2000).t()], whole)):
            assert peak_extra_bytes(lambda t, call=call, piece=piece: call(t[0], KEY, **piece), targets) < 2**24, call


# The stream is frozen. Changing any of these values makes another stream, needs another VERSION, and changes every
# keyed model.
GOLDEN = {
    "uniform_": ["0.192589751", "0.946079151", "0.938313311"],
    "normal_": ["-0.589581258", "0.734135028", "0.911507833"],
    "trunc_normal_": ["-0.818355899", "1.445081", "1.39419038"],
    "xavier_uniform_": ["-0.454075031", "0.658902573", "0.647431667"],
    "xavier_normal_": ["-0.251398293", "0.313036228", "0.388668246"],
    "kaiming_uniform_": ["-0.673502112", "0.977310454", "0.96029635"],
    "kaiming_normal_": ["-0.372883928", "0.46430776", "0.576488172"],
    "orthogonal_": ["-0.214162732", "0.556611765", "0.674003719"],
    "sparse_": ["0.000822701469", "0.0101310426", "-0.0115958532"],
    "trunc_normal_tf_": ["-0.818355899", "1.445081", "1.39419038"],
    "variance_scaling_": ["-0.416063219", "0.734698744", "0.708825267"],
    "lecun_uniform_": ["-0.476237911", "0.691062849", "0.679032061"],
    "lecun_normal_": ["-0.416063219", "0.734698744", "0.708825267"],
    "sine_uniform_": ["-0.0224500704", "0.0325770151", "0.0320098783"],
    "block_orthogonal_": ["-0.477537135", "0.353775944", "0.505467483"],
    "delta_orthogonal_": ["0", "-0.535975907", "0"],
    "icnr_": ["-0.215284636", "0.26806821", "-0.338925699"],
    "inverse_softplus_log_uniform_": ["-6.01963265", "-2.5116405", "-2.54879133"],
}


@pytest.mark.parametrize("name", list(ROWS))
def test_values_equal_those_of_every_release(name: str) -> None:
    call = next(call for call in CALLS if call.name == name)
    shape = call.weight_shape(6, 5)
    values = call(torch.empty(shape, dtype=torch.float64), keyed.fold_in(keyed.key(2026), "layer.weight"))
    assert [f"{value:.9g}" for value in values.flatten()[[0, 7, 29]].tolist()] == GOLDEN[name]
    assert keyed.VERSION == 1


def test_sparse_takes_its_values_from_the_first_of_two_keys_and_its_zeros_from_the_second() -> None:
    first, second = keyed.split(KEY, 2)
    expected = keyed.normal_(torch.empty(9, 7), first, 0.0, 0.01)
    least = keyed.uniform_(torch.empty(7, 9), second).argsort(dim=1, stable=True)[:, :4]
    expected.t().scatter_(1, least, 0.0)
    assert torch.equal(keyed.sparse_(torch.empty(9, 7), KEY, 0.4), expected)
