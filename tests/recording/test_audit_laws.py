"""Does an audit find laws and fans that are not those of the function's name?"""

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchinit
from tests.support.audited import Build, filled, found, lines

# A declared law.


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Tensor:
    """As many libraries have it, with the operators of torch 1."""
    low, high = (math.erf((x - mean) / std / math.sqrt(2.0)) for x in (a, b))
    with torch.no_grad():
        return tensor.uniform_(low, high).erfinv_().mul_(std * math.sqrt(2.0)).add_(mean).clamp_(a, b)


def uniform_(tensor: Tensor, a: float | None = None, b: float = 1.0) -> None:
    """Has another meaning for its default, and changes it."""
    if a is None:
        a = -b
    tensor.uniform_(a, b)


def normalized(tensor: Tensor) -> None:
    """Calls a function that changes its arguments before it draws."""

    def trunc_normal_(tensor: Tensor, mean: float, std: float, a: float, b: float) -> None:
        a, b = (a - mean) / std, (b - mean) / std
        nn.init.trunc_normal_(tensor, mean, std, mean + a * std, mean + b * std)

    trunc_normal_(tensor, 0.0, 0.02, -0.03, 0.03)


def lecun_normal_(tensor: Tensor) -> None:
    """As transformers has it: the bounds are those of torch, which are no multiples of the standard deviation."""
    nn.init.trunc_normal_(tensor, std=math.sqrt(1 / tensor.shape[1]) / 0.87962566103423978)


def lecun_uniform_(tensor: Tensor) -> None:
    """By operators, and too narrow."""
    tensor.uniform_(-math.sqrt(3 / tensor.shape[1]), math.sqrt(3 / tensor.shape[1])).div_(2.0)


class Right:
    """The same functions with the laws of their names."""

    @staticmethod
    def lecun_normal_(tensor: Tensor) -> None:
        std = math.sqrt(1 / tensor.shape[1]) / 0.87962566103423978
        nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)

    @staticmethod
    def lecun_uniform_(tensor: Tensor) -> None:
        tensor.uniform_(-1.0, 1.0).mul_(math.sqrt(3 / tensor.shape[1]))


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> None:
    """By no single operator, and not scaled."""
    q, r = torch.linalg.qr(torch.randn(tensor.shape))
    tensor.copy_(q * r.diagonal().sign())


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> None:
    """Forgets its mean."""
    tensor.normal_(0.0, std)


def ones_(tensor: Tensor) -> None:
    tensor.fill_(0.5)


def zeros_(tensor: Tensor) -> None:
    tensor.normal_(0.0, 0.02)


def xavier_uniform_(tensor: Tensor, slope: float) -> None:
    """Takes an argument that torchinit's has not."""
    tensor.uniform_(-slope, slope)


class Unlike:
    """Functions with the names of torchinit's, whose arguments mean something else."""

    @staticmethod
    def constant_(tensor: Tensor) -> None:
        tensor.fill_(3.0)

    @staticmethod
    def xavier_uniform_(tensor: Tensor) -> None:
        tensor.zero_()

    @staticmethod
    def kaiming_uniform_(tensor: Tensor, mode: str = "fan_avg") -> None:
        tensor.zero_()

    @staticmethod
    def kaiming_normal_(tensor: Tensor) -> None:
        tensor.copy_(TABLE)


TABLE = torch.full((4,), 7.0)
HERE = "of tests.recording.test_audit_laws"


@pytest.mark.parametrize(
    ("fill", "what"),
    [
        (
            lecun_normal_,
            f"lecun_normal_() {HERE} is 1.137 times too wide for its name, since the bounds of its truncation are too far"
            " away to cut anything",
        ),
        (lecun_uniform_, f"lecun_uniform_() {HERE} is 2 times too narrow for its name"),
        (functools.partial(orthogonal_, gain=2.0), f"orthogonal_() {HERE} is 2 times too narrow for its name"),
        (functools.partial(normal_, mean=1.0), f"normal_() {HERE} has the mean 0, not 1"),
        (ones_, f"ones_() {HERE} gives mean 0.5 and std 0, not 1 and 0"),
        (zeros_, f"zeros_() {HERE} gives mean 0 and std 0.02, not 0 and 0"),
    ],
)
def test_another_law_than_the_name_declares_is_found(fill: Callable[[Tensor], Any], what: str) -> None:
    (finding,) = found(lambda: filled(fill, 64, 64))
    assert (finding.kind, finding.tensor, finding.what) == ("law", "weight", what)


@pytest.mark.parametrize("function", [nn.init.trunc_normal_, torchinit.trunc_normal_, trunc_normal_])
def test_a_truncation_that_truncates_nothing_is_found(function: Callable[..., Any]) -> None:
    text = [
        "fault: {0,1}.weight: trunc_normal_(mean=0, std=0.02, a=-2, b=2) truncates nothing, since its bounds are"
        " 100 standard deviations away (here); use normal_(0, 0.02), or bounds that are a few times the standard deviation"
    ]
    part = functools.partial(filled, functools.partial(function, std=0.02), 3, 4)
    assert lines(lambda: nn.Sequential(part(), part())) == text


def test_lines_that_make_one_mistake_are_one_finding() -> None:
    def build() -> nn.Module:
        first = filled(lambda x: nn.init.trunc_normal_(x, std=0.02), 3, 4)
        return nn.Sequential(first, filled(lambda x: nn.init.trunc_normal_(x, std=0.02), 3, 4))

    (line,) = lines(build)
    assert "(here and 1 more)" in line


