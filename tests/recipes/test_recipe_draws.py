"""Does a recipe draw the same as each function that torch.nn.init lacks, with a generator and with a key?"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.records import CALLS
from torchinit import keyed
from torchinit.recipes import Recipe, RecipeError, Rule

OWN = [(record, arguments) for record, arguments in CALLS if not record.upstream]
NAMES = [f"p{index}" for index in range(len(OWN))]
RECIPE = Recipe([Rule(r.name, name=name, args=arguments) for name, (r, arguments) in zip(NAMES, OWN, strict=True)])


class Weights(nn.Module):
    """A parameter for each call."""

    def __init__(self) -> None:
        super().__init__()
        for name, (record, _) in zip(NAMES, OWN, strict=True):
            self.register_parameter(name, nn.Parameter(torch.zeros(record.shape)))

    def forward(self, x: Tensor) -> Tensor:
        return x


def drawn(model: Any) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def drawn_directly() -> dict[str, Tensor]:
    """Call each function in the order of the parameters, from one generator."""
    generator, found = torch.Generator().manual_seed(3), {}
    for name, (record, arguments) in zip(NAMES, OWN, strict=True):
        own = {"generator": generator} if record.takes_generator else {}
        found[name] = record.function(torch.zeros(record.shape), **arguments, **own)
    return found


def drawn_by_key() -> dict[str, Tensor]:
    found, root = {}, keyed.key(5)
    for name, (record, arguments) in zip(NAMES, OWN, strict=True):
        weight = torch.zeros(record.shape)
        if record.takes_generator:
            found[name] = getattr(keyed, record.name)(weight, keyed.fold_in(root, name), **arguments)
        else:
            found[name] = record.function(weight, **arguments)
    return found


def different(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert list(one) == list(other)
    return [f"{OWN[int(name[1:])][0]} {name}" for name in one if not torch.equal(one[name], other[name])]


def test_rule_draws_the_same_as_the_function() -> None:
    model = RECIPE.apply_(Weights(), torch.Generator().manual_seed(3))
    assert different(drawn(model), drawn_directly()) == []


def test_rule_with_a_key_draws_the_same_as_the_keyed_function() -> None:
    assert different(drawn(RECIPE.apply_(Weights(), key=keyed.key(5))), drawn_by_key()) == []


def test_toml_of_the_rules_reads_back() -> None:
    assert Recipe.from_toml(RECIPE.to_toml()) == RECIPE


def test_residual_narrows_a_truncated_draw_with_its_bounds() -> None:
    model = nn.ModuleDict({f"layer{i}": nn.Linear(300, 400, bias=False) for i in range(4)})
    for initializer in ("variance_scaling_", "trunc_normal_tf_", "lecun_normal_", "block_orthogonal_"):
        args = {"blocks": 2} if initializer == "block_orthogonal_" else {}
        plain, damped = (
            Recipe([Rule(initializer, args=args, residual=residual)]).apply_(model, torch.Generator().manual_seed(1))
            and drawn(model)
            for residual in (False, True)
        )
        for name in plain:
            assert torch.allclose(damped[name], plain[name] / 2, rtol=1e-5, atol=1e-7), initializer
    assert Recipe([Rule("delta_orthogonal_", residual=True, ndim=3)])


def test_factors_that_are_no_numbers_are_refused() -> None:
    for factors in (3.0, ["1"]):
        with pytest.raises(RecipeError, match=r"factors of rotary_inv_freq_ must be a list of numbers, got"):
            Rule("rotary_inv_freq_", args={"scaling": "longrope", "factors": factors})
