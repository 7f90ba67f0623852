"""Does the recipe ``torch`` give each layer of torch.nn the bits of a new layer?"""

import inspect

import pytest
import torch
from torch import nn

from tests.support.layers import LAYERS, differing, seeded
from torchinit import recipes


def _changed_model(name: str) -> nn.Module:
    """Return a model with changed parameters and statistics."""
    model = seeded(LAYERS[name].make, 1)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.detach().fill_(3)
    return model


@pytest.mark.parametrize("name", LAYERS)
def test_recipe_torch_equals_constructing_the_layer_anew(name: str) -> None:
    fresh = seeded(LAYERS[name].make, 7)
    following = torch.rand(3)
    model = _changed_model(name)
    before = torch.get_rng_state()
    recipes.torch_default().apply_(model, torch.Generator().manual_seed(7))
    assert differing(fresh, model) == []
    assert torch.equal(torch.get_rng_state(), before)
    model = _changed_model(name)
    torch.manual_seed(7)
    assert recipes.torch_default().apply_(model) is model
    assert differing(fresh, model) == []
    assert torch.equal(torch.rand(3), following)


def test_every_layer_of_torch_nn_with_parameters_is_here() -> None:
    known = {type(module).__name__ for example in LAYERS.values() for module in example.make().modules()}
    missing = []
    for name, kind in vars(nn).items():
        if inspect.isclass(kind) and issubclass(kind, nn.Module) and not name.startswith("Lazy"):
            own = [f.__code__.co_names for f in vars(kind).values() if inspect.isfunction(f)]
            resets = any("reset_parameters" in attribute for attribute in vars(kind))
            if name not in known and (resets or any("Parameter" in names for names in own)):
                missing.append(name)
    # Containers of users' parameters, and base classes.
    assert set(missing) <= {"Module", "ParameterList", "ParameterDict", "RNNBase", "RNNCellBase", "Container"}, missing


def test_recipe_torch_keeps_its_old_name_which_a_star_does_not_import() -> None:
    assert recipes.torch is recipes.torch_default
    assert recipes.load("torch") == recipes.torch_default()
    assert "torch" not in recipes.__all__


def test_lazy_layer_is_refused_until_it_has_seen_an_input() -> None:
    model = nn.Sequential(nn.LazyLinear(4))
    with pytest.raises(RuntimeError, match=r"must have seen an input .*, got an uninitialized 0\.weight"):
        recipes.torch_default().apply_(model)
    model(torch.zeros(1, 3))
    recipes.torch_default().apply_(model)


def test_channels_last_weights_equal_contiguous_ones() -> None:
    fresh = seeded(lambda: nn.Conv2d(8, 16, 3), 7)
    model = nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)
    recipes.torch_default().apply_(model, torch.Generator().manual_seed(7))
    assert differing(fresh, model) == []
    assert model.weight.is_contiguous(memory_format=torch.channels_last)


def test_meta_model_is_left_alone_and_draws_nothing() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Embedding(4, 3, padding_idx=0))
        before = torch.get_rng_state()
        recipes.torch_default().apply_(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.is_meta for p in model.parameters())
    assert [row.std for row in recipes.torch_default().plan(model).rows[:2]] == pytest.approx([1 / 3, 1 / 3])


def test_class_of_another_kind_takes_the_default_of_the_layer_that_a_rule_names() -> None:
    class Projection(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(4))

    rule = recipes.Rule("default", args={"layer": "Linear"})
    model = recipes.Recipe([rule]).apply_(Projection(), torch.Generator().manual_seed(2))
    assert differing(seeded(lambda: nn.Linear(3, 4), 2), model) == []
