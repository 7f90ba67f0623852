"""Residual models, plain and with weights of zeros, for the tests of signal."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def zeroed(layer: nn.Module) -> nn.Module:
    """Fill a layer's parameters with zeros."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Branch(nn.Module):
    """Two layers with an activation between."""

    def __init__(self, width: int = 8, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.act = act()
        self.outer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.act(self.inner(x)))


class Residual(nn.Module):
    """A stem, a residual stream and a head."""

    def __init__(self, make: Callable[[], nn.Module] = Branch, depth: int = 3, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Linear(width, width)
        self.blocks = nn.ModuleList(make() for _ in range(depth))
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class Bottleneck(nn.Module):
    """A block of a ResNet, that adds in place; its shortcut is projected where the width changes."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.down = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        y += self.down(x)
        return torch.relu(y)


class ResNet(nn.Module):
    """Four blocks, of which the first of each pair projects."""

    def __init__(self, zero_last: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        sizes = [(4, 6), (6, 6), (6, 8), (8, 8)]
        self.blocks = nn.Sequential(*(Bottleneck(*pair) for pair in sizes))
        self.head = nn.Linear(8, 5)
        if zero_last:
            for block in self.blocks:
                nn.init.zeros_(block.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class ReZero(nn.Module):
    """A branch times a scalar that starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Linear(8, 8)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.alpha * torch.relu(self.branch(x))


class LoRA(nn.Module):
    """A layer and a product of low rank, of which the second factor is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(8, 8)
        self.lora_a = nn.Linear(8, 2, bias=False)
        self.lora_b = zeroed(nn.Linear(2, 8, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora_b(self.lora_a(x)) * 2.0


class Gated(nn.Module):
    """Blocks of a DiT: a condition shifts, scales and gates each branch, and all of that starts at 0 (adaLN-zero)."""

    def __init__(self, zero_head: bool) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.condition = nn.Linear(4, 8)
        self.branches = nn.ModuleList(Branch(act=nn.GELU) for _ in range(2))
        self.modulations = nn.ModuleList(zeroed(nn.Linear(8, 24)) for _ in range(2))
        self.head = nn.Linear(8, 3)
        if zero_head:
            zeroed(self.head)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        x, c = self.stem(x), torch.sigmoid(self.condition(c))
        for branch, modulation in zip(self.branches, self.modulations):
            shift, scale, gate = modulation(c).chunk(3, -1)
            x = x + gate * branch(nn.functional.layer_norm(x, (8,)) * (1 + scale) + shift)
        return self.head(x)
