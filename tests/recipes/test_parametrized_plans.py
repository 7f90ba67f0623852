"""Which rules, rows and marks does a parametrized weight have, alone, tied, in clones, on shards and in other formats?"""

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import torchinit
from tests.support.distributed import on_ranks
from tests.support.parametrized import (
    NORMS,
    XAVIER,
    Doubled,
    FullRank,
    Scaled,
    Triangle,
    assert_as_constructed,
    between,
    effective,
    every_norm,
    registered,
    spoiled,
    weight_norms,
)
from torchinit import keyed, recipes
from torchinit.recipes import Recipe, RecipeError, Rule

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")


def test_a_rule_for_a_number_of_dimensions_means_that_of_the_effective_weight() -> None:
    model = nn.Sequential(registered(nn.Linear(4, 4), Triangle()))
    recipe = Recipe([Rule("zeros_", ndim=1), Rule("xavier_uniform_")])
    assert [(row.name, row.initializer) for row in recipe.plan(model).rows] == [
        ("0.weight", "xavier_uniform_ (Triangle)"),
        ("0.bias", "zeros_"),
    ]


def test_a_state_dict_read_as_modules_keeps_the_names_of_its_originals() -> None:
    tree, path = nn.Module(), ("0", "parametrizations", "weight")
    module = tree
    for part in path:
        module.add_module(part, nn.Module())
        module = getattr(module, part)
    module.original0 = nn.Parameter(torch.zeros(4, 1))
    rows = Recipe([Rule("normal_")]).plan(tree).rows
    assert [row.name for row in rows] == ["0.parametrizations.weight.original0"]


def test_only_the_buffers_of_a_parametrization_itself_go_with_its_weight() -> None:
    layer = nn.utils.spectral_norm(nn.Linear(3, 4))
    layer.register_buffer("weight_u_scale", torch.ones(2))
    rows = Recipe([Rule("normal_")]).plan(nn.Sequential(layer)).rows
    assert [row.name for row in rows] == ["0.weight", "0.bias", "0.weight_u_scale"]


def test_planning_changes_no_state_of_a_parametrization() -> None:
    model = between(lambda: registered(parametrizations.spectral_norm(nn.Linear(8, 8)), Scaled()))
    model[1].parametrizations.weight[1].note = None
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    recipes.torch_default().plan(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[1].parametrizations.weight[1].note is None
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("source", ["global", "generator", "key"])
def test_a_right_inverse_that_raises_leaves_model_and_generators_as_they_were(source: str) -> None:
    model = nn.Sequential(
        nn.BatchNorm1d(4),
        parametrizations.weight_norm(nn.Linear(4, 4)),
        registered(nn.Linear(4, 4), Scaled()),
        registered(nn.Linear(4, 4), FullRank()),
    )
    note = model[2].parametrizations.weight[0].note
    recipe = Recipe([Rule("ones_", name="3.weight"), Rule("normal_")])
    tensors = [*model.parameters(), *model.buffers()]
    before, versions = [t.detach().clone() for t in tensors], [t._version for t in tensors]
    generator = torch.Generator().manual_seed(1)
    states = torch.get_rng_state(), generator.get_state()
    draws: dict[str, Any] = {"generator": {"generator": generator}, "key": {"key": keyed.key(0)}}.get(source, {})
    message = (
        r"the parametrization of 3\.weight must take the weight that the rule draws, got ValueError: the weight must have"
        r" full rank; keep the weight, or name 3\.parametrizations\.weight\.original in a rule$"
    )
    with pytest.raises(RecipeError, match=message):
        recipe.apply_(model, **draws)
    assert all(map(torch.equal, tensors, before))
    assert [t._version for t in tensors] == versions
    assert model[2].parametrizations.weight[0].note is note
    assert torch.equal(states[0], torch.get_rng_state())
    assert torch.equal(states[1], generator.get_state())


def test_a_rehearsal_does_not_change_what_is_drawn() -> None:
    def build(*steps: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), registered(nn.Linear(4, 4), *steps), nn.Linear(4, 4))

    plain = XAVIER.apply_(build(), torch.Generator().manual_seed(2))
    model = XAVIER.apply_(build(FullRank()), torch.Generator().manual_seed(2))
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(model, plain, strict=True))


