"""Do rules match and refuse as documented, and does a plan equal what apply_ does?"""

import copy
import json
import math
import warnings

import pytest
import torch
from torch import nn

import torchinit
from tests.support.layers import Mixed, differing, seeded
from torchinit import recipes
from torchinit.recipes import Recipe, RecipeError, Rule

REST = Rule("keep", optional=True)


def _generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_first_rule_that_matches_wins() -> None:
    rules = [Rule("ones_", name="*.weight"), Rule("zeros_", module="Linear"), Rule("constant_", args={"val": 5.0})]
    model = Recipe(rules).apply_(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    assert [p.mean().item() for p in model.parameters()] == [1.0, 0.0, 1.0, 5.0]


def test_star_dot_name_is_also_the_models_own() -> None:
    assert Recipe([Rule("ones_", name="*.weight"), REST]).apply_(nn.Linear(2, 2)).weight.min() == 1


def test_parameters_without_a_rule_are_all_listed_and_nothing_is_written() -> None:
    model = seeded(Mixed, 1)
    before = copy.deepcopy(model)
    with pytest.raises(RecipeError) as raised:
        Recipe([Rule("ones_", ndim=(2, 3, 4))]).apply_(model)
    vectors = [name for name, p in model.named_parameters() if p.dim() == 1]
    assert len(vectors) > 5
    assert all(f"{name} (" in str(raised.value) for name in vectors)
    assert "weight_ih_l0" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert differing(before, model) == []


def test_rule_that_matches_nothing_is_a_warning_at_the_callers_line() -> None:
    recipe = Recipe([Rule("ones_", module="Conv2d"), Rule("zeros_", module="Conv3d", optional=True), Rule("ones_")])
    for call in (recipe.apply_, recipe.plan):
        with pytest.warns(UserWarning, match=r"rule 1 matched no parameter: Rule\('ones_', module='Conv2d'\)$") as seen:
            call(nn.Linear(2, 2))
        assert [w.filename for w in seen] == [__file__]


def test_tied_parameters_are_initialized_once_by_their_first_name() -> None:
    model = seeded(Mixed, 1)
    recipe = Recipe([Rule("normal_", name="words.weight"), Rule("ones_", name="head.weight"), REST])
    recipe.apply_(model, _generator())
    expected = torchinit.normal_(torch.empty(10, 8), generator=_generator())
    expected[3] = 0
    assert torch.equal(model.head.weight, expected)
    rows = {row.name: row for row in recipe.plan(model).rows}
    assert (rows["head.weight"].rule, rows["head.weight"].initializer) == ("tied", "as words.weight")


def test_module_that_is_used_twice_is_initialized_once() -> None:
    layer = nn.MultiheadAttention(8, 2)
    model = nn.ModuleList([layer, nn.Linear(2, 2), layer])
    recipes.torch_default().apply_(model, _generator())
    assert (
        differing(
            model, recipes.torch_default().apply_(nn.ModuleList([layer, nn.Linear(2, 2)]), _generator()).append(layer)
        )
        == []
    )


def test_kept_and_loaded_parameters_are_not_touched() -> None:
    model = seeded(Mixed, 1)
    before = copy.deepcopy(model)
    model.recurrent.weight_hh_l0._is_hf_initialized = True
    recipe = recipes.torch_default().keeping("body.0.*", "*.norm.bias", "attention.out_proj.*")
    recipe.apply_(model, _generator())
    kept = {"body.0.weight", "body.0.bias", "norm.bias", "recurrent.weight_hh_l0"}
    kept |= {"attention.out_proj.weight", "attention.out_proj.bias"}
    constant = {"norm.weight", "body.1.weight", "attention.in_proj_bias", "body.3.weight", "body.3.bias"}
    statistics = {"body.3.running_mean", "body.3.running_var", "body.3.num_batches_tracked"}
    assert set(before.state_dict()) - set(differing(before, model)) == kept | constant | statistics
    rows = {row.name: row for row in recipe.plan(model).rows}
    assert rows["recurrent.weight_hh_l0"].rule == "loaded"
    assert {name for name, row in rows.items() if row.initializer == "keep"} == kept
    assert all(rows[name].std is None for name in kept)


@pytest.mark.parametrize("how", ["rule", "name", "flag"])
def test_statistics_are_reset_with_the_layers_parameters_and_kept_with_them(how: str) -> None:
    def changed_model() -> nn.BatchNorm1d:
        norm = nn.BatchNorm1d(3)
        norm(torch.randn(8, 3))
        return norm

    model = nn.Sequential(changed_model(), changed_model())
    kept = copy.deepcopy(model[1])
    if how == "flag":
        for tensor in (*model[1].parameters(), *model[1].buffers()):
            tensor._is_hf_initialized = True
        recipe = Recipe([Rule("ones_", name="*.weight"), Rule("zeros_", name="*.bias")])
    else:
        recipe = Recipe([Rule("keep", name="1.*" if how == "name" else "1.[bw]*"), Rule("ones_")])
    recipe.apply_(model)
    assert differing(nn.BatchNorm1d(3), model[0]) in ([], ["bias"])
    assert differing(kept, model[1]) == []


def test_statistics_without_parameters_are_reset_unless_kept() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 3))
    model(torch.randn(8, 3))
    Recipe([Rule("default", module="Linear"), Rule("keep", optional=True)]).apply_(model)
    assert model[0].num_batches_tracked == 1
    Recipe([Rule("ones_")]).apply_(model)
    assert model[0].num_batches_tracked == 0
    assert torch.equal(model[0].running_var, torch.ones(3))


