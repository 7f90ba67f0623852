"""Models whose tensors are filled in every way that a keyed program tells apart, by name."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

# Rows that end outside a vector of any width.
SHAPE = (11, 37)


def _model(fill: Callable[[Tensor], Tensor | None], *shape: int, **options: object) -> Callable[[], nn.Module]:
    """Return a builder of a module with one parameter, which a function fills or replaces."""

    def build() -> nn.Module:
        model = nn.Module()
        with torch.no_grad():
            weight = torch.empty(shape or SHAPE, **options)  # type: ignore[arg-type]
            made = fill(weight)
        weight = weight if made is None else made
        model.weight = nn.Parameter(weight, requires_grad=weight.is_floating_point())
        return model

    return build


def _truncated(weight: Tensor) -> None:
    """Draw a truncated normal distribution with raw operators, as a library's own function does."""
    low, high = ((1 + math.erf(bound / math.sqrt(2.0))) / 2 for bound in (-2.0, 2.0))
    weight.uniform_(2 * low - 1, 2 * high - 1).erfinv_().mul_(math.sqrt(2.0)).clamp_(-2.0, 2.0).mul_(0.3).add_(0.1)


def _step_sizes(weight: Tensor) -> Tensor:
    """Draw what Mamba's ``dt_bias`` starts from."""
    steps = torch.exp(torch.rand(weight.shape) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
    return steps + torch.log(-torch.expm1(-steps))


def _packed(weight: Tensor) -> None:
    query, key, value = weight.chunk(3, 1)
    nn.init.xavier_uniform_(query)
    nn.init.normal_(key, std=0.1)
    value.copy_(torch.randn(value.shape).mul(2.0))


def _channels_last(weight: Tensor) -> Tensor:
    nn.init.kaiming_normal_(weight)
    return weight.contiguous(memory_format=torch.channels_last).mul_(0.5)


def _drawn_channels_last(weight: Tensor) -> Tensor:
    return nn.init.uniform_(weight.to(memory_format=torch.channels_last))


def _masked(weight: Tensor) -> Tensor:
    return torch.where(torch.rand(weight.shape) < 0.5, torch.randn(weight.shape), torch.full(weight.shape, 7.0))


def _scaled_rows(weight: Tensor) -> None:
    weight.normal_().mul_(torch.rand(weight.size(0), 1)).add_(torch.rand(weight.size(1))).div_(torch.rand(()) + 1)


def _rows(weight: Tensor) -> None:
    weight.normal_()
    weight[2].zero_()
    weight[5:8].uniform_(1.0, 2.0)
    weight[:, -1] = 3.0
    weight[0, 3:9].copy_(torch.randn(6).abs())


def _transposed(weight: Tensor) -> None:
    weight.t().normal_()


def _flattened(weight: Tensor) -> None:
    weight.view(-1).normal_()


def _every_second_row(weight: Tensor) -> None:
    weight.normal_()[::2].zero_()


def _row_of_another(weight: Tensor) -> None:
    weight.normal_()
    weight[1].copy_(weight[0])


def _moved(weight: Tensor) -> None:
    weight.normal_()
    weight[1:4].copy_(weight[5:8].clone())


# Every piece of these can be computed by itself.
PIECEWISE: dict[str, Callable[[], nn.Module]] = {
    "initializer": _model(lambda w: nn.init.trunc_normal_(w, std=0.3)),
    "initializer of fans": _model(nn.init.kaiming_uniform_),
    "raw truncated normal": _model(_truncated),
    "rows": _model(_rows),
    "step sizes": _model(_step_sizes),
    "packed": _model(_packed, 11, 36),
    "bfloat16": _model(lambda w: w.normal_().mul_(0.3).add_(0.1), dtype=torch.bfloat16),
    "float16": _model(lambda w: w.uniform_(-1.0, 1.0).erfinv_(), dtype=torch.float16),
    "float64": _model(lambda w: w.normal_(1.0, 2.0).exp_(), dtype=torch.float64),
    "complex": _model(lambda w: w.normal_().mul_(2.0), dtype=torch.complex64),
    "cast": _model(lambda w: torch.randn(SHAPE, dtype=torch.float64).float().mul(0.1).bfloat16()),
    "channels_last": _model(_channels_last, 5, 3, 3, 4),
    "drawn channels_last": _model(_drawn_channels_last, 5, 3, 3, 4),
    "transposed draw": _model(_transposed),
    "drawn transposed": _model(lambda w: torch.randn(37, 11).t().mul(2.0)),
    "masked": _model(_masked),
    "scaled rows": _model(_scaled_rows),
    "scalar": _model(lambda w: torch.rand(()).mul(3.0).add_(1.0)),
    "vector": _model(lambda w: torch.zeros(40).normal_().abs_()),
    "single row": _model(lambda w: w.normal_().mul_(0.3), 1, 40),
    "ones": _model(lambda w: torch.ones(7).mul_(0.1)),
    "bernoulli": _model(lambda w: torch.bernoulli(torch.full(SHAPE, 0.3)) * 2 - 1),
    "dropped": _model(lambda w: w.normal_().mul_(torch.empty(SHAPE).bernoulli_(0.4))),
    "exponential": _model(lambda w: w.exponential_(2.0)),
    "cauchy": _model(lambda w: w.cauchy_(1.0, 0.5)),
    "log_normal": _model(lambda w: w.log_normal_(0.5, 0.25)),
    "geometric": _model(lambda w: w.geometric_(0.2)),
    "integers": _model(lambda w: torch.randint(-3, 9, SHAPE)),
    "random": _model(lambda w: w.random_(2, 8)),
    "normal of tensors": _model(lambda w: torch.normal(torch.full(SHAPE, 3.0), torch.rand(SHAPE))),
    "constant": _model(lambda w: torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]).mul_(3.0)),
}