def test_a_parametrization_without_an_inverse_is_refused_kept_or_written_by_its_originals_name() -> None:
    model = nn.Sequential(nn.Linear(4, 4), registered(nn.Linear(4, 4), Doubled()))
    message = (
        r"the parametrization of 1\.weight must have a right_inverse to write the weight through, got Doubled without one;"
        r" keep the weight, or name 1\.parametrizations\.weight\.original in a rule$"
    )
    before = model[1].weight.detach().clone()
    for recipe in (XAVIER, recipes.torch_default(), recipes.xavier()):
        for run in (recipe.plan, recipe.apply_):
            with pytest.raises(RecipeError, match=message):
                run(model)
    XAVIER.keeping("1.weight").apply_(model)
    assert torch.equal(model[1].weight, before)
    Recipe([Rule("ones_", name="*.original"), *XAVIER.rules]).apply_(model)
    assert torch.equal(model[1].weight, torch.full((4, 4), 2.0))


def test_rules_that_name_originals_work_on_them_with_the_layers_fans() -> None:
    recipe = Recipe(
        [
            Rule("ones_", name=["*.original0", "*_g"]),
            Rule("kaiming_normal_", name=["*.original1", "*_v"]),
            Rule("keep"),
        ]
    )
    for norm in ("weight_norm", "old weight_norm"):
        model = nn.Sequential(NORMS[norm](nn.ConvTranspose1d(64, 32, 16, 8)))
        rows = {row.name.rpartition(".")[2]: row for row in recipe.plan(model).rows}
        norms, directions = rows.get("original0", rows.get("weight_g")), rows.get("original1", rows.get("weight_v"))
        assert (norms.initializer, norms.mean) == ("ones_", 1.0)
        assert (directions.fan_in, directions.std) == (64 * 16, pytest.approx(math.sqrt(2 / 1024)))
        recipe.apply_(model)
        assert torch.equal(
            next(p for n, p in model.named_parameters() if n.endswith(("0.weight_g", "original0"))),
            torch.ones(64, 1, 1),
        )
    # A rule for the weight that comes first decides.
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)))
    with pytest.warns(UserWarning, match="rule 3 matched no parameter"):
        rows = Recipe([*XAVIER.rules, Rule("ones_", name="*.original0")]).plan(model).rows
    assert [row.name for row in rows] == ["0.weight", "0.bias"]


def test_rules_match_the_type_before_parametrization() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    recipe = Recipe(
        [
            Rule("zeros_", name="*", module=["ParametrizedConv2d", "ModuleDict"], optional=True),
            Rule("ones_", module="Conv2d", ndim=4),
            Rule("keep"),
        ]
    )
    assert [(row.name, row.module, row.initializer) for row in recipe.plan(model).rows] == [
        ("0.weight", "Conv2d", "ones_ (weight_norm)"),
        ("0.bias", "Conv2d", "keep"),
    ]


@every_norm
def test_a_parametrized_weight_without_a_rule_is_refused_by_its_own_name(norm: str) -> None:
    with pytest.raises(RecipeError, match=r"no rule matches 1 parameter: 0\.weight \(.*Linear\); add a rule"):
        Recipe([Rule("zeros_", name="*.bias")]).plan(nn.Sequential(NORMS[norm](nn.Linear(4, 4))))


@pytest.mark.parametrize("norm", ["spectral_norm", "old spectral_norm"])
def test_moments_under_a_spectral_norm_are_known_for_independent_values_of_mean_0_alone(norm: str) -> None:
    model = nn.Sequential(NORMS[norm](nn.Linear(8, 8, bias=False)))
    for rule in (Rule("normal_", args={"mean": 1.0}), Rule("ones_"), Rule("orthogonal_")):
        assert [(row.mean, row.std) for row in Recipe([rule]).plan(model).rows] == [(None, None)]
    row = Recipe([Rule("normal_", args={"std": 3.0})]).plan(model).rows[0]
    assert (row.mean, row.std) == (0.0, pytest.approx(1 / (2 * math.sqrt(8))))


def test_rows_stand_in_the_order_of_the_plain_model() -> None:
    plain = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 4, 2), nn.Linear(4, 2))
    names = [row.name for row in recipes.xavier().plan(plain).rows]
    for norm in NORMS.values():
        model = copy.deepcopy(plain)
        norm(model[0])
        norm(norm(model[1], "weight_hh_l1"), "weight_ih_l0")
        assert [row.name for row in recipes.xavier().plan(model).rows] == names


@weight_norms
def test_each_gate_of_a_parametrized_rnn_has_its_own_fans(norm: str) -> None:
    model = NORMS[norm](nn.LSTM(32, 64), "weight_hh_l0")
    row = next(row for row in recipes.xavier().plan(model).rows if row.name == "weight_hh_l0")
    assert (row.initializer, row.std) == ("xavier_uniform_ x4 (weight_norm)", 0.125)
    recipes.xavier().apply_(model)
    assert model.weight_hh_l0.std().item() == pytest.approx(0.125, rel=0.05)