@pytest.mark.parametrize(
    "fill",
    [
        Right.lecun_normal_,
        normalized,
        functools.partial(uniform_, b=0.1),
        Right.lecun_uniform_,
        orthogonal_,
        functools.partial(normal_, std=0.02),
        trunc_normal_,
        functools.partial(trunc_normal_, std=0.02, a=-0.06, b=0.06),
        functools.partial(nn.init.trunc_normal_, std=0.02, a=-0.06, b=0.06),
        functools.partial(nn.init.trunc_normal_, std=0.02, a=0.0, b=math.inf),
        functools.partial(torchinit.trunc_normal_tf_, std=0.02),
        torchinit.lecun_normal_,
        functools.partial(xavier_uniform_, slope=0.01),
    ],
)
@pytest.mark.parametrize("shape", [(3, 3), (64, 64)])
def test_the_declared_law_is_no_fault(fill: Callable[[Tensor], Any], shape: tuple[int, int]) -> None:
    assert found(lambda: filled(fill, *shape)) == []


@pytest.mark.parametrize(
    ("fill", "shape"),
    [
        (Unlike.constant_, (4,)),
        (Unlike.xavier_uniform_, (4,)),
        (Unlike.kaiming_uniform_, (4, 4)),
        (Unlike.kaiming_normal_, (4, 4)),
        (ones_, (0, 3)),
    ],
)
def test_a_call_whose_law_or_values_are_not_known_is_not_judged(fill: Callable[[Tensor], Any], shape: Any) -> None:
    assert found(lambda: filled(fill, *shape), "law") == []
    assert found(lambda: filled(fill, *shape), "fans") == []


def test_a_call_that_is_overwritten_is_not_judged() -> None:
    def fill(weight: Tensor) -> None:
        nn.init.trunc_normal_(weight, std=0.02)
        nn.init.zeros_(weight)

    assert found(lambda: filled(fill, 3, 4)) == []


# Fans.


class Experts(nn.Module):
    """Has the weights of several experts in one tensor."""

    def __init__(self, one_by_one: bool = False, *shape: int) -> None:
        super().__init__()
        self.one_by_one = one_by_one
        self.weight = nn.Parameter(torch.empty(shape or (8, 16, 32)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in self.weight if self.one_by_one else [self.weight]:
            nn.init.kaiming_uniform_(weight)


class ShortConv(Experts):
    """A convolution by its name."""


def test_the_fans_of_a_convolution_for_experts_are_found() -> None:
    assert lines(lambda: nn.Sequential(Experts(), Experts())) == [
        "fault: {0,1}.weight: kaiming_uniform_() takes its 8 matrices of 16x32 for one convolution, with fan_in 512 and"
        " fan_out 256 (here); fill each matrix by itself: for matrix in weight: kaiming_uniform_(matrix)"
    ]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Experts(True),
        lambda: Experts(False, 1, 8, 16),
        lambda: ShortConv(),
        lambda: nn.Conv1d(4, 8, 3),
        lambda: filled(nn.init.normal_, 8, 16, 32),
        lambda: filled(lambda x: nn.init.kaiming_uniform_(x), 16, 32),
    ],
)
def test_the_fans_of_each_expert_and_of_convolutions_are_no_fault(build: Build) -> None:
    assert found(build) == []


class Attention(nn.Module):
    """Has a projection of some name."""

    def __init__(self, fill: Callable[[Tensor], Any], name: str = "qkv", rows: int = 24) -> None:
        super().__init__()
        self.add_module(name, nn.Linear(8, rows, bias=False))
        self.fill = fill
        self.init_weights()

    def init_weights(self) -> None:
        self.fill(next(self.parameters()))


def test_the_fan_out_of_packed_projections_is_found() -> None:
    assert lines(lambda: Attention(nn.init.xavier_uniform_)) == [
        "fault: qkv.weight: xavier_uniform_() takes its 3 packed matrices for one, with fan_out 24 (here); fill each"
        " block of 8 rows by itself, as weight.chunk(3) gives them"
    ]
    assert [x.kind for x in found(lambda: Attention(functools.partial(nn.init.kaiming_normal_, mode="fan_out")))] == [
        "fans"
    ]


def blocks(weight: Tensor) -> None:
    for block in weight.chunk(3):
        nn.init.xavier_uniform_(block)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Attention(blocks),
        lambda: Attention(nn.init.kaiming_uniform_),
        lambda: Attention(nn.init.xavier_uniform_, name="proj"),
        lambda: Attention(nn.init.xavier_uniform_, rows=8),
        lambda: Attention(nn.init.xavier_uniform_, rows=12),
    ],
)
def test_the_fans_of_each_block_and_of_plain_layers_are_no_fault(build: Build) -> None:
    assert found(build) == []


def test_the_packed_gates_of_a_recurrent_layer_are_found() -> None:
    def build() -> nn.Module:
        layer = nn.LSTM(3, 4)
        nn.init.xavier_uniform_(layer.weight_ih_l0)
        return layer

    (finding,) = found(build)
    assert (finding.kind, finding.tensor) == ("fans", "weight_ih_l0")
    assert finding.what == "xavier_uniform_() takes its 4 packed matrices for one, with fan_out 16"


def test_torchs_packed_projection_is_a_fact() -> None:
    (finding,) = found(lambda: nn.MultiheadAttention(8, 2), "fans")
    assert (finding.severity, finding.tensor) == ("fact", "in_proj_weight")
