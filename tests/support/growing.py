"""Models of any width for the tests of muP, and how muP scales them."""

from itertools import pairwise

from torch import Tensor, nn

from torchinit import recipes
from torchinit.recipes import Recipe, Rule

NORMAL = Recipe(
    [Rule("normal_", name="*weight*", ndim=(2, 3, 4, 5), args={"std": 0.02}), Rule("default", optional=True)]
)


def scaled(
    base: nn.Module, model: nn.Module, optimizer: str = "adam", recipe: Recipe | str = NORMAL
) -> dict[str, tuple]:  # type: ignore[type-arg]
    """Return kind, width multiplier, factor on the standard deviation, and on the learning rate of each parameter."""
    rows = recipes.mup(recipe, base, optimizer).multipliers(model).rows
    return {
        row.name: (row.kind, row.width_mult, round(row.std / row.base_std, 9) if row.std else 1.0, row.lr_mult)
        for row in rows
    }


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


class Encoder(nn.Module):
    """Packed attention, and layers that clone one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, 2, 2 * width, batch_first=True), 2)
        self.tied = Tied(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(self.tied.words(x))
