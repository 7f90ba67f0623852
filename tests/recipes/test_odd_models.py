"""Do recipes handle models with misleading names, types, ties and shapes?"""

import copy
import math
import warnings

import pytest
import torch
from torch import nn

import torchinit
from tests.support.layers import differing, seeded
from torchinit import recipes
from torchinit.recipes import Recipe, RecipeError, Rule
from torchinit.recipes._layers import walk

REST = Rule("keep", optional=True)


def _generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3)


@pytest.mark.parametrize("how", ["kept", "loaded", "of another rule", "meta"])
def test_clones_of_a_layer_that_draws_no_default_draw_their_own(how: str) -> None:
    model = seeded(_encoder, 1)
    recipe = recipes.torch_default()
    if how == "kept":
        recipe = recipe.keeping("layers.0.*")
    elif how == "loaded":
        for parameter in model.layers[0].parameters():
            parameter._is_hf_initialized = True
    elif how == "meta":
        model.layers[0].to("meta")
    else:
        recipe = Recipe([Rule("ones_", name="layers.0.*"), Rule("default")])
    before = copy.deepcopy(model)
    recipe.apply_(model, _generator())
    if how in ("kept", "loaded"):
        assert not [name for name in differing(before, model) if name.startswith("layers.0.")]
    weights = [model.layers[i].linear1.weight for i in (1, 2)]
    assert not torch.equal(*weights)
    assert all(weight.abs().max() <= 1 / math.sqrt(8) for weight in weights)


def test_layers_of_unequal_shape_are_not_clones() -> None:
    model = _encoder()
    model.layers[1].linear1 = nn.Linear(8, 5)
    recipes.torch_default().apply_(model, _generator())
    assert torch.equal(model.layers[1].linear2.weight, model.layers[0].linear2.weight)
    assert model.layers[1].linear1.weight.shape == (5, 8)


class MultiheadAttention(nn.Module):
    """A user's class, with another projection."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)


class Transformer(nn.Module):
    """A user's class, without torch's second draw."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 8)


class TransformerEncoder(nn.Module):
    """A user's class, whose layers are not clones."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])


class Embedding(nn.Module):
    """A user's class, with another meaning of padding."""

    def __init__(self) -> None:
        super().__init__()
        self.padding_idx = "none"
        self.weight = nn.Parameter(torch.randn(4, 3))


@pytest.mark.parametrize("kind", [MultiheadAttention, Transformer, TransformerEncoder])
@pytest.mark.parametrize("scripted", [False, True])
def test_class_that_only_shares_a_name_is_not_a_layer_of_torch(kind: type, scripted: bool) -> None:
    fresh, model = seeded(kind, 7), seeded(kind, 1)
    if scripted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = torch.jit.script(model)
    recipes.torch_default().apply_(model, _generator())
    assert differing(fresh, model) == []


def test_users_class_has_no_default() -> None:
    with pytest.raises(RecipeError, match=r"no rule matches 1 parameter: weight \(.*Embedding\); add a rule"):
        recipes.torch_default().apply_(Embedding())
    Recipe([Rule("normal_")]).apply_(Embedding())


@pytest.mark.parametrize("groups", [0, -1, None, "x", [1, 2], True, nn.ModuleList()])
def test_invalid_groups_are_ignored(groups: object) -> None:
    model = nn.Module()
    model.weight, model.groups = nn.Parameter(torch.zeros(4, 3, 2)), groups
    model.kernel_size = (2,)
    row = Recipe([Rule("ones_")]).plan(model).rows[0]
    assert (row.fan_in, row.fan_out) == (6, 8)


def test_conv1d_of_another_kind_than_transformers_has_the_fans_of_a_convolution() -> None:
    class Conv1D(nn.Conv1d):
        pass

    row = Recipe([Rule("ones_")]).plan(Conv1D(4, 6, 3)).rows[0]
    assert (row.fan_in, row.fan_out) == (12, 18)


