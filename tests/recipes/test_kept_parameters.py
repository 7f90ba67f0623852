"""Does a recipe leave alone what is no weight, what is marked, and what has no gradient?"""

import copy
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.model_libraries import add_model_libraries
from torchinit import keyed, recipes
from torchinit.recipes import Recipe, RecipeError, Rule

EVERYTHING = Recipe([Rule("zeros_")])


class Mixer(nn.Module):
    """The parameters of a state-space layer that are neither weights nor biases."""

    def __init__(self) -> None:
        super().__init__()
        self.dt_bias = nn.Parameter(torch.full((4,), -4.6))
        self.A_log = nn.Parameter(torch.arange(1.0, 9.0).log().repeat(4, 1))
        self.layer_scale = nn.Parameter(torch.full((4, 1, 1), 1e-6))
        self.logit_scale = nn.Parameter(torch.tensor(2.6))
        self.out = nn.Linear(4, 4)


@pytest.mark.parametrize("name", ["gpt2", "xavier", "llama", "vit", "resnet", "torch", "dcgan", "orthogonal-rl"])
def test_a_shipped_recipe_refuses_what_its_source_does_not_speak_of(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(
            RecipeError, match=r"no rule matches 4 parameters: dt_bias .*A_log .*layer_scale .*logit_sc"
        ):
            recipes.load(name).plan(Mixer())


def test_a_bias_is_one_beside_a_weight() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.in_weight, self.in_bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
            self.dt_bias = nn.Parameter(torch.ones(2))
            self.lstm = nn.LSTM(2, 2)

    recipe = Recipe([Rule("zeros_", role="bias"), Rule("constant_", role="weight", args={"val": 2.0}), Rule("keep")])
    rows = {row.name: row.initializer for row in recipe.plan(Pair()).rows}
    assert rows == {
        "in_weight": "constant_",
        "in_bias": "zeros_",
        "dt_bias": "keep",
        "lstm.weight_ih_l0": "constant_",
        "lstm.weight_hh_l0": "constant_",
        "lstm.bias_ih_l0": "zeros_",
        "lstm.bias_hh_l0": "zeros_",
    }


@pytest.mark.parametrize(
    ("shape", "kind", "role"),
    [((2, 2), "X", True), ((2, 2, 2), "X", False), ((2, 2, 2), "MyConv1d", True), ((2,), "MyConv1d", False)],
)
def test_a_weight_of_an_unknown_class_has_two_dimensions_unless_it_is_a_convolution(
    shape: tuple[int, ...], kind: str, role: bool
) -> None:
    module = type(kind, (nn.Module,), {})()
    module.weight = nn.Parameter(torch.ones(shape))
    row = Recipe([Rule("zeros_", role="weight"), Rule("keep")]).plan(module).rows[0]
    assert (row.initializer == "zeros_") == role


def test_a_sinusoidal_table_is_no_embedding() -> None:
    table = type("SinusoidalPositionalEmbedding", (nn.Embedding,), {})(4, 2)
    for name in ("torch", "llama", "xavier"):
        with pytest.raises(RecipeError, match="weight"):
            recipes.load(name).plan(nn.Sequential(table, nn.Linear(2, 2)))


@pytest.mark.parametrize("name", ["lora_B", "lora_up"])
def test_the_second_factor_of_an_adapter_starts_from_0(name: str) -> None:
    model = nn.ModuleDict({"lora_A": nn.Linear(4, 2, bias=False), name: nn.Linear(2, 4, bias=False)})
    for recipe in (recipes.torch_default(), recipes.xavier()):
        recipe.apply_(model)
        assert not model[name].weight.any()
        assert model["lora_A"].weight.any()


@pytest.mark.parametrize("mark", ["_no_reinit", "_is_hf_initialized"])
@pytest.mark.parametrize("key", [None, keyed.key(0)], ids=["drawn", "keyed"])
def test_a_marked_parameter_is_kept_and_the_plan_says_why(mark: str, key: torch.Tensor | None) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    nn.init.constant_(model[0].bias, -4.6)
    setattr(model[0].bias, mark, True)
    row = recipes.llama().plan(model).rows[1]
    assert (row.rule, row.initializer) == ("_no_reinit" if mark == "_no_reinit" else "loaded", "keep")
    recipes.llama().apply_(model, key=key)
    assert model[0].bias.tolist() == [pytest.approx(-4.6)] * 4


def test_a_loaded_model_whose_copy_has_lost_its_marks_is_warned_of(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = transformers.BertConfig(**sizes, vocab_size=9)
    transformers.BertModel(config).save_pretrained(tmp_path)
    model = transformers.BertModel.from_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {row.initializer for row in recipes.torch_default().plan(model).rows if "Linear" in row.module} == {
            "keep"
        }
        recipes.torch_default().plan(transformers.BertModel(config))
    with pytest.warns(UserWarning, match=r"from '.*', and no parameter is marked as loaded; copy.deepcopy loses"):
        recipes.torch_default().plan(copy.deepcopy(model))


def _partly_frozen() -> nn.Module:
    model = nn.Module()
    model.positions = nn.Parameter(torch.ones(1, 3, 4), requires_grad=False)
    model.embedding = nn.Embedding(3, 4).requires_grad_(False)
    model.frozen = nn.Linear(4, 4).requires_grad_(False)
    model.layer = nn.Linear(4, 4)
    return model


def test_a_table_without_a_gradient_is_kept_and_other_parameters_without_one_are_marked() -> None:
    rows = {row.name: row for row in EVERYTHING.plan(_partly_frozen()).rows}
    for name in ("positions", "embedding.weight"):
        assert (rows[name].rule, rows[name].initializer) == ("no gradient", "keep")
    assert (rows["frozen.weight"].rule, rows["frozen.weight"].initializer) == ("1: any (no gradient)", "zeros_")
    assert rows["layer.weight"].rule == "1: any"


def test_a_table_without_a_gradient_needs_no_rule_and_is_written_by_one_that_gives_its_name() -> None:
    model = _partly_frozen()
    assert recipes.torch_default().plan(model)
    Recipe([Rule("zeros_", name="positions"), Rule("default")]).apply_(model)
    assert not model.positions.any()


def test_in_a_frozen_model_the_missing_gradient_says_nothing() -> None:
    model = _partly_frozen().requires_grad_(False)
    assert {row.rule for row in EVERYTHING.plan(model).rows} == {"1: any"}


# Buffers.


class Rope(nn.Module):
    """Has a table and a mask as buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 1 / 10000 ** (torch.arange(0, 8, 2) / 8), persistent=False)
        self.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
        self.emb = nn.Embedding(4, 8)


def test_the_plan_lists_every_buffer_and_none_is_written_without_a_rule_for_buffers() -> None:
    rows = {row.name: row for row in EVERYTHING.plan(Rope()).rows}
    assert [(name, rows[name].rule, rows[name].initializer) for name in ("inv_freq", "mask")] == [
        ("inv_freq", "buffer", "keep"),
        ("mask", "buffer", "keep"),
    ]
    model = Rope()
    before = model.inv_freq.clone()
    EVERYTHING.apply_(model)
    assert torch.equal(model.inv_freq, before)


def test_a_rule_for_buffers_writes_them() -> None:
    recipe = Recipe([Rule("constant_", name="*inv_freq", role="buffer", args={"val": 3.0}), Rule("default")])
    model = nn.Sequential(Rope())
    assert recipe.apply_(model)[0].inv_freq.tolist() == [3.0] * 4
    assert recipe.apply_(nn.Sequential(Rope()), key=keyed.key(0))[0].inv_freq.tolist() == [3.0] * 4
    row = next(row for row in recipe.plan(model).rows if row.name == "0.inv_freq")
    assert (row.rule, row.initializer, row.mean) == ("1: buffer *inv_freq", "constant_", 3.0)


@pytest.mark.parametrize("value", [torch.nan, 1e35, 1e-40])
def test_memory_of_a_buffer_that_looks_uninitialized_is_warned_of(value: float) -> None:
    model = nn.Sequential(Rope(), Rope())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipes.torch_default().apply_(model)
    for layer in model:
        layer.inv_freq[1] = value
    with pytest.warns(UserWarning, match=r"nothing resets 2 buffers .* after to_empty\(\): \*.inv_freq; add a rule"):
        recipes.torch_default().apply_(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recipe([Rule("keep", name="*.inv_freq", role="buffer"), Rule("default")]).plan(model)


@pytest.mark.parametrize(
    "buffer",
    [
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.ones(3).to(torch.float8_e4m3fn),
        torch.full((3,), torch.finfo(torch.float64).min, dtype=torch.float64),
        torch.ones(0),
        torch.ones(4, 4).t(),
        torch.ones(3, dtype=torch.complex64),
    ],
    ids=["sparse", "csr", "float8", "mask of float64", "empty", "transposed", "complex"],
)
def test_buffers_of_any_kind_are_listed_without_a_warning(buffer: torch.Tensor) -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("table", buffer)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="nothing resets")
        assert recipes.torch_default().plan(model).rows[-1].name == "table"


def test_a_rule_for_buffers_cannot_be_shadowed_by_one_for_parameters() -> None:
    rules = [Rule("zeros_", name="*"), Rule("ones_", name="*.inv_freq", role="buffer")]
    assert Recipe.from_toml(Recipe(rules).to_toml()) == Recipe(rules)
    with pytest.raises(RecipeError, match="rule 2 can never match"):
        Recipe([Rule("zeros_", name="*", role=["weight", "bias"]), Rule("ones_", name="*.w", role="bias")])
    assert Recipe([Rule("zeros_", role="bias"), Rule("ones_")])


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(RecipeError, match="role must be one of weight, bias, norm, embedding, buffer, got 'gain'"):
        Rule("zeros_", role="gain")


def test_keeping_names_buffers_too() -> None:
    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("inv_freq", torch.full((4,), math.nan))
            self.register_buffer("slopes", torch.zeros(4))

    rules = [Rule("rotary_inv_freq_", name="*.inv_freq", role="buffer"), Rule("alibi_slopes_", role="buffer")]
    model = nn.Sequential(Rotary())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe = Recipe([*rules, Rule("keep", optional=True)]).keeping("*.inv_freq")
        rows = {row.name: row.initializer for row in recipe.apply_(model) and recipe.plan(model).rows}
        recipes.rezero().keeping("0.inv_freq")
    assert rows == {"0.inv_freq": "keep", "0.slopes": "alibi_slopes_"}
    assert model[0].inv_freq.isnan().all()
    assert model[0].slopes.all()


def test_keeping_drops_the_rules_that_it_covers() -> None:
    recipe = Recipe([Rule("ones_", name="*.weight"), Rule("zeros_", name="*.bias")]).keeping("*.weight")
    assert [rule.initializer for rule in recipe.rules] == ["keep", "zeros_"]


class Adapted(nn.Module):
    """Layers that peft gives adapters."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.q, self.conv = nn.Embedding(10, 8), nn.Linear(8, 8), nn.Conv2d(3, 4, 3)
        self.classifier = nn.Linear(8, 3)


def _adapted(**config: object) -> nn.Module:
    add_model_libraries()
    peft = pytest.importorskip("peft", exc_type=ImportError)
    return peft.get_peft_model(Adapted(), peft.LoraConfig(r=2, **config))


def test_layers_under_adapters_of_peft_have_the_keyed_weights_of_the_bare_model() -> None:
    key, recipe = keyed.key(0), recipes.torch_default()
    model = recipe.apply_(_adapted(target_modules=["q", "words", "conv"], modules_to_save=["classifier"]), key=key)
    bare, base = recipe.apply_(Adapted(), key=key), model.base_model.model
    for layer, plain in (
        (base.words.base_layer, bare.words),
        (base.q.base_layer, bare.q),
        (base.conv.base_layer, bare.conv),
        (base.classifier.original_module, bare.classifier),
    ):
        assert torch.equal(layer.weight, plain.weight)


def test_an_adapter_of_an_embedding_starts_from_0_in_its_first_factor() -> None:
    model = recipes.torch_default().apply_(_adapted(target_modules=["words"])).base_model.model.words
    assert not model.lora_embedding_A["default"].any()
    assert model.lora_embedding_B["default"].std().item() == pytest.approx(1.0, abs=0.6)


@pytest.mark.parametrize("name", ["torch", "xavier", "orthogonal-rl"])
def test_magnitudes_that_peft_computes_are_not_drawn(name: str) -> None:
    model = _adapted(target_modules=["conv"], use_dora=True)
    with pytest.raises(RecipeError, match=r"no rule matches 1 parameter: \S*magnitude\S* \(peft\.\S*DoraConv2dLayer\)"):
        recipes.load(name).plan(model)


@pytest.mark.parametrize(
    ("name", "initializer"),
    [("0.weight", "ones_"), ("*.weight", "keep"), ("?.weight", "keep"), ("[0].weight", "keep"), ("{layer}.*", "keep")],
)
def test_a_table_without_a_gradient_is_written_only_by_its_whole_name(name: str, initializer: str) -> None:
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2))
    model[0].weight.requires_grad_(False)
    recipe = Recipe([Rule("ones_", name=name), Rule("keep", optional=True)])
    assert recipe.plan(model).rows[0].initializer == initializer