@weight_norms
def test_a_zero_weight_and_a_padding_row_are_zero_and_not_nan(norm: str) -> None:
    model = nn.Sequential(NORMS[norm](nn.Linear(6, 4)))
    Recipe([Rule("zeros_")]).apply_(model)
    assert torch.equal(model[0].weight, torch.zeros(4, 6))
    directions = list(model.parameters())[-1]
    # Rows differ, so that they can learn different things.
    assert directions.norm(dim=1).min() > 0
    assert torch.linalg.matrix_rank(directions) == 4
    table = recipes.xavier().apply_(nn.Sequential(NORMS[norm](nn.Embedding(5, 6, padding_idx=1))))[0].weight
    assert torch.equal(table[1], torch.zeros(6))
    assert table.isfinite().all()
    recipe = Recipe([Rule("zeros_")])
    twice = [copy.deepcopy(nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 4)))) for _ in range(2)]
    states = [recipe.apply_(each, key=keyed.key(0)).state_dict() for each in twice]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("norm", ["spectral_norm", "old spectral_norm", "orthogonal"])
def test_a_zero_weight_that_would_be_normalized_is_refused(norm: str) -> None:
    model = nn.Sequential(NORMS[norm](nn.Linear(6, 4)))
    with pytest.raises(RecipeError, match=r"0\.weight must take a weight that is not 0, which .* normalizes, got 0"):
        Recipe([Rule("zeros_")]).plan(model)


@every_norm
@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("first", ["plain", "parametrized"])
def test_a_weight_tied_to_a_parametrized_one_is_drawn_once(norm: str, by_key: bool, first: str) -> None:
    table, layer = nn.Embedding(8, 8), nn.Linear(8, 8)
    layer.weight = table.weight
    NORMS[norm](layer)
    model = spoiled(nn.Sequential(*([table, layer] if first == "plain" else [layer, table])))
    rows = {row.name: row.initializer for row in XAVIER.plan(model).rows}
    assert sum(name.startswith("as ") for name in rows.values()) == 1
    recipe = Recipe([Rule("xavier_normal_", ndim=2), Rule("zeros_")])
    recipe.apply_(model, **({"key": keyed.key(0)} if by_key else {}))
    weight = effective(layer, torch.randn(2, 8))
    if "weight" in norm:
        torch.testing.assert_close(weight, table.weight.detach())
    elif "spectral" in norm:
        assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1.0, abs=1e-3)
        torch.testing.assert_close(
            weight, table.weight.detach() / torch.linalg.matrix_norm(table.weight.detach(), 2), atol=1e-3, rtol=1e-3
        )
    else:
        torch.testing.assert_close(weight @ weight.mT, torch.eye(8))
    if by_key:
        plain = recipe.apply_(nn.Sequential(nn.Linear(8, 8)), key=keyed.key(0))[0].weight
        if "weight" in norm:
            torch.testing.assert_close(weight, plain.detach())


def test_a_parametrized_layer_in_two_places_is_drawn_once() -> None:
    def build() -> nn.Module:
        layer = parametrizations.spectral_norm(nn.Linear(4, 4))
        return nn.Sequential(layer, nn.ReLU(), layer)

    assert_as_constructed(build)
    assert [row.rule for row in recipes.torch_default().plan(build()).rows] == ["1: any", "1: any", "tied", "tied"]


@every_norm
def test_kept_frozen_and_loaded_weights(norm: str) -> None:
    model = nn.Sequential(NORMS[norm](nn.Linear(64, 64)))
    before = copy.deepcopy(model.state_dict())
    XAVIER.keeping("0.weight").apply_(model)
    assert XAVIER.keeping("0.weight").plan(model).rows[0].initializer == "keep"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items() if "bias" not in name)
    model.requires_grad_(False)
    XAVIER.apply_(model)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert any("weight" in name for name in changed)
    assert not any(p.requires_grad for p in model.parameters())
    before = copy.deepcopy(model.state_dict())
    for parameter in model.parameters():
        parameter._is_hf_initialized = True
    assert {row.rule for row in XAVIER.plan(model).rows} == {"loaded"}
    XAVIER.apply_(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@weight_norms
@pytest.mark.parametrize("loaded", [0, 1], ids=["norms", "directions"])
def test_a_loaded_original_is_kept_beside_one_that_is_not(norm: str, loaded: int) -> None:
    model = nn.Sequential(NORMS[norm](nn.Linear(8, 8)))
    originals = [p for p in model.parameters() if p.dim() == 2]
    originals[loaded]._is_hf_initialized = True
    before = originals[loaded].detach().clone()
    XAVIER.apply_(model, key=keyed.key(0))
    plain = XAVIER.apply_(nn.Sequential(nn.Linear(8, 8)), key=keyed.key(0))[0].weight.detach()
    assert torch.equal(originals[loaded], before)
    expected = [plain.norm(dim=1, keepdim=True), plain]
    torch.testing.assert_close(originals[1 - loaded].detach(), expected[1 - loaded])


def test_a_cached_weight_is_computed_anew() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 8)))
    with parametrize.cached():
        old = model[0].weight
        XAVIER.apply_(model)
        assert not torch.equal(model[0].weight, old)
        cached = model[0].weight
    assert torch.equal(cached, model[0].weight)


