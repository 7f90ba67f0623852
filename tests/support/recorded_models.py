"""Models whose own code initializes them in unusual ways, and tiny ones of transformers."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tests.support.transformers_models import MODELS as TRANSFORMERS, First


class Everything(nn.Module):
    """Every initializer with a QR, a sort or a truncation; other draws; views, ties, tables, generators."""

    def __init__(self) -> None:
        super().__init__()
        self.orthogonal = nn.Linear(6, 8)
        nn.init.orthogonal_(self.orthogonal.weight, 0.5)
        self.sparse = nn.Linear(20, 10)
        nn.init.sparse_(self.sparse.weight, 0.3)
        self.truncated = nn.Linear(30, 40)
        nn.init.trunc_normal_(self.truncated.weight, 0.1, 0.02, -0.04, 0.05)
        self.dirac = nn.Conv2d(4, 8, 3)
        nn.init.dirac_(self.dirac.weight)
        self.words = nn.Embedding(10, 4, padding_idx=2)
        self.channels = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
        self.transposed = nn.Parameter(torch.randn(4, 5).t())
        self.tied = nn.Linear(4, 4)
        self.tie = nn.Linear(4, 4)
        self.tie.weight = self.tied.weight
        nn.init.normal_(self.tied.bias, 0, 2)
        with torch.no_grad():
            self.orthogonal.bias[:3].normal_(0, 2)
            self.orthogonal.bias[3:].copy_(torch.randn(5).abs() + torch.arange(5))
            self.sparse.bias.bernoulli_(0.3)
            self.truncated.bias.exponential_(2.0)
            self.dirac.bias.copy_(torch.randint(3, 9, (8,)))
            self.tie.bias.copy_(torch.from_numpy(np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)))
        for name, buffer in {**self._drawn(), **self._tables(), **self._seeded()}.items():
            self.register_buffer(name, buffer)

    def _drawn(self) -> dict[str, Tensor]:
        drawn = torch.randn(6)
        return {
            "permutation": torch.randperm(7),
            "like": torch.rand_like(torch.empty(3, 4).t()),
            "noise": torch.randn_like(torch.zeros(3, 4)),
            "means": torch.normal(torch.arange(4.0), torch.ones(4)),
            "high": drawn[2:],
            "low": drawn[:4],
            "sorted": torch.sort(torch.randn(6)).values,
            "picked": torch.randn(6)[torch.tensor([1, 3])],
            "joined": torch.cat([torch.randn(2), torch.zeros(3)]),
            "unbound": torch.stack(list(torch.randn(2, 3).unbind(0))),
            "where": torch.where(torch.rand(4) > 0.5, torch.ones(4), torch.zeros(4)),
            "copied": self.orthogonal.weight.detach().clone(),
            "of_64_bits": torch.rand(3, dtype=torch.float64),
            "turned": torch.randn(3, dtype=torch.complex64) * (1 + 2j),
            "total": torch.randn(2, 3).sum(dim=()),
            "of_16_bits": torch.randn(4).half(),
        }

    def _tables(self) -> dict[str, Tensor]:
        return {
            "lower": torch.tril(torch.ones(5, 5, dtype=torch.bool)),
            "again": torch.tril(torch.ones(5, 5, dtype=torch.bool)),
            "causal": torch.full((3, 3), float("-inf")).triu(1),
            "rotations": torch.polar(torch.ones(4), torch.arange(4.0)),
            "minus": torch.full((3,), -0.0),
            "zero": torch.zeros(3),
            "minus_first": torch.tensor([-0.0, 0.0]),
            "minus_last": torch.tensor([0.0, -0.0]),
            "large": torch.tensor([2**53 + 1] * 2),
        }

    def _seeded(self) -> dict[str, Tensor]:
        own = torch.Generator().manual_seed(3)
        found = {"own": torch.randn(5, generator=own), "order": torch.randperm(5, generator=own)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)
            found["forked"] = torch.randn(5)
        return {**found, "after": torch.randn(5)}

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        # An interpreter that shows no tensors of a module shows them by its outputs.
        return tuple(t.detach().clone() for t in [*self.parameters(), *self.buffers()])


class Block(nn.Module):
    """A residual block as torchvision writes it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (x + y).relu()


class ResNet(nn.Module):
    """A residual network that initializes itself as torchvision's."""

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, bias=False)
        self.blocks = nn.Sequential(*[Block(8) for _ in range(blocks)])
        self.fc = nn.Linear(8, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 1)
                nn.init.constant_(module.bias, 0)
            elif isinstance(module, Block):
                nn.init.constant_(module.bn2.weight, 0)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.blocks(self.stem(x)).mean((2, 3)))
        return logits


def mamba() -> nn.Module:
    from transformers import MambaConfig, MambaModel

    return MambaModel(MambaConfig(hidden_size=16, num_hidden_layers=2, vocab_size=50))


def swin() -> nn.Module:
    from transformers import SwinConfig, SwinModel

    config = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4]}
    return SwinModel(SwinConfig(**config, window_size=4))


_WORDS, _IMAGE = torch.tensor([[1, 2, 3, 5]]), torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)

# Constructor and example inputs of each.
TRACED: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "everything": (Everything, (torch.zeros(1),)),
    "resnet": (ResNet, (_IMAGE,)),
    "mamba": (lambda: First(mamba()), (_WORDS,)),
    "swin": (lambda: First(swin()), (_IMAGE,)),
    **{name: (lambda make=make: First(make()), (x,)) for name, (make, x, _) in TRANSFORMERS.items()},
}