def test_groups_that_do_not_divide_a_weight_are_ignored() -> None:
    model = nn.Module()
    model.weight, model.groups, model.transposed = nn.Parameter(torch.zeros(5, 3, 1)), 2, True
    assert next(iter(walk(model))).fans([5, 3, 1]) == (5, 3)


def test_a_child_that_was_taken_away_is_passed_over() -> None:
    model = nn.ModuleDict({"body": nn.Linear(3, 3), "head": nn.Linear(3, 2)})
    model._modules["head"] = None
    assert [row.name for row in recipes.xavier().plan(model).rows] == ["body.weight", "body.bias"]


@pytest.mark.parametrize("padding", ["same", "valid", 0])
def test_groups_of_a_traced_convolution_are_found_with_any_padding(padding: str | int) -> None:
    model = nn.Conv2d(4, 8, 3, groups=4, padding=padding)
    traced = torch.jit.trace(model, torch.zeros(1, 4, 5, 5))
    assert recipes.resnet().plan(traced).rows == recipes.resnet().plan(model).rows
    assert recipes.resnet().plan(model).rows[0].fan_out == 18


class Like(nn.Module):
    """Subclasses that only change the name."""

    def __init__(self) -> None:
        super().__init__()
        self.words = type("Words", (nn.Embedding,), {})(5, 3, padding_idx=1)
        self.norm = type("Norm", (nn.BatchNorm1d,), {})(3)
        self.attention = type("Attention", (nn.MultiheadAttention,), {})(4, 2)


def test_default_of_a_named_layer_equals_constructing_that_layer() -> None:
    rules = [
        Rule("default", module=m, args={"layer": like})
        for m, like in (("Words", "Embedding"), ("Norm", "BatchNorm1d"), ("Attention", "MultiheadAttention"))
    ]
    model = seeded(Like, 1)
    model.norm(torch.randn(6, 3))
    Recipe([*rules, Rule("default")]).apply_(model, _generator())
    assert differing(seeded(Like, 7), model) == []


@pytest.mark.parametrize("layer", ["Bilinear", "Linear", "LSTM"])
def test_layer_that_has_no_weight_has_no_default(layer: str) -> None:
    model = nn.Module()
    model.bias = nn.Parameter(torch.zeros(3))
    with pytest.raises(RecipeError, match="no rule matches 1 parameter: bias"):
        Recipe([Rule("default", args={"layer": layer})]).apply_(model)


class Tied(nn.Module):
    """A weight under two names, and another weight in the same storage."""

    def __init__(self) -> None:
        super().__init__()
        base = torch.zeros(4, 3)
        self.words = nn.Parameter(base[:2])
        self.head = self.words
        self.beside = nn.Parameter(base[2:])
        self.whole = nn.Parameter(base)


def test_parameter_that_is_kept_under_one_of_its_names_is_kept() -> None:
    model = Tied()
    recipe = Recipe([Rule("ones_", name=("words", "head", "beside")), REST]).keeping("head")
    recipe.apply_(model)
    assert model.words.max() == 0
    assert model.beside.min() == 1
    Recipe([Rule("keep", name="head"), Rule("ones_", name="beside"), Rule("zeros_")]).apply_(model)
    assert model.words.max() == 0
    rows = {row.name: (row.rule, row.initializer) for row in recipe.plan(model).rows}
    assert rows["words"] == ("1: head", "keep")
    assert rows["head"] == ("tied", "as words")


def test_parameters_that_share_a_storage_but_not_their_elements_are_not_tied() -> None:
    model = Tied()
    plan = Recipe([Rule("ones_", name="whole"), Rule("zeros_")]).plan(model)
    assert {row.name for row in plan.rows if row.rule == "tied"} == {"head"}


def test_rule_for_a_second_name_alone_is_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"rule 1 matched no parameter: Rule\('ones_', name='head'\)"):
        Recipe([Rule("ones_", name="head"), Rule("zeros_")]).apply_(Tied())