@every_norm
def test_meta_parameters_are_left_alone_and_equal_others_once_they_exist(norm: str) -> None:
    with torch.device("meta"):
        model = nn.Sequential(NORMS[norm](nn.Linear(8, 6)))
    assert [row.shape for row in XAVIER.plan(model).rows] == [(6, 8), (6,)]
    XAVIER.apply_(model)
    XAVIER.apply_(model, key=keyed.key(0))
    assert all(p.is_meta for p in model.parameters())
    spoiled(model.to_empty(device="cpu"))
    other = nn.Sequential(NORMS[norm](nn.Linear(8, 6)))
    states = [XAVIER.apply_(each, key=keyed.key(0)).state_dict() for each in (model, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("norm", [name for name in NORMS if name != "orthogonal"])
def test_traced_and_exported_parametrizations_are_refused_in_one_sentence(norm: str) -> None:
    model = nn.Sequential(NORMS[norm](nn.Linear(4, 4)), nn.Linear(4, 4)).eval()
    traced = torch.jit.trace(model, torch.zeros(1, 4))
    message = (
        r"the parametrization of 0\.weight must have a right_inverse to write the weight through, got a TorchScript or"
        r" exported module without one; initialize the model before it is traced, keep the weight, or name 0\.\S+"
    )
    named = Recipe([Rule("normal_", name=["*.original*", "*_[gv]", "*_orig"]), Rule("default")])
    for recipe in (XAVIER, recipes.torch_default()):
        for run in (recipe.plan, recipe.apply_, recipe.attach):
            with pytest.raises(RecipeError, match=message):
                run(traced)
    assert XAVIER.keeping("0.weight").plan(traced).rows[0].initializer == "keep"
    assert named.plan(traced).rows
    named.attach(traced).reset_parameters()
    if not norm.startswith("old"):
        exported = torch.export.export(model, (torch.zeros(1, 4),)).module()
        with pytest.raises(RecipeError, match=message):
            XAVIER.plan(exported)


def test_clones_of_a_parametrized_layer_are_copies_under_torch_default() -> None:
    def build() -> nn.Module:
        layer = nn.TransformerEncoderLayer(8, 2, 16)
        parametrizations.weight_norm(layer.linear1)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    assert_as_constructed(build)


@pytest.mark.filterwarnings("ignore:a recipe has a rule for each tensor that one rule can say")
@pytest.mark.parametrize("norm", [name for name in NORMS if name != "orthogonal"])
def test_a_recorded_recipe_fits_the_model_that_it_was_recorded_from(norm: str) -> None:
    def build() -> nn.Module:
        model = nn.ModuleDict({"a": NORMS[norm](nn.Linear(8, 8)), "b": nn.Linear(8, 8)})
        nn.init.constant_(model["a"].bias, 0.5)
        return model

    rows = {row.name: row for row in torchinit.record(build).recipe().plan(build()).rows}
    assert [rows[f"{name}.bias"].initializer for name in "ab"] == ["constant_", "default uniform_"]


def _shards_that_differ(rank: int) -> list[str]:
    from torch.distributed.fsdp import fully_shard

    differing = []
    for draws in ({"key": keyed.key(0)}, {}):
        states = []
        for sharded in (False, True):
            model = nn.Sequential(*(norm(nn.Linear(7, 7)) for norm in NORMS.values()))
            if sharded:
                for layer in model:
                    fully_shard(layer)
            torch.manual_seed(1)
            XAVIER.apply_(model, **draws)
            states.append({name: getattr(p, "full_tensor", lambda p=p: p)() for name, p in model.state_dict().items()})
        differing += [name for name, value in states[0].items() if not torch.equal(value, states[1][name])]
    return differing


def test_a_sharded_model_gets_the_values_of_a_whole_one() -> None:
    assert on_ranks(2, _shards_that_differ) == [[], []]