# A layer, its fans, and the fans of its weight's shape.
FANS = {
    "Conv2d": (nn.Conv2d(4, 6, 3), (36, 54), (36, 54)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (18, 27), (18, 54)),
    "depthwise": (nn.Conv2d(6, 6, 5, groups=6), (25, 25), (25, 150)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3), (36, 54), (54, 36)),
    "transposed grouped": (nn.ConvTranspose1d(4, 6, 3, groups=2), (6, 9), (9, 12)),
    "Linear": (nn.Linear(4, 6), (4, 6), (4, 6)),
}


@pytest.mark.parametrize("name", FANS)
@pytest.mark.parametrize("initializer", ["kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_"])
def test_fans_come_from_the_layer_or_on_demand_from_upstream(name: str, initializer: str) -> None:
    layer, own, upstream = FANS[name]
    args = {"mode": "fan_out", "nonlinearity": "relu"} if initializer.startswith("kaiming") else {"gain": 2.0}
    for convention, fans in (("layer", own), ("upstream", upstream)):
        recipe = Recipe([Rule(initializer, name="weight", args=args, fans=convention), REST])
        row = recipe.plan(layer).rows[0]
        assert (row.fan_in, row.fan_out) == fans
        std = math.sqrt(2 / fans[1]) if initializer.startswith("kaiming") else 2 * math.sqrt(2 / sum(fans))
        assert (row.mean, row.std) == (0, pytest.approx(std))
        recipe.apply_(layer, _generator())
        # The std equals that of a matrix with these fans.
        flat = getattr(torchinit, initializer)(torch.empty(fans[1], fans[0]), **args, generator=_generator())
        assert layer.weight.std().item() == pytest.approx(flat.std().item(), rel=0.25)
    getattr(torch.nn.init, initializer)(flat := torch.empty_like(layer.weight), **args, generator=_generator())
    assert torch.equal(flat, layer.weight)


