"""Which learning rate does muP give each parameter, and how does it take constants, ties and stacks?"""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.support.growing import Encoder, mlp, scaled
from torchinit import recipes
from torchinit.recipes import MuP, Recipe, RecipeError, Rule


def test_groups_hold_each_trainable_parameter_once() -> None:
    model = Encoder(32)
    model.encoder.requires_grad_(False)
    model.encoder.layers[0].linear1.requires_grad_(True)
    groups = recipes.mup("torch", Encoder(8)).parameter_groups(model, 0.1)
    optimizer = torch.optim.AdamW(groups)
    assert [(g["lr"], len(g["params"])) for g in optimizer.param_groups] == [(0.025, 1), (0.1, 2)]
    assert optimizer.param_groups[0]["params"][0] is model.encoder.layers[0].linear1.weight


def test_weight_decay_times_learning_rate_is_the_same_in_each_group() -> None:
    groups = recipes.mup("xavier", mlp(32), "sgd").parameter_groups(mlp(128), 0.1, weight_decay=0.01)
    assert {group["lr"] for group in groups} == {0.4, 0.1, 0.025}
    assert all(group["lr"] * group["weight_decay"] == pytest.approx(0.001) for group in groups)


def test_recipes_under_mup_are_equal_if_all_they_were_made_from_is() -> None:
    base = mlp(8)
    recipe = recipes.mup("gpt2", base)
    assert recipe == recipes.mup(recipes.gpt2(), base)
    assert hash(recipe) == hash(recipes.mup("gpt2", base))
    others = (recipes.gpt2(), recipes.mup("gpt2", base, "sgd"), recipes.mup("gpt2", mlp(8)), recipe.keeping("0.*"))
    assert all(recipe != other and other != recipe for other in others)
    assert isinstance(recipe.keeping("0.*"), MuP)
    assert repr(recipe) == f"MuP({recipes.gpt2()!r}, Sequential(...), optimizer='adam')"
    assert recipe.keeping("0.*").base_model is base


def test_setting_keeps_the_base_model_and_sets_the_constants_of_the_recipe() -> None:
    recipe = recipes.mup("llama", mlp(8)).setting(std=0.5)
    assert isinstance(recipe, MuP)
    assert recipe.plan(mlp(32)).rows[2].std == pytest.approx(0.25)


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_groups_hold_the_originals_of_parametrized_weights(norm: Callable[[nn.Module], nn.Module]) -> None:
    base, model = (mlp(width, 2) for width in (8, 32))
    for module in (base, model):
        norm(module[2])
    groups = recipes.mup("xavier", base).parameter_groups(model, 1.0)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    *norms, direction = model[2].parametrizations.weight.parameters()
    assert rates[id(direction)] == 0.25
    assert [rates[id(p)] for p in norms] == [1.0] * len(norms)


def test_groups_hold_a_parameter_whose_first_name_is_that_of_a_child() -> None:
    class Outer(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.head = nn.Linear(width, 3, bias=False)
            self.weight = self.head.weight

    groups = recipes.mup("torch", Outer(8)).parameter_groups(Outer(32), 1.0)
    assert [(group["lr"], len(group["params"])) for group in groups] == [(0.25, 1)]


class Stack(nn.Module):
    """Experts, stored as (in, out)."""

    def __init__(self, fan_in: int, fan_out: int, experts: int = 3) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.zeros(experts, fan_in, fan_out))


@pytest.mark.parametrize(("transposed", "kind", "rate"), [(True, "hidden", 0.25), (False, "hidden", 0.5)])
def test_matrices_of_a_stack_grow_as_the_rule_stores_them(transposed: bool, kind: str, rate: float) -> None:
    recipe = Recipe([Rule("normal_", batch_dims=1, transposed=transposed)])
    found = scaled(Stack(8, 16), Stack(32, 32), recipe=recipe)
    assert found == {"up": (kind, 1 / rate, pytest.approx(rate**0.5), rate)}


def test_stack_whose_matrices_only_grow_in_their_inputs_is_an_output() -> None:
    recipe = Recipe([Rule("normal_", batch_dims=1, transposed=True)])
    assert scaled(Stack(8, 4), Stack(32, 4), recipe=recipe) == {"up": ("output", 4, 0.25, 0.25)}


def test_stack_of_more_matrices_is_no_wider_model() -> None:
    recipe = recipes.mup(Recipe([Rule("normal_", batch_dims=1)]), Stack(8, 8))
    with pytest.raises(RecipeError, match=r"vocabularies, stacks and all but two .* got up of \[6, 16, 8\]"):
        recipe.plan(Stack(16, 8, experts=6))
