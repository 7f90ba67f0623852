"""Models of any width for the tests of muP."""

from itertools import pairwise

from torch import Tensor, nn


def mlp(width: int, depth: int = 3) -> nn.Sequential:
    sizes = [8, *[width] * depth, 4]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Tied(nn.Module):
    """An embedding with a padding row, and an output that may be tied to it."""

    def __init__(self, width: int, tied: bool = True) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(10, width, padding_idx=1), nn.Linear(width, 10, bias=False)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.words(x))
