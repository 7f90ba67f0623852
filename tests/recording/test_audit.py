"""Does an audit find each kind of fault, and none in a healthy twin or in torch's own layers?"""

import copy
import functools
import inspect
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from transformers import GPT2Config, GPT2LMHeadModel

import torchinit
from torchinit.recording import Finding, Recording
from torchinit.recording._findings import grouped, listed

Build = Callable[[], nn.Module]


def found(build: Build, kind: str | None = None, again: Build | None = None) -> list[Finding]:
    """Return what an audit finds, of one kind, or all faults."""
    findings = torchinit.record(build).audit(None if again is None else torchinit.record(again))
    return [x for x in findings if (x.severity == "fault" if kind is None else x.kind == kind)]


def lines(build: Build, kind: str | None = None) -> list[str]:
    """Return the findings as printed, with ``here`` for the lines of this file."""
    place = re.compile(r"\(tests/recording/test_audit\.py:\d+( and \d+ more)?\)")
    return [place.sub(r"(here\1)", str(finding)) for finding in found(build, kind)]


def line_of(text: str) -> str:
    """Return the place of the one line of this file that ends with a mark."""
    lines = Path(__file__).read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if line.endswith(f"# {text}")]
    return f"{__file__}:{number}"


class Part(nn.Module):
    """A module with one parameter, which a function makes, and a method that restores it unless there is none."""

    def __init__(self, make: Callable[[], Tensor]) -> None:
        super().__init__()
        self.make = make
        self.weight = nn.Parameter(make())

    def reset_parameters(self) -> None:
        self.weight.copy_(self.make())


# Nothing writes it.


def empty() -> Tensor:
    return torch.empty(4, 3)  # the memory


def partly() -> Tensor:
    weight = torch.empty(6, 2)
    nn.init.normal_(weight[:4])
    return weight


def test_a_tensor_that_nothing_writes_is_found() -> None:
    (finding,) = found(lambda: Part(empty))
    assert (finding.kind, finding.place) == ("unwritten", line_of("the memory"))
    assert lines(lambda: Part(empty)) == [
        "fault: weight: nothing writes it, so it holds memory as it came (here); fill it where it is made"
    ]


def test_rows_that_nothing_writes_are_found() -> None:
    assert lines(lambda: Part(partly)) == [
        "fault: weight: nothing writes 4 of its 12 values, which are memory as it came (here); fill it where it is made"
    ]


def test_a_tensor_computed_from_memory_as_it_came_is_found() -> None:
    assert lines(lambda: Part(lambda: torch.empty(4, 3) * 0.02)) == [
        "fault: weight: it is computed from memory as it came, which nothing had written (here); fill it where it is made"
    ]


def in_parts() -> Tensor:
    weight = torch.empty(6, 2)
    nn.init.normal_(weight[:4])
    weight[4:] = 0
    return weight


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(4, 3),
        lambda: torch.zeros_like(torch.empty(4, 3)),
        lambda: torch.empty(4, 3).new_zeros(2),
        lambda: torch.empty(4, 3).fill_(2.0) * 0.02,
        lambda: torch.arange(6.0, out=torch.empty(6)),
        lambda: torch.empty(0, 3),
        in_parts,
    ],
)
def test_a_tensor_with_values_is_not_unwritten(make: Callable[[], Tensor]) -> None:
    assert found(lambda: Part(make)) == []


def test_the_tensors_of_a_model_that_was_there_are_not_unwritten() -> None:
    model = nn.Linear(3, 4)
    recording = torchinit.record(lambda: nn.init.zeros_(model.bias), model=model)
    assert recording.audit() == []


# to_empty() loses it.


class Rotary(nn.Module):
    """Has a table that is no part of its state."""

    def __init__(self, restores: bool = False) -> None:
        super().__init__()
        self.restores = restores
        self.register_buffer("inv_freq", self.frequencies(), persistent=False)

    def frequencies(self) -> Tensor:
        return 10000.0 ** -(torch.arange(0, 8, 2) / 8)

    def init_weights(self) -> None:
        if self.restores:
            self.inv_freq.copy_(self.frequencies())


