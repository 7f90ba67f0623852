"""Does the kernel of a GPU, run by a stand-in for Triton, draw what eager draws?"""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.outcome import ulps
from tests.support.triton_in_torch import Kernel, Language, Pointer
from torchinit import keyed
from torchinit.keyed import _compiled, _gpu_kernel

# The counter carries into its upper 32 bits within a tensor.
KEY = torch.tensor([42, 2**32 - 3])
# Beside small sizes, some that take more than one program.
SIZES = [1, 3, 4, 64, 2047, 2048, 2049, 5000]


@pytest.fixture(autouse=True)
def language(monkeypatch: pytest.MonkeyPatch) -> Language:
    language = Language()
    monkeypatch.setattr(_gpu_kernel, "tl", language)
    monkeypatch.setattr(_gpu_kernel, "libdevice", torch)
    monkeypatch.setattr(_gpu_kernel, "standard_normal", _gpu_kernel._standard_normal)
    monkeypatch.setattr(_gpu_kernel, "_kernel", lambda: Kernel(language, _gpu_kernel._write))
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    return language


def _drawn(
    size: int, normal: bool, first: int = 0, key: Tensor = KEY, dtype: torch.dtype = torch.float32, **how: Any
) -> Tensor:
    out = torch.full((size,), float("nan")).to(dtype)
    affine, finish = how.get("affine", (0.0, 1.0)), how.get("finish")
    assert _compiled._fill_gpu_run_(out, key, normal, first, affine, finish)
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("first", [0, 1, 4, 7, 2**34 + 2])
def test_uniform_values_are_eagers(size: int, first: int) -> None:
    expected = keyed.uniform_(torch.empty(size), KEY, -0.1, 0.7, [first + size], [first])
    assert torch.equal(_drawn(size, False, first, affine=(-0.1, 0.7)), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("first", [0, 3])
def test_normal_values_are_eagers(size: int, first: int) -> None:
    expected = keyed.normal_(torch.empty(size), KEY, 0.3, 0.7, [first + size], [first])
    assert ulps(_drawn(size, True, first, affine=(0.3, 0.7)), expected) <= 4


@pytest.mark.parametrize("words", [[-1, -1], [2**63 - 1, 2**62], [-(2**63), 2**40 + 7], [0, 2**63 - 1]])
def test_words_of_64_bits_are_used_whole(words: list[int]) -> None:
    key = torch.tensor(words)
    for first in (0, 5):
        expected = keyed.uniform_(torch.empty(3000), key, full_size=[first + 3000], offset=[first])
        assert torch.equal(_drawn(3000, False, first, key), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e5m2], ids=str)
@pytest.mark.parametrize("normal", [False, True], ids=["uniform", "normal"])
def test_narrow_values_are_the_float32_ones_rounded_once(dtype: torch.dtype, normal: bool) -> None:
    wide = _drawn(2050, normal, affine=(0.3, 0.7))
    assert torch.equal(_drawn(2050, normal, affine=(0.3, 0.7), dtype=dtype).float(), wide.to(dtype).float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("run", [7, 2048, 1 << 24])
def test_values_are_finished_run_by_run_in_float32(
    dtype: torch.dtype, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compiled, "_RUN", run)
    sizes = []

    def finish(values: Tensor) -> None:
        assert values.dtype == torch.float32
        sizes.append(values.numel())
        values.sub_(0.5).mul_(3.0)

    expected = keyed.uniform_(torch.empty(2100), KEY).sub_(0.5).mul_(3.0)
    assert torch.equal(_drawn(2100, False, finish=finish, dtype=dtype), expected.to(dtype))
    assert max(sizes) == min(run, 2100)
    assert sum(sizes) == 2100


def test_a_key_on_the_gpu_is_read_by_the_kernel(language: Language) -> None:
    out, expected = torch.zeros(2048), keyed.uniform_(torch.empty(2048), KEY, full_size=[2056], offset=[8])
    numbers = (0, 2, 0, 512, 1.0, 0.0)
    _gpu_kernel._write(Pointer(out), Pointer(KEY), Pointer(out), *numbers, False, True, False, True, 512)
    assert torch.equal(out, expected)


def test_blocks_in_any_order_are_drawn() -> None:
    blocks, out = torch.tensor([5, 0, 3, 3, 2**33]), torch.zeros(20)
    _gpu_kernel.write_(out, KEY, False, 0, (0.0, 1.0), blocks)
    for number, values in zip(blocks.tolist(), out.view(5, 4), strict=True):
        expected = keyed.uniform_(torch.empty(4), KEY, full_size=[4 * number + 4], offset=[4 * number])
        assert torch.equal(values, expected)


def test_a_negated_view_is_written_by_way_of_a_scratch() -> None:
    memory = torch.zeros(10, dtype=torch.complex64)
    negated = memory.conj().imag
    assert negated.is_neg()
    assert _compiled._fill_gpu_run_(negated, KEY, False, 0, (0.0, 1.0), None)
    assert torch.equal(negated, keyed.uniform_(torch.empty(10), KEY))


def test_a_write_counts_as_one_for_autograd() -> None:
    weight = nn.Parameter(torch.ones(8))
    loss = (weight * weight).sum()
    assert _compiled._fill_gpu_run_(weight.detach(), KEY, False, 0, (0.0, 1.0), None)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with torch.inference_mode():
        assert torch.equal(_drawn(8, False), keyed.uniform_(torch.empty(8), KEY))


def test_without_triton_eager_draws_after_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'triton'")

    monkeypatch.setattr(_compiled, "_FAILED", [])
    monkeypatch.setattr(_gpu_kernel, "_kernel", fail)
    with pytest.warns(UserWarning, match="draws are made in eager, got ModuleNotFoundError: No module named 'triton'"):
        assert not _compiled._fill_gpu_run_(torch.empty(8), KEY, False, 0, (0.0, 1.0), None)
    assert _compiled._FAILED
