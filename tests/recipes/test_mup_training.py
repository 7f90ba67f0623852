"""Does a model under muP train alike at every width: as Microsoft's code, and with scales that do not follow the width?"""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from tests.support.coordinate_check import slopes
from tests.support.growing import mlp
from torchinit import recipes
from torchinit.recipes import Recipe, Rule


class _Readout(nn.Module):
    """Microsoft's MuReadout: the input is divided by the width multiplier."""

    def __init__(self, linear: nn.Linear, width: float) -> None:
        super().__init__()
        self.linear, self.width = linear, width

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x / self.width)


@pytest.mark.parametrize(
    ("optimizer", "type_", "theirs"),
    [
        # The factors of MuAdam and MuSGD at a width multiplier of 4: input, its bias, hidden, its bias, output, its bias.
        ("adam", torch.optim.Adam, (1, 1, 1 / 4, 1, 1, 1)),
        ("sgd", torch.optim.SGD, (4, 4, 1, 4, 4, 1)),
    ],
)
def test_training_equals_that_of_microsofts_mup(
    optimizer: str, type_: type[torch.optim.Optimizer], theirs: Sequence[float]
) -> None:
    # Theirs has the multiplier in forward and a constant output std; both have the same function at each step.
    recipe = recipes.mup("xavier", mlp(8, 2).double(), optimizer)
    ours, x = mlp(32, 2).double(), torch.randn(16, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    recipe.apply_(ours, torch.Generator().manual_seed(0))
    other = mlp(32, 2).double()
    other.load_state_dict(ours.state_dict())
    with torch.no_grad():
        other[4].weight.mul_(4)
    groups = [{"params": [p], "lr": 1e-2 * rate} for p, rate in zip(other.parameters(), theirs, strict=True)]
    other[4] = _Readout(other[4], 4)
    for model, given in ((ours, recipe.parameter_groups(ours, 1e-2)), (other, groups)):
        trained = type_(given)
        for _ in range(3):
            trained.zero_grad()
            (model(x) - x[:, :4]).square().mean().backward()
            trained.step()
    torch.testing.assert_close(ours(x), other(x), rtol=1e-4, atol=1e-7)


# The coordinate check.

HE = Recipe(
    [
        # A zero output, as the paper's appendix D.2 advises.
        Rule("zeros_", name=["6.weight", "*.bias"]),
        Rule("kaiming_normal_", name="*.weight", args={"nonlinearity": "relu"}),
    ]
)
X, Y = torch.randn(2, 32, 8, generator=torch.Generator().manual_seed(0))


def _loss(model: nn.Module) -> Tensor:
    return (model(X) - Y[:, :4]).square().mean()


def _seeded(recipe: Recipe, make: Callable[[int], nn.Module]) -> Callable[[int, int], nn.Module]:
    return lambda width, seed: recipe.apply_(make(width), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.01), ("sgd", 0.03)])
def test_scales_of_an_mlp_do_not_follow_the_width(optimizer: str, lr: float) -> None:
    recipe = recipes.mup(HE, mlp(64), optimizer)
    type_ = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    found = slopes(
        *(_seeded(recipe, mlp), lambda model: recipe.parameter_groups(model, lr), _loss, X, type_),
        seeds=3,
    )
    assert [list(when) for when in found] == [["0", "2", "4"], ["0", "2", "4", "6"]]
    assert all(abs(slope) < 0.05 for when in found for name, slope in when.items() if name != "6")
    assert -0.1 < found[1]["6"] < 0.05


@pytest.mark.parametrize(("type_", "lr"), [(torch.optim.Adam, 0.01), (torch.optim.SGD, 0.03)])
def test_scales_of_an_mlp_follow_the_width_without_mup(type_: type[torch.optim.Optimizer], lr: float) -> None:
    found = slopes(
        _seeded(HE, mlp), lambda model: [{"params": list(model.parameters()), "lr": lr}], _loss, X, type_, seeds=2
    )
    assert max(found[1].values()) > 0.3


def _gpt2(width: int) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": width, "n_inner": width, "n_layer": 2, "n_head": width // 16, "n_positions": 8, "vocab_size": 64}
    off = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)
    return GPT2LMHeadModel(GPT2Config(**sizes, **off, use_cache=False, bos_token_id=0, eos_token_id=0))


IDS = torch.randint(0, 64, (4, 8), generator=torch.Generator().manual_seed(0))


def _language_loss(model: nn.Module) -> Tensor:
    return nn.functional.cross_entropy(model(IDS).logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())


def test_scales_of_gpt2_do_not_follow_the_width() -> None:
    with torch.device("meta"):
        base = _gpt2(64)
    recipe = recipes.mup("gpt2", base)

    def make(width: int, seed: int) -> nn.Module:
        model = recipe.apply_(_gpt2(width), torch.Generator().manual_seed(seed))
        multiplier = recipe.multipliers(model).output_multiplier
        model.lm_head.register_forward_pre_hook(lambda _, inputs: (inputs[0] * multiplier,))
        return model

    found = slopes(make, lambda model: recipe.parameter_groups(model, 0.001), _language_loss, IDS)
    # 16 layers, and the sums of the residual stream.
    assert len(found[1]) == 20
    for when in found:
        # Random logits vanish with the width; what is learned does not.
        assert when.pop("lm_head") < 0.05
        assert all(abs(slope) < 0.05 for slope in when.values()), when


def test_scales_of_gpt2_follow_the_width_without_mup() -> None:
    make = _seeded(recipes.gpt2(), _gpt2)
    for when in slopes(
        make, lambda m: [{"params": list(m.parameters()), "lr": 0.001}], _language_loss, IDS, widths=(64, 256)
    ):
        assert max(when.values()) > 0.9
        assert when["lm_head"] > 0.3
