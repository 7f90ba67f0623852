"""Do the kernels of ``keyed.compiled()`` draw eager's values on a GPU, whole and in pieces, without a wait?"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchinit
from tests.support.gpu import DEVICE, ON_GPU, blank
from tests.support.outcome import ulps
from tools.bench.measure import peak_extra_bytes, waits_for_gpu
from torchinit import keyed, recipes
from torchinit.keyed import _compiled

KEY = torch.tensor([42, 2**32 - 3])
# Beside small sizes, one of two runs and a part: a GPU finishes at most 2^24 values at once.
SIZES = [1, 63, 64, 257, 32768, 300_000, *([(2 << 24) + 5] if ON_GPU else [])]
UNIFORM: dict[str, dict[str, Any]] = {
    "uniform_": {"a": -0.1, "b": 0.7},
    "kaiming_uniform_": {},
    "xavier_uniform_": {},
    "trunc_normal_": {"mean": 0.1, "std": 0.3, "a": -0.2, "b": 0.9},
    "inverse_softplus_log_uniform_": {},
}
NORMAL: dict[str, dict[str, Any]] = {"normal_": {"mean": 0.3, "std": 0.7}, "kaiming_normal_": {}, "xavier_normal_": {}}


@pytest.fixture(scope="module", autouse=True)
def kernels() -> Iterator[None]:
    """Fail if nothing can be compiled: then eager would be compared with itself."""
    yield
    assert _compiled._FAILED == []


def _drawn(name: str, target: Tensor, key: Tensor = KEY, **arguments: Any) -> Tensor:
    with keyed.compiled():
        return getattr(keyed, name)(target, key, **arguments)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_uniform_values_are_eagers(size: int, dtype: torch.dtype) -> None:
    for arguments in ({}, UNIFORM["uniform_"]):
        expected = keyed.uniform_(blank((size,), dtype), KEY, **arguments)
        assert torch.equal(_drawn("uniform_", blank((size,), dtype), **arguments), expected), arguments


@pytest.mark.parametrize("size", SIZES)
def test_normal_values_are_eagers_within_4_ulp(size: int) -> None:
    expected = keyed.normal_(blank((size,)), KEY)
    assert ulps(_drawn("normal_", blank((size,))), expected) <= 4


@pytest.mark.parametrize("name", UNIFORM)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float8_e5m2], ids=str)
def test_values_computed_from_uniform_ones_are_eagers(name: str, dtype: torch.dtype) -> None:
    target, other = (torch.zeros(300, 301, device=DEVICE).to(dtype) for _ in range(2))
    expected = getattr(keyed, name)(target, KEY, **UNIFORM[name])
    assert torch.equal(_drawn(name, other, **UNIFORM[name]).float(), expected.float())


@pytest.mark.parametrize("name", [*UNIFORM, *NORMAL])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_piece_has_the_bits_of_its_whole(name: str, dtype: torch.dtype) -> None:
    size, arguments = (300, 301), {**UNIFORM, **NORMAL}[name]
    whole = _drawn(name, blank(size, dtype), **arguments)
    for (top, left), shape in (
        ((0, 0), (150, 301)),
        ((7, 0), (293, 301)),
        ((0, 100), (300, 201)),
        ((299, 300), (1, 1)),
    ):
        expected = whole[top : top + shape[0], left : left + shape[1]]
        for target in (blank(shape, dtype), blank(shape[::-1], dtype).t()):
            piece = _drawn(name, target, full_size=list(size), offset=[top, left], **arguments)
            assert torch.equal(piece, expected), (top, left)


@pytest.mark.parametrize("name", [*UNIFORM, *NORMAL])
def test_sixteen_bit_values_are_the_float32_ones_rounded_once(name: str) -> None:
    arguments = {**UNIFORM, **NORMAL}[name]
    wide = _drawn(name, blank((300, 301)), **arguments)
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(_drawn(name, blank((300, 301), dtype), **arguments), wide.to(dtype))


@pytest.mark.parametrize("name", [*UNIFORM, *NORMAL])
def test_the_device_of_the_key_does_not_matter(name: str) -> None:
    for shape in ((5, 7), (300, 301)):
        expected = _drawn(name, blank(shape))
        assert torch.equal(_drawn(name, blank(shape), KEY.to(DEVICE)), expected)


def test_words_of_64_bits_are_used_whole() -> None:
    for words in ([-1, -1], [2**63 - 1, 2**62], [-(2**63), 2**40 + 7]):
        key = torch.tensor(words)
        assert torch.equal(_drawn("uniform_", blank((300, 301)), key), keyed.uniform_(blank((300, 301)), key)), words


def test_no_value_beside_the_target_is_written() -> None:
    for size in (1, 5, 1000, 70_001):
        memory = torch.zeros(size + 6, device=DEVICE)
        _drawn("uniform_", memory[3:-3], a=1.0, b=2.0)
        _drawn("normal_", memory[3:-3], mean=9.0)
        assert int(memory.count_nonzero()) == size
        assert not memory[:3].any()
        assert not memory[-3:].any()


@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_"])
def test_a_draw_with_a_key_on_the_device_does_not_wait(name: str) -> None:
    key = KEY.to(DEVICE)
    for shape in ((5, 7), (300, 301)):
        assert not waits_for_gpu(lambda targets: _drawn(name, targets[0], key), [_drawn(name, blank(shape), key)])


@pytest.mark.skipif(not ON_GPU, reason="the memory of a GPU")
@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_"])
def test_scratch_does_not_grow_with_the_tensor(name: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        small, large = (
            peak_extra_bytes(lambda targets: _drawn(name, targets[0]), [_drawn(name, blank(shape, dtype))])
            for shape in ((4096, 4096), (16384, 4096))
        )
        assert large <= small + 2**21


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(500, 64)
        self.layers = nn.Sequential(nn.Linear(64, 700), nn.GELU(), nn.Linear(700, 64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_models_have_eagers_parameters(dtype: torch.dtype) -> None:
    recording = torchinit.record(_Net)
    for fill in (recipes.torch_default().apply_, recording.materialize_):
        expected = fill(_Net().to(DEVICE, dtype), key=KEY)
        model = fill(_Net().to(DEVICE, dtype), key=KEY, compile=True)
        for name, values in model.named_parameters():
            # Only the embedding is normal.
            if name == "words.weight":
                assert ulps(values, expected.get_parameter(name)) <= 4
            else:
                assert torch.equal(values, expected.get_parameter(name)), name