def test_a_buffer_that_to_empty_loses_is_found() -> None:
    assert lines(lambda: nn.Sequential(Rotary(), nn.Linear(4, 4), Rotary())) == [
        "fault: {0,2}.inv_freq: to_empty() loses it, and no method of the model restores it (here);"
        " fill it in reset_parameters(), and call that from the constructor"
    ]


class WithTemplate(nn.Module):
    """Restores the buffers of its parts as transformers does."""

    def __init__(self) -> None:
        super().__init__()
        self.rotary = Rotary()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, Rotary):
            module.inv_freq.copy_(module.frequencies())


@pytest.mark.parametrize("build", [lambda: Rotary(restores=True), WithTemplate])
def test_a_buffer_that_the_model_restores_is_not_found(build: Build) -> None:
    assert found(build) == []


class Mask(nn.Module):
    """Resets its mask to another one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(4, 4).tril())

    def reset_parameters(self) -> None:
        self.mask.fill_(1.0)


def test_a_buffer_that_is_restored_with_other_values_is_found() -> None:
    assert lines(Mask) == [
        "fault: mask: the model's own reset gives it other values than its constructor (here);"
        " fill it in reset_parameters(), and call that from the constructor"
    ]


class Refuses(Rotary):
    """Raises in its reset."""

    def init_weights(self) -> None:
        super().init_weights()
        raise RuntimeError("no")


def test_a_reset_that_fails_counts_up_to_there() -> None:
    assert found(lambda: Refuses(restores=True)) == []
    assert [x.kind for x in found(lambda: Refuses(restores=False))] == ["lost"]


def test_a_parametrized_weight_is_lost() -> None:
    names = "parametrizations.weight.original0, parametrizations.weight.original1"
    findings = found(lambda: parametrizations.weight_norm(nn.Linear(3, 4)), "lost")
    assert ", ".join(finding.tensor for finding in findings) == names


def test_without_the_module_what_to_empty_loses_is_not_looked_for() -> None:
    assert Recording(torchinit.record(Rotary).program).audit() == []


# Draws that are thrown away.


def redrawn() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4, bias=False))
    for layer in model:
        nn.init.normal_(layer.weight)  # the second draw
    return model


def test_draws_that_are_overwritten_are_found_with_their_share() -> None:
    (finding,) = found(redrawn, "overwritten")
    assert finding.place == line_of("the second draw")
    # 64 of 64 + 8 + 64.
    assert lines(redrawn, "overwritten") == [
        "fact: {0..1}.weight: 64 values are drawn and thrown away, 47.1 % of all that are drawn (here); build the layers"
        " with torch.nn.utils.skip_init, or fill the model by key, which draws only what stays"
    ]


def test_draws_for_no_tensor_of_the_model_are_found() -> None:
    def build() -> nn.Module:
        nn.Linear(3, 3, bias=False)  # the lost layer
        return nn.Linear(9, 1, bias=False)

    (finding,) = found(build, "overwritten")
    assert finding.place == line_of("the lost layer")
    assert (finding.tensor, finding.what) == (
        "no tensor of the model",
        "9 values are drawn and thrown away, 50 % of all that are drawn",
    )


def test_small_shares_are_one_finding() -> None:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(1, 2, bias=False), nn.Linear(100, 100))
        nn.init.zeros_(model[0].weight)
        nn.init.zeros_(model[1].weight)
        return model

    (finding,) = found(build, "overwritten")
    assert (finding.tensor, finding.place) == ("{0..1}.weight", "")
    assert finding.what == "4 values are drawn and thrown away, less than 0.1 % of all that are drawn"


def test_draws_that_stay_are_not_found() -> None:
    def build() -> nn.Module:
        layer = nn.utils.skip_init(nn.Linear, 4, 8, bias=False)
        nn.init.normal_(layer.weight)
        return layer

    assert found(build, "overwritten") == []


# Copies of a draw.


def twice(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, copy.deepcopy(layer))


def test_copies_of_a_draw_are_found() -> None:
    assert lines(lambda: twice(nn.Linear(3, 4)), "copied") == [
        "fact: {0..1}.weight, {0..1}.bias: they have equal values, since they are copies of one draw, and are not tied"
        " (here); build each layer anew if they are to differ"
    ]


def tied() -> nn.Module:
    first = nn.Linear(3, 3)
    second = nn.Linear(3, 3)
    second.weight = first.weight
    return nn.Sequential(first, second)


def copied_then_drawn() -> nn.Module:
    model = twice(nn.Linear(3, 4, bias=False))
    for layer in model:
        layer.reset_parameters()
    return model


def scaled_copy() -> nn.Module:
    model = twice(nn.Linear(3, 4, bias=False))
    with torch.no_grad():
        model[1].weight.mul_(2)
    return model


@pytest.mark.parametrize("build", [tied, copied_then_drawn, scaled_copy, lambda: twice(nn.LayerNorm(3))])
def test_tied_redrawn_changed_and_constant_tensors_are_no_copies(build: Build) -> None:
    assert found(build, "copied") == []


# From outside torch.


def noisy() -> Tensor:
    return torch.tensor([random.random() for _ in range(3)])


def test_a_draw_from_outside_is_found() -> None:
    assert lines(lambda: Part(noisy), "outside") == [
        "fault: random.random gives other values each time the model is built (here);"
        " draw with torch, so that a seed or a key decides the values"
    ]


def test_a_file_that_is_read_is_a_fact(tmp_path: Any) -> None:
    torch.save(torch.ones(3), tmp_path / "table.pt")
    (finding,) = found(lambda: Part(lambda: torch.load(tmp_path / "table.pt")), "outside")
    assert (finding.severity, finding.what) == ("fact", f"reads the file {tmp_path / 'table.pt'}")


def test_tensors_that_differ_between_two_recordings_are_found() -> None:
    numbers = iter(range(9))

    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 4))
        nn.init.normal_(model[1].weight, std=0.02 + next(numbers))  # the other number
        return model

    (finding,) = found(build, "outside", again=build)
    assert (finding.tensor, finding.place) == ("1.weight", line_of("the other number"))
    assert finding.what == "two recordings of the same code fill it in different ways"


@pytest.mark.parametrize(
    "make",
    [lambda n: torch.tensor([1.0, n]), lambda n: torch.rand(n + 1), lambda n: torch.manual_seed(n) and torch.rand(3)],
)
def test_other_constants_sizes_and_seeds_differ(make: Callable[[int], Tensor]) -> None:
    assert [x.tensor for x in found(lambda: Part(lambda: make(1)), "outside", lambda: Part(lambda: make(2)))] == [
        "weight"
    ]
    assert found(lambda: Part(lambda: make(1)), "outside", lambda: Part(lambda: make(1))) == []


# A declared law.


def filled(fill: Callable[[Tensor], Any], *shape: int) -> nn.Module:
    """Return a module with one weight that a function fills, and that it restores."""

    def make() -> Tensor:
        weight = torch.empty(shape)
        fill(weight)
        return weight

    return Part(make)


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


HERE = "of tests.recording.test_audit"


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
        "fault: {0..1}.weight: trunc_normal_(mean=0, std=0.02, a=-2, b=2) truncates nothing, since its bounds are"
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
        "fault: {0..1}.weight: kaiming_uniform_() takes its 8 matrices of 16x32 for one convolution, with fan_in 512 and"
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


# No false alarm.

LAYERS: dict[str, Build] = {
    "Linear": lambda: nn.Linear(3, 4),
    "Bilinear": lambda: nn.Bilinear(3, 4, 5),
    "LazyLinear": lambda: nn.Sequential(nn.LazyLinear(4)),
    "Embedding": lambda: nn.Embedding(10, 4, padding_idx=1),
    "EmbeddingBag": lambda: nn.EmbeddingBag(10, 4),
    "Conv1d": lambda: nn.Conv1d(4, 8, 3),
    "Conv2d": lambda: nn.Conv2d(4, 8, 3, groups=2),
    "Conv3d": lambda: nn.Conv3d(4, 8, 3),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(4, 8, 3),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(4, 8, 3),
    "BatchNorm2d": lambda: nn.BatchNorm2d(4),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "LayerNorm": lambda: nn.LayerNorm(4),
    "RMSNorm": lambda: nn.RMSNorm(4),
    "PReLU": lambda: nn.PReLU(4),
    "RNN": lambda: nn.RNN(3, 4, 2),
    "LSTM": lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
    "GRU": lambda: nn.GRU(3, 4),
    "LSTMCell": lambda: nn.LSTMCell(3, 4),
    "MultiheadAttention": lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True, kdim=3),
    "TransformerEncoder": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False
    ),
    "TransformerDecoder": lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2),
    "Transformer": lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
    "AdaptiveLogSoftmaxWithLoss": lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3]),
}


def test_every_layer_of_torch_is_tried() -> None:
    lazy = nn.modules.lazy.LazyModuleMixin
    stateful = set()
    for name in dir(nn.modules):
        kind = getattr(nn.modules, name)
        if inspect.isclass(kind) and "reset_parameters" in vars(kind) and not issubclass(kind, lazy):
            stateful.add(name)
    same = {"SyncBatchNorm", "RNNBase", "RNNCellBase"}
    assert stateful - same <= LAYERS.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_torchs_layers_have_no_fault(name: str) -> None:
    assert [str(finding) for finding in found(LAYERS[name])] == []


class Block(nn.Module):
    """Two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(width)


