"""Models whose recordings are saved."""

from collections.abc import Callable

import torch
from torch import nn

FLOATS = [0.1, -0.0, 5e-324, 1e16, 1.7976931348623157e308, float("inf"), -float("inf"), float("nan")]


class Tables(nn.Module):
    """Buffers of many dtypes, views, ties, constants, draws of several generators, and odd arguments."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.w = nn.Parameter(torch.randn(4, 3))
        own = torch.Generator().manual_seed(7)
        self.fixed = nn.Parameter(torch.rand(3, generator=own))
        self.tied = self.w
        self.register_buffer("floats", torch.tensor(FLOATS, dtype=torch.float64))
        self.register_buffer("negative_nan", torch.full((2,), -float("nan")))
        self.register_buffer("infinite", torch.full((2,), float("inf")), persistent=False)
        self.register_buffer("phase", torch.zeros(2, dtype=torch.complex64).fill_(1.5 - 0.25j).conj())
        self.register_buffer("steps", torch.linspace(0, 1, 5).to(torch.bfloat16))
        self.register_buffer("chosen", torch.arange(12).view(3, 4)[torch.tensor([True, False, True])])
        self.register_buffer("image", torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last) * 2)
        self.register_buffer("part", torch.arange(6.0)[2:])
        self.register_buffer("counts", torch.tensor(5))
        nn.init.kaiming_uniform_(self.w[1:], a=5**0.5)
        with torch.no_grad():
            self.w.t_().mul_(2).t_()


class Orthogonal(nn.Linear):
    """A layer of upstream's functions that compute the most."""

    def __init__(self) -> None:
        super().__init__(5, 3)

    def reset_parameters(self) -> None:
        nn.init.orthogonal_(self.weight)
        nn.init.trunc_normal_(self.bias, std=0.5)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "tables": Tables,
    "lstm": lambda: nn.LSTM(3, 4, 2),
    "transformer": lambda: nn.Transformer(8, 2, 2, 2, 16),
    "orthogonal": Orthogonal,
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
    "empty": nn.Identity,
}
