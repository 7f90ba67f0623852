"""Does the description of a recording say in words how a tensor was made?"""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchinit
from tests.support.described_models import Holder
from torchinit.recording._values import Values


def held(make: Callable[[], Tensor]) -> str:
    """Return the words for one tensor."""
    found: dict[str, Any] = json.loads(torchinit.record(lambda: Holder(x=nn.Parameter(make(), False))).to_json())
    words: str = found["tensors"][0]["words"]
    return words


def lecun_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    return tensor.normal_().mul_(gain / tensor.shape[1] ** 0.5)


def test_an_initializer_of_a_library_is_named_with_it() -> None:
    assert held(lambda: lecun_normal_(torch.empty(3, 4))) == "tests lecun_normal_"
    assert held(lambda: lecun_normal_(torch.empty(3, 4), 2.0)) == "tests lecun_normal_(gain=2)"


def xavier_normal_(tensor: Tensor, gain: float = 1.0, more: bool = True) -> Tensor:
    nn.init.normal_(tensor, 0.0, gain)
    return tensor.mul_(0.5) if more else tensor


def test_a_function_of_a_library_that_only_passes_on_has_the_words_of_the_inner_one() -> None:
    assert held(lambda: xavier_normal_(torch.empty(3, 4), 2.0, False)) == "normal_(0, 2)"
    assert held(lambda: xavier_normal_(torch.empty(3, 4), 2.0)) == "tests xavier_normal_(gain=2)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.empty(4).normal_(0, 0.02), "normal_(0, 0.02)"),
        (lambda: torch.empty(4).uniform_(-0.1, 0.1), "uniform_(-0.1, 0.1)"),
        (lambda: torch.randn(4) * 0.02, "normal_(0, 1) * 0.02"),
        (lambda: torch.rand(4) * 4.6 - 6.9, "uniform_(0, 1) * 4.6 - 6.9"),
        (lambda: torch.exp(torch.rand(4) * 2 + 1).clamp(min=1e-4), "uniform_(0, 1) * 2 + 1, exp, clamp(min=0.0001)"),
        (lambda: (torch.rand(4) - 1) * 2, "uniform_(0, 1) - 1, * 2"),
        (lambda: 1 - 2 ** -torch.rand(4), "uniform_(0, 1), -x, 2 ** x, 1 - x"),
        (lambda: (lambda x: x + torch.log(-torch.expm1(-x)))(torch.rand(4)), "uniform_(0, 1), x + log(-expm1(-x))"),
        (lambda: torch.rand(4) * torch.randn(4), "uniform_(0, 1) * normal_(0, 1)"),
        (lambda: (torch.rand(4) + torch.randn(4)) * 2, "uniform_(0, 1) + normal_(0, 1), * 2"),
        (lambda: torch.rand(4) * (torch.randn(4) + 1), "uniform_(0, 1) * (normal_(0, 1) + 1)"),
        (lambda: torch.empty(4).bernoulli_(0.2), "bernoulli_(p=0.2)"),
        (lambda: torch.randint(3, 9, (4,)), "randint(3, 9)"),
        (lambda: torch.arange(1, 9), "arange(1, 9)"),
        (lambda: torch.linspace(0, 1, 4).flip(0), "linspace(0, 1, 4), flip([0])"),
        (lambda: torch.ones(4, 4).triu(1), "fill 1, triu(diagonal=1)"),
        (lambda: torch.arange(4)[:, None] - torch.arange(4)[None], "arange(4) - arange(4)"),
        (lambda: (lambda x: x[:, None] - x[None])(torch.arange(4)), "arange(4), x[..., None] - x"),
        (lambda: (lambda x: x * x)(torch.arange(4)), "arange(4), x * x"),
        (lambda: torch.zeros(4), "zero"),
        (lambda: torch.tensor(2.659), "fill 2.659"),
        (lambda: torch.tensor([0.5, 0.25]), "[0.5, 0.25] from outside torch"),
        (lambda: torch.tensor([0.5] * 8).log(), "8 values from outside torch, log"),
        (lambda: torch.rand(4).bfloat16(), "uniform_(0, 1), to bfloat16"),
        (lambda: torch.rand(2, 3)[:, 1].clone(), "uniform_(0, 1), x[:, 1]"),
        (lambda: torch.zeros_like(torch.rand(4)), "zero"),
        (lambda: torch.randn(4, generator=torch.Generator().manual_seed(3)), "normal_(0, 1) from seed 3"),
        (lambda: nn.init.normal_(torch.empty(4)) * 2, "normal_(0, 1) * 2"),
        (lambda: nn.init.kaiming_normal_(torch.empty(4, 4), mode="fan_out"), "kaiming_normal_(mode=fan_out)"),
        (lambda: nn.init.trunc_normal_(torch.empty(4), std=0.02), "trunc_normal_(std=0.02)"),
        (lambda: nn.init.dirac_(torch.empty(4, 4, 3)), "dirac_"),
        (lambda: torch.linalg.qr(torch.randn(4, 4))[0].contiguous(), "normal_(0, 1), linalg_qr[0]"),
    ],
)
def test_words_of_a_computation(make: Callable[[], Tensor], words: str) -> None:
    assert held(make) == words