class ResNet(nn.Module):
    """Initialized as torchvision's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, bias=False), nn.BatchNorm2d(8))
        self.layers = nn.Sequential(Block(8), Block(8))
        self.fc = nn.Linear(8, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 1)
                nn.init.constant_(module.bias, 0)
        for module in self.modules():
            if isinstance(module, Block):
                nn.init.constant_(module.bn2.weight, 0)


def test_a_residual_network_has_no_fault() -> None:
    assert [str(finding) for finding in found(ResNet)] == []


def test_gpt2_of_transformers_has_no_fault() -> None:
    config = GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=100, n_positions=16)
    assert [str(finding) for finding in found(lambda: GPT2LMHeadModel(config))] == []


# The findings.


def test_faults_come_first(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "table.pt")

    def build() -> nn.Module:
        return nn.Sequential(Part(lambda: torch.load(tmp_path / "table.pt")), Rotary())

    assert [(x.severity, x.kind) for x in torchinit.record(build).audit()] == [("fault", "lost"), ("fact", "outside")]


def test_a_finding_without_tensor_and_place_is_printed_without() -> None:
    assert str(Finding("outside", "fact", "", "it rains", "", "take an umbrella")) == "fact: it rains; take an umbrella"


def test_a_place_in_a_package_is_printed_from_the_package() -> None:
    finding = Finding("law", "fault", "a", "b", "/usr/lib/python3/site-packages/timm/models/vit.py:7", "c")
    assert str(finding) == "fault: a: b (timm/models/vit.py:7); c"


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (["a.weight", "b.weight"], ["a.weight", "b.weight"]),
        (["a.0.w", "a.1.w", "a.2.w"], ["a.{0..2}.w"]),
        (["a.0.w", "a.2.w"], ["a.{0,2}.w"]),
        (["a.3.w"], ["a.3.w"]),
        (["0.0", "0.1", "1.0", "1.1"], ["{0..1}.{0..1}"]),
        (["0.0", "0.1", "1.0"], ["0.{0..1}", "1.0"]),
        (["x.0", "y.0", "x.1"], ["x.{0..1}", "y.0"]),
        (["a", "a"], ["a"]),
        ([], []),
    ],
)
def test_names_are_grouped_over_repeated_layers(names: list[str], written: list[str]) -> None:
    assert grouped(names) == written


def test_many_names_are_counted() -> None:
    assert listed("abc") == "a, b, c"
    assert listed("abcde") == "a, b, c and 2 more"
