"""Does muP refuse, in one sentence, a base model or a recipe that it cannot scale?"""

import pytest
import torch
from torch import nn

from tests.support.growing import Tied, mlp
from torchinit import recipes
from torchinit.recipes import Recipe, RecipeError, Rule


@pytest.mark.parametrize(
    ("base", "model", "message"),
    [
        (mlp(64), mlp(32), "narrower in every dimension, got 0.weight of [32, 8] for [64, 8] in the base model"),
        (nn.Linear(4, 4), nn.Conv1d(4, 4, 1), "narrower in every dimension, got weight of [4, 4, 1] for [4, 4]"),
        (mlp(32, 2), mlp(64, 3), "got parameters that only the model has: 6.weight, 6.bias"),
        (mlp(32, 5), mlp(64, 2), "only the base model has: 6.weight, 6.bias, 8.weight and 3 more"),
        (Tied(8), Tied(16, False), "must tie the same parameters as the model, got head.weight tied in one"),
        (
            nn.Embedding(5, 8),
            nn.Embedding(9, 16),
            "differ only in width, so that kernels, vocabularies, stacks and all but",
        ),
        (nn.Conv1d(3, 4, 3), nn.Conv1d(3, 8, 5), "got weight of [8, 3, 5] for [4, 3, 3] in the base model"),
        (nn.Bilinear(2, 2, 2), nn.Bilinear(4, 4, 4), "all but two dimensions of a parameter are equal, got weight of"),
    ],
)
def test_a_base_that_differs_in_more_than_its_width_is_refused(base: nn.Module, model: nn.Module, message: str) -> None:
    recipe = recipes.mup("torch", base)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    for call in (recipe.plan, recipe.apply_, recipe.multipliers, lambda model: recipe.parameter_groups(model, 0.1)):
        with pytest.raises(RecipeError) as error:
            call(model)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())


def test_a_weight_that_is_not_around_zero_is_refused() -> None:
    recipe = recipes.mup(Recipe([Rule("constant_", ndim=2, args={"val": 0.1}), Rule("ones_")]), mlp(8))
    with pytest.raises(
        RecipeError, match=r"mup scales hidden weights around 0, got a mean of 0.1 by constant_ for 2.weight"
    ):
        recipe.apply_(mlp(16))


def test_a_parameter_that_is_loaded_in_the_base_only_is_refused() -> None:
    base = mlp(8)
    base[2].weight._is_hf_initialized = True
    with pytest.raises(RecipeError, match=r"mup must fill 2.weight in the base model too, got one that keeps it there"):
        recipes.mup("torch", base).apply_(mlp(16))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(RecipeError, match="optimizer of mup must be one of adam, sgd, got 'adamw2'"):
        recipes.mup("torch", mlp(8), "adamw2")
    with pytest.raises(TypeError, match=r"mup needs a base model, a torch.nn.Module, got int"):
        recipes.mup("torch", 8)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mup needs a recipe or the name of one, got int"):
        recipes.mup(8, mlp(8))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="outputs of mup must name parameters of the model, got 'readout'"):
        recipes.mup("torch", mlp(8), outputs="readout").plan(mlp(16))
    with pytest.raises(RecipeError, match=r"inputs of mup must grow in one dimension, got 2.weight, which grew in two"):
        recipes.mup("torch", mlp(8), inputs="2.*").plan(mlp(16))
    with pytest.raises(RecipeError, match="cannot be written as TOML"):
        recipes.mup("torch", mlp(8)).to_toml()


def test_tied_outputs_of_different_widths_have_no_single_multiplier() -> None:
    def two(width: int) -> nn.ModuleList:
        return nn.ModuleList([Tied(8 * width), Tied(width * width)])

    table = recipes.mup("torch", two(2)).multipliers(two(4))
    assert [row.output_mult for row in table.rows] == [0.5, 0.25]
    with pytest.raises(RecipeError, match=r"outputs of one width, got the multipliers \[0.25, 0.5\]"):
        table.output_multiplier  # noqa: B018