# These are computed whole and then cut.
WHOLE: dict[str, Callable[[], nn.Module]] = {
    "orthogonal": _model(nn.init.orthogonal_),
    "sparse": _model(lambda w: nn.init.sparse_(w, 0.3)),
    "identity": _model(nn.init.eye_),
    "power": _model(lambda w: w.uniform_().pow_(0.3)),
    "scaled sum": _model(lambda w: w.normal_().add_(torch.rand(SHAPE), alpha=0.3)),
    "sorted": _model(lambda w: w.uniform_().sort(0).values),
    "permutation": _model(lambda w: torch.randperm(50)),
    "table": _model(lambda w: torch.linspace(0.0, 1.0, 11)[:, None] * torch.arange(37)),
    "joined": _model(lambda w: torch.cat([torch.randn(4, 37), torch.rand(7, 37)])),
    "flattened draw": _model(_flattened),
    "every second row": _model(_every_second_row),
    "row of another": _model(_row_of_another),
    "moved rows": _model(_moved),
    "own generator": _model(lambda w: w.normal_(generator=torch.Generator().manual_seed(3))),
}


class Views(nn.Module):
    """Parameters that are views of one buffer, drawn one by one, and a table whose values a law does not give."""

    def __init__(self) -> None:
        super().__init__()
        flat = torch.empty(3 * 40)
        self.first, self.second = nn.Parameter(flat[:40].view(5, 8)), nn.Parameter(flat[40:80].view(8, 5))
        self.last = nn.Parameter(flat[80:])
        with torch.no_grad():
            nn.init.normal_(self.first)
            nn.init.uniform_(self.second)
            self.last.copy_(torch.randn(40).mul(2.0))


class Copies(nn.Module):
    """Deep copies, a tie, a padding row, and buffers that a state_dict has and lacks."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(13, 9)
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(3))
        self.words, self.head = nn.Embedding(21, 13, padding_idx=4), nn.Linear(13, 21, bias=False)
        self.head.weight = self.words.weight
        self.norm = nn.BatchNorm1d(13)
        self.register_buffer("table", torch.arange(0, 13, 2).float() / 13)
        self.register_buffer("noise", torch.randn(9, 5) * 0.1, persistent=False)
        nn.init.orthogonal_(self.layers[1].weight)


MODELS: dict[str, Callable[[], nn.Module]] = {**PIECEWISE, **WHOLE, "views": Views, "copies": Copies}