def test_blocks_are_initialized_one_by_one_with_their_own_fans() -> None:
    model = nn.Linear(8, 24)
    Recipe([Rule("xavier_uniform_", name="weight", blocks=3), REST]).apply_(model, _generator())
    generator = _generator()
    parts = [torchinit.xavier_uniform_(torch.empty(8, 8), generator=generator) for _ in range(3)]
    assert torch.equal(model.weight, torch.cat(parts))
    Recipe([Rule("orthogonal_", name="weight", blocks=(2, 6), dim=-1), REST]).apply_(model, _generator())
    generator = _generator()
    parts = [torchinit.orthogonal_(torch.empty(24, width), generator=generator) for width in (2, 6)]
    assert torch.equal(model.weight, torch.cat(parts, 1))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"blocks": 5}, r"blocks must fill dimension 0 of weight, of shape \[24, 8\], got 5$"),
        ({"blocks": [4, 3], "dim": 1}, r"blocks must fill dimension 1 of weight, of shape \[24, 8\], got \[4, 3\]$"),
        ({"blocks": [4]}, r"blocks must fill dimension 0 of weight, of shape \[24, 8\], got \[4\]$"),
        ({"blocks": 2, "dim": 2}, r"dim must be a dimension of weight, of shape \[24, 8\], got 2$"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(rule: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe([Rule("ones_", name="weight", **rule), REST]).apply_(nn.Linear(8, 24))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            Rule("kaiming_normal_"),
            r"kaiming_normal_ needs fans, so at least 2 dimensions, got 0\.bias of shape \[4\]$",
        ),
        (Rule("orthogonal_"), r"orthogonal_ of 0\.bias: Only tensors with 2 or more dimensions are supported, got"),
        (Rule("eye_"), r"eye_ of 0\.bias: Only tensors with 2 dimensions are supported, got shape \[4\]$"),
    ],
)
def test_rule_that_does_not_fit_a_parameter_is_refused_before_anything_is_written(rule: Rule, message: str) -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 4)), 1)
    before, state = copy.deepcopy(model), torch.get_rng_state()
    with pytest.raises(RecipeError, match=message):
        Recipe([rule]).apply_(model)
    assert differing(before, model) == []
    assert torch.equal(torch.get_rng_state(), state)


class _Awkward(nn.Module):
    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(4))
        self.second = nn.Parameter(tensor, requires_grad=False)


@pytest.mark.parametrize(
    ("tensor", "rule", "message"),
    [
        (torch.zeros(4, dtype=torch.int64), Rule("normal_"), "normal_ needs a floating-point or complex tensor"),
        (torch.zeros(4, dtype=torch.complex64), Rule("trunc_normal_"), "trunc_normal_ needs a floating-point tensor"),
        (torch.zeros(1).expand(4), Rule("uniform_"), "more than one element of the written-to tensor"),
        (torch.zeros(4, dtype=torch.float16), Rule("constant_", args={"val": 1e6}), "cannot be converted"),
    ],
)
def test_parameter_that_cannot_be_written_is_found_before_the_first_is(
    tensor: torch.Tensor, rule: Rule, message: str
) -> None:
    model, state = _Awkward(tensor), torch.get_rng_state()
    with pytest.raises((RuntimeError, NotImplementedError), match=message):
        Recipe([rule]).apply_(model)
    assert torch.equal(model.first, torch.zeros(4))
    assert torch.equal(torch.get_rng_state(), state)


def test_inference_parameter_is_refused_outside_inference_mode() -> None:
    with torch.inference_mode():
        model = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        recipes.torch_default().apply_(model)
    with torch.inference_mode():
        recipes.torch_default().apply_(model)


def test_generator_of_another_device_is_refused() -> None:
    class Elsewhere(torch.Generator):
        device = torch.device("cuda")

    with pytest.raises(
        RuntimeError, match="the generator must be on the parameters' device, got one on cuda for weight on cpu"
    ):
        recipes.torch_default().apply_(nn.Linear(2, 2), Elsewhere())


def test_plan_writes_and_draws_nothing_and_converts_to_json() -> None:
    model = seeded(Mixed, 1)
    before, state = copy.deepcopy(model), torch.get_rng_state()
    plan = recipes.xavier().plan(model)
    assert differing(before, model) == []
    assert torch.equal(torch.get_rng_state(), state)
    records = json.loads(plan.to_json())
    assert [record["name"] for record in records] == [row.name for row in plan.rows]
    assert [row.name for row in plan.rows][:2] == ["body.0.weight", "body.0.bias"]
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert [row.name for row in plan.rows][: len(names)] == names
    assert len(plan.table(wide=True).splitlines()) == 1 + len(plan.rows) + 2


def test_zero_element_parameters_are_left_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Linear(3, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recipe([Rule("kaiming_normal_", name="weight"), Rule("zeros_")]).apply_(model)


def test_partitioned_parameter_is_refused() -> None:
    model = nn.Linear(3, 4)
    model.weight = nn.Parameter(torch.empty(0))
    model.weight.ds_shape = torch.Size([4, 3])
    with pytest.raises(RuntimeError, match=r"ZeRO stage 3 \(DeepSpeed\) has partitioned must be gathered"):
        Recipe([Rule("normal_")]).apply_(model)