def sparse_(tensor: Tensor) -> Tensor:
    tensor[0].zero_()
    return tensor


def test_an_initializer_that_leaves_some_values_follows_them() -> None:
    assert held(lambda: sparse_(torch.randn(3, 4))) == "normal_(0, 1), tests sparse_"
    assert held(lambda: sparse_(torch.empty(3, 4))) == "tests sparse_"


def normal_(tensor: Tensor) -> Tensor:
    return tensor.mul_(0.5)


def test_an_initializer_that_reads_what_it_fills_follows_it() -> None:
    assert held(lambda: normal_(torch.rand(3, 4))) == "uniform_(0, 1), tests normal_"


def zeros_() -> Tensor:
    return torch.ones(3)


def test_a_function_of_an_initializers_name_that_fills_no_argument_is_none() -> None:
    assert held(zeros_) == "fill 1"


def zeroed(tensor: Tensor, index: Any) -> Tensor:
    tensor[index] = 0
    return tensor


def parted(count: int) -> Tensor:
    tensor = torch.empty(2 * count, 4)
    for part in tensor.chunk(count):
        part.normal_()
    return tensor


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: zeroed(torch.randn(3, 4), 1), "normal_(0, 1), row 1 zero"),
        (lambda: zeroed(torch.randn(3, 4), (slice(None), 1)), "normal_(0, 1), [:, 1] zero"),
        (lambda: zeroed(torch.randn(3, 4), (slice(0, None, 2), slice(1, 3))), "normal_(0, 1), [::2, 1:3] zero"),
        (lambda: zeroed(torch.randn(3, 4).view(-1), slice(4, 8)).view(3, 4), "normal_(0, 1), row 1 zero"),
        (lambda: zeroed(torch.randn(3, 4).view(-1), slice(3, 6)).view(3, 4), "normal_(0, 1), in part zero"),
        (lambda: zeroed(torch.randn(3, 4).view(-1), slice(8, None)).view(3, 4), "normal_(0, 1), row 2 zero"),
        (lambda: zeroed(torch.randn(4, 4).view(-1), slice(4, 12)).view(4, 4), "normal_(0, 1), [1:3] zero"),
        (lambda: zeroed(torch.randn(4), 2), "normal_(0, 1), [2] zero"),
        (lambda: zeroed(torch.randn(3, 4), 0).clone() * 2, "(normal_(0, 1), row 0 zero) * 2"),
        (lambda: zeroed(torch.randn(3, 4), 0).mul_(2), "normal_(0, 1), row 0 zero, * 2"),
        (lambda: parted(3), "[0:2] normal_(0, 1), [2:4] normal_(0, 1), [4:] normal_(0, 1)"),
        (lambda: parted(8), "[0:2] to [14:] normal_(0, 1)"),
        (lambda: torch.cat([torch.randn(1, 4), torch.rand(2, 4)]), "cat([normal_(0, 1), uniform_(0, 1)])"),
    ],
)
def test_words_of_parts(make: Callable[[], Tensor], words: str) -> None:
    assert held(make) == words


def test_a_chain_too_long_to_read_is_counted() -> None:
    def make() -> Tensor:
        x = torch.randn(4)
        for _ in range(200):
            x = x.mul(1.01).sin()
        return x

    assert held(make) == "400 operators on normal_(0, 1)"


def test_an_expression_too_long_to_read_is_counted() -> None:
    assert held(lambda: torch.cat([torch.randn(1) for _ in range(40)]).exp()) == "2 operators on normal_(0, 1)"


def test_many_parts_with_different_draws_are_counted() -> None:
    def make() -> Tensor:
        tensor = torch.empty(60, 4)
        for row in range(60):
            tensor[row].normal_(0, row + 1)
        return tensor

    assert held(make) == "60 kinds of draws, in parts"


def test_many_rows_are_a_table() -> None:
    def make() -> Tensor:
        table = torch.empty(200, 4)
        for row in range(200):
            table[row] = row
        return table

    assert held(make) == "table of 800 values"
    program = torchinit.record(lambda: Holder(x=make())).program
    assert len(Values(program).of(program.entries[0]).inputs) < 100


def test_a_number_in_the_shape_and_dtype_of_another_tensor_is_named() -> None:
    assert held(lambda: torch.rand(4).new_full((2, 3), 0.5)) == "fill 0.5"
    assert held(lambda: torch.full_like(torch.rand(4), 0.5)) == "fill 0.5"