def test_name_to_keep_that_is_not_there_is_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"rule 1 matched no parameter: Rule\('keep', name='wieght'\)"):
        recipes.torch_default().keeping("wieght").apply_(nn.Linear(3, 4))
    assert recipes.torch_default().keeping() == recipes.torch_default()


def test_loaded_parameters_need_no_rule() -> None:
    model = seeded(lambda: nn.Linear(3, 4), 1)
    model.bias._is_hf_initialized = True
    before = model.bias.clone()
    Recipe([Rule("ones_", name="weight")]).apply_(model)
    assert torch.equal(model.bias, before)


def test_loaded_statistics_are_kept() -> None:
    model = nn.BatchNorm1d(3)
    model(torch.randn(6, 3))
    model.running_mean._is_hf_initialized = True
    before = model.running_mean.clone()
    recipes.torch_default().apply_(model)
    assert torch.equal(model.running_mean, before)
    assert model.num_batches_tracked == 0


def test_statistics_of_norms_that_share_their_parameters_are_all_reset() -> None:
    first, second = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    second.weight, second.bias = first.weight, first.bias
    model = nn.Sequential(first, second)
    model(torch.randn(6, 3))
    recipes.torch_default().apply_(model)
    assert (first.num_batches_tracked, second.num_batches_tracked) == (0, 0)


def test_statistics_that_are_kept_by_name_are_kept() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3, affine=False))
    model(torch.randn(6, 3))
    recipes.torch_default().keeping("*.running_*", "*.num_*").apply_(model)
    assert [norm.num_batches_tracked.item() for norm in model] == [1, 1]


def test_default_matches_a_norm_without_parameters() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipes.torch_default().apply_(nn.BatchNorm1d(3, affine=False))
    with pytest.warns(UserWarning, match="rule 1 matched no parameter"):
        Recipe([Rule("constant_", name="*.running_mean", args={"val": 3.0}), Rule("default")]).apply_(nn.BatchNorm1d(3))


def test_bias_of_a_projection_with_its_own_rule_is_not_zeroed_afterwards() -> None:
    model = nn.MultiheadAttention(4, 2)
    Recipe([Rule("ones_", name="out_proj.bias"), Rule("default")]).apply_(model)
    assert torch.equal(model.out_proj.bias, torch.ones(4))


def test_plan_shows_the_number_of_blocks() -> None:
    rows = Recipe([Rule("xavier_uniform_", name="weight", blocks=3), REST]).plan(nn.Linear(4, 6)).rows
    assert [row.initializer for row in rows] == ["xavier_uniform_ x3", "keep"]
    embedding = nn.Embedding(4, 6, padding_idx=0)
    assert Recipe([Rule("normal_", blocks=2)]).plan(embedding).rows[0].initializer == "normal_ x2"


def test_second_constant_that_the_dtype_cannot_hold_is_found_before_the_first_is_written() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).half()
    rules = [Rule("constant_", name="0.*", args={"val": 1}), Rule("constant_", args={"val": 1e6})]
    with pytest.raises(RuntimeError, match="cannot be converted"):
        Recipe(rules).apply_(model)
    assert model[0].weight.max() < 1


def test_generator_need_not_fit_the_device_of_a_constant() -> None:
    model = nn.Module()
    model.drawn, model.zero = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, device="meta"))
    Recipe([Rule("zeros_", name="zero"), Rule("normal_")]).apply_(model, _generator())
    assert torch.equal(model.drawn, torchinit.normal_(torch.empty(3), generator=_generator()))


def test_apply_works_under_vmap() -> None:
    model, recipe = nn.Linear(3, 2), Recipe([Rule("normal_", name="weight"), Rule("keep", name="bias")])

    def fill(weight: torch.Tensor) -> torch.Tensor:
        model._parameters["weight"] = weight
        recipe.apply_(model)
        return weight

    weights = torch.vmap(fill, randomness="different")(torch.zeros(4, 2, 3))
    assert len(weights.unique()) == 24
