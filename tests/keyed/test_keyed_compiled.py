"""Do compiled kernels draw what eager draws, from few compilations, and the same for a whole and its pieces?"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchinit
from torchinit import keyed, recipes
from torchinit._core.compat import FakeTensorMode
from torchinit.keyed import _compiled

# Each kernel compiles for seconds.
pytestmark = pytest.mark.slow

KEY = torch.tensor([42, 2**32 - 3])
SIZE = [300, 301]


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    """Compile all kernels once."""
    with keyed.compiled():
        for shape in ((8,), (300, 301)):
            keyed.uniform_(torch.empty(shape), KEY)
            keyed.normal_(torch.empty(shape), KEY)


def _graphs() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """Fail if the test compiles anything."""
    before = _graphs()
    yield
    assert _graphs() == before


def _both(name: str, shape: list[int], dtype: torch.dtype, *args: Any) -> tuple[Tensor, Tensor]:
    with keyed.compiled():
        drawn = getattr(keyed, name)(torch.empty(shape, dtype=dtype), KEY, *args)
    return drawn, getattr(keyed, name)(torch.empty(shape, dtype=dtype), KEY, *args)


def _ulp(a: Tensor, b: Tensor) -> int:
    return int((a.view(torch.int32) - b.view(torch.int32)).abs().max())


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("shape", [[5], [32, 1024], SIZE, [1100, 1000]])
def test_uniform_values_and_those_computed_from_them_are_those_of_eager(shape: list[int], dtype: torch.dtype) -> None:
    for name, args in (
        ("uniform_", (-0.1, 0.7)),
        ("trunc_normal_", (0.0, 0.02, 0.01, 0.05)),
        ("inverse_softplus_log_uniform_", ()),
    ):
        assert torch.equal(*_both(name, shape, dtype, *args)), name


@pytest.mark.usefixtures("uncompiled")
def test_complex_uniform_values_are_those_of_eager() -> None:
    assert torch.equal(*_both("uniform_", SIZE, torch.complex64))


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("shape", [[5], SIZE, [1100, 1000]])
def test_normal_values_are_within_4_ulp_of_eager(shape: list[int]) -> None:
    assert _ulp(*_both("normal_", shape, torch.float32)) <= 4
    # A deviation that is a power of two is exact.
    assert _ulp(*_both("normal_", shape, torch.float32, 0.0, 0.5)) <= 4


def test_normal_values_come_from_the_kernels() -> None:
    for shape in ([100], SIZE):
        assert not torch.equal(*_both("normal_", shape, torch.float32))


@pytest.mark.usefixtures("uncompiled")
def test_normal_values_of_float64_are_those_of_eager() -> None:
    assert torch.equal(*_both("normal_", SIZE, torch.float64, 1.0, 2.0))


PIECES = [
    ([0, 0], [150, 301]),
    ([7, 0], [293, 301]),
    ([0, 100], [300, 201]),
    ([299, 300], [1, 1]),
    ([8, 3], [2, 7]),
    ([11, 0], [1, 300]),
]


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["normal_", "uniform_", "trunc_normal_"])
@pytest.mark.parametrize(("begin", "shape"), PIECES)
def test_a_piece_has_the_bits_of_its_whole(name: str, begin: list[int], shape: list[int], dtype: torch.dtype) -> None:
    fill = getattr(keyed, name)
    with keyed.compiled():
        # The numbers leave each value a product and a sum to round.
        whole = fill(torch.empty(SIZE, dtype=dtype), KEY, 0.3, 0.7)
        expected = whole[begin[0] : begin[0] + shape[0], begin[1] : begin[1] + shape[1]]
        contiguous = torch.empty(shape, dtype=dtype)
        for piece in (
            contiguous,
            torch.empty(shape[::-1], dtype=dtype).t(),
            torch.empty([*shape, 2], dtype=dtype)[..., 1],
        ):
            assert torch.equal(fill(piece, KEY, 0.3, 0.7, full_size=SIZE, offset=begin), expected)


@pytest.mark.usefixtures("uncompiled")
def test_runs_longer_than_a_tile_have_the_bits_of_their_parts() -> None:
    size = [2**21 + 1003]
    with keyed.compiled():
        whole = keyed.normal_(torch.empty(size), KEY)
        for begin in (1, 2**21 - 2):
            length = size[0] - begin
            assert torch.equal(keyed.normal_(torch.empty(length), KEY, full_size=size, offset=[begin]), whole[begin:])


@pytest.mark.usefixtures("uncompiled")
def test_no_value_beside_a_target_at_an_odd_place_is_written() -> None:
    memory = torch.zeros(40_003)
    with keyed.compiled():
        keyed.uniform_(memory[1:-1], KEY, 1.0, 2.0)
    assert torch.equal(memory[1:-1], keyed.uniform_(torch.empty(40_001), KEY, 1.0, 2.0))
    assert memory[0] == memory[-1] == 0.0
    assert (memory[1:-1] >= 1.0).all()


@pytest.mark.usefixtures("uncompiled")
def test_no_other_size_dtype_or_layout_compiles() -> None:
    with keyed.compiled():
        for shape in ((1,), (64,), (1000, 77), (2**18,), (3, 5, 7)):
            for dtype in (torch.float32, torch.bfloat16):
                keyed.normal_(torch.empty(shape, dtype=dtype), KEY)
                keyed.uniform_(torch.empty(shape, dtype=dtype), KEY)
        keyed.normal_(nn.Linear(200, 200).weight, KEY)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            keyed.normal_(torch.empty(200, 200), KEY)


def test_numbers_beyond_float32_are_as_in_eager() -> None:
    drawn, expected = _both("normal_", [8], torch.float32, 0.0, 1e300)
    assert torch.equal(drawn, expected)
    assert drawn.isinf().all()


def test_the_context_holds_for_its_block_and_thread_alone() -> None:
    from concurrent.futures import ThreadPoolExecutor

    eager = keyed.normal_(torch.empty(100), KEY)
    with keyed.compiled():
        with keyed.compiled():
            pass
        assert not torch.equal(keyed.normal_(torch.empty(100), KEY), eager)
        with ThreadPoolExecutor(1) as pool:
            assert torch.equal(pool.submit(keyed.normal_, torch.empty(100), KEY).result(), eager)
    assert torch.equal(keyed.normal_(torch.empty(100), KEY), eager)


def test_vmap_and_traces_draw_as_without_the_context() -> None:
    keys, expected = keyed.split(KEY, 3), keyed.normal_(torch.empty(3, 8), KEY)
    mapped = torch.func.vmap(keyed.normal_)(torch.empty(3, 8), keys)
    with keyed.compiled():
        assert torch.equal(torch.func.vmap(keyed.normal_)(torch.empty(3, 8), keys), mapped)
        traced = torch.jit.trace(lambda x: keyed.normal_(x, KEY), torch.empty(3, 8), check_trace=False)
        assert keyed.normal_(torch.empty(3, 8, device="meta"), KEY).is_meta
        with FakeTensorMode():
            keyed.normal_(torch.empty(300, 301), torch.zeros(2, dtype=torch.int64))
    assert torch.equal(traced(torch.empty(3, 8)), expected)


def test_a_compiler_traces_through_the_context() -> None:
    def draw(x: Tensor) -> Tensor:
        with keyed.compiled():
            return keyed.uniform_(x, KEY)

    drawn = torch.compile(draw, fullgraph=True, backend="eager")(torch.empty(3, 8))
    assert torch.equal(drawn, keyed.uniform_(torch.empty(3, 8), KEY))


def _fill_compiled(targets: list[Tensor], begin: list[int]) -> None:
    with keyed.compiled():
        for target in targets:
            keyed.normal_(target, KEY, full_size=SIZE, offset=begin)


def test_without_a_compiler_eager_draws_after_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(_compiled, "_FAILED", [])
    monkeypatch.setattr(_compiled, "_kernel", fail)
    # A whole is one run of the stream; of a piece each row is.
    for shape, begin in ((SIZE, [0, 0]), ([300, 300], [0, 1])):
        drawn = [torch.empty(shape), torch.empty(shape)]
        _compiled._FAILED.clear()
        with pytest.warns(UserWarning, match="keyed.compiled.. needs a compiler") as caught:
            _fill_compiled(drawn, begin)
        assert len(caught) == 1
        assert torch.equal(drawn[0], keyed.normal_(torch.empty(shape), KEY, full_size=SIZE, offset=begin))
        assert torch.equal(drawn[0], drawn[1])


def _model() -> nn.Module:
    return nn.Sequential(
        nn.Embedding(500, 128), nn.Linear(128, 300), nn.utils.parametrizations.weight_norm(nn.Linear(300, 200))
    )


@pytest.mark.usefixtures("uncompiled")
def test_recipes_draw_by_compiled_kernels() -> None:
    eager = recipes.torch_default().apply_(_model(), key=KEY)
    drawn = recipes.torch_default().apply_(_model(), key=KEY, compile=True)
    assert not torch.equal(drawn[0].weight, eager[0].weight)
    assert _ulp(drawn[0].weight.detach(), eager[0].weight.detach()) <= 4
    for index in (1, 2):
        assert torch.equal(drawn[index].weight, eager[index].weight)
    with keyed.compiled():
        again = recipes.torch_default().apply_(_model(), key=KEY)
    assert torch.equal(drawn[0].weight, again[0].weight)


@pytest.mark.usefixtures("uncompiled")
def test_recordings_draw_by_compiled_kernels() -> None:
    recording = torchinit.record(lambda: nn.Sequential(nn.Embedding(500, 128), nn.Linear(128, 300)))
    eager, drawn = recording.build(key=KEY), recording.build(key=KEY, compile=True)
    assert not torch.equal(drawn[0].weight, eager[0].weight)
    assert _ulp(drawn[0].weight.detach(), eager[0].weight.detach()) <= 4
    assert torch.equal(drawn[1].weight, eager[1].weight)
    filled = recording.materialize_(nn.Sequential(nn.Embedding(500, 128), nn.Linear(128, 300)), key=KEY, compile=True)
    assert torch.equal(filled[0].weight, drawn[0].weight)


def test_compiling_needs_a_key() -> None:
    layer = nn.Linear(3, 4)
    before = layer.weight.detach().clone()
    with pytest.raises(ValueError, match="draws from a key, got none"):
        recipes.torch_default().apply_(layer, compile=True)
    recording = torchinit.record(lambda: nn.Linear(3, 4))
    for origin in ({}, {"seed": 0}):
        with pytest.raises(ValueError, match="draws from a key, got none"):
            recording.materialize_(layer, compile=True, **origin)
    assert torch.equal(layer.weight, before)
