"""Does muP scale as its tables say, and does the scale of each layer's output then not follow the width?"""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

import torchinit
from tests.support import transformers_models
from tests.support.growing import NORMAL, Encoder, Tied, mlp, scaled
from torchinit import keyed, recipes
from torchinit.recipes import Recipe, Rule


class Tokens(nn.Module):
    """Parameters of no layer: a class token and positions, as in a vision transformer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(5, width))
        self.proj, self.decode = nn.Linear(width, width), nn.Parameter(torch.zeros(3, width))


# The tables of the paper.


@pytest.mark.parametrize(
    ("optimizer", "rates"),
    [("adam", (1, 1, 1 / 4, 1, 1 / 4, 1)), ("sgd", (4, 4, 1, 4, 1 / 4, 1))],
)
def test_table_3_holds_for_each_kind(optimizer: str, rates: Sequence[float]) -> None:
    # Input weight and bias, hidden weight and bias, output weight and bias.
    kinds = ("input", "vector", "hidden", "vector", "output", "fixed")
    widths, stds = (4, 4, 4, 4, 4, 1), (1, 1, 1 / 2, 1, 1 / 4, 1)
    found = scaled(mlp(32, 2), mlp(128, 2), optimizer)
    assert list(found.values()) == list(zip(kinds, widths, stds, rates, strict=True))


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 1 / 2), ("sgd", 4 / 2)])
def test_fan_in_decides_where_the_fans_grow_unequally(optimizer: str, rate: float) -> None:
    class Conv1D(nn.Module):  # As in transformers' GPT-2, x @ weight.
        def __init__(self, fan_in: int, fan_out: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(fan_in, fan_out))

    expected = ("hidden", 2.0, round(math.sqrt(1 / 2), 9), rate)
    for layer in (nn.Linear, lambda i, o: nn.Conv2d(i, o, 3), lambda i, o: nn.ConvTranspose2d(i, o, 3), Conv1D):
        assert scaled(layer(8, 4), layer(16, 16), optimizer)["weight"] == expected


def test_convolutions_go_by_their_groups_and_orientation() -> None:
    def net(width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(3, width, 3),
            nn.Conv2d(width, width, 3, groups=4),
            nn.Conv2d(width, width, 3, groups=width),
            nn.BatchNorm2d(width),
            nn.ConvTranspose2d(width, width, 2),
            nn.ConvTranspose2d(width, 3, 2),
            nn.ConvTranspose1d(3, width, 2),
        )

    found = scaled(net(8), net(32))
    assert [found[f"{layer}.weight"] for layer in range(7)] == [
        ("input", 4.0, 1.0, 1.0),
        ("hidden", 4.0, 0.5, 0.25),
        # A depthwise kernel is one filter per channel.
        ("input", 4.0, 1.0, 1.0),
        ("vector", 4.0, 1.0, 1.0),
        ("hidden", 4.0, 0.5, 0.25),
        ("output", 4.0, 0.25, 0.25),
        ("input", 4.0, 1.0, 1.0),
    ]


def test_packed_weights_are_scaled_by_block() -> None:
    def net(width: int) -> nn.ModuleList:
        return nn.ModuleList([nn.MultiheadAttention(width, 2, add_bias_kv=True), nn.LSTM(6, width)])

    found = scaled(net(8), net(32), recipe="xavier")
    hidden, through = ("hidden", 4.0, 0.5, 0.25), ("input", 4.0, 1.0, 1.0)
    assert found["0.in_proj_weight"] == found["0.out_proj.weight"] == found["1.weight_hh_l0"] == hidden
    assert found["0.bias_k"] == found["1.weight_ih_l0"] == through
    blocks = {step.target: step.fills for step in recipes.mup("xavier", net(8)).plan(net(32)).steps}["0.in_proj_weight"]
    bound = math.sqrt(6 / (8 + 8)) / 2
    assert [fill.block[:3] for fill in blocks] == [(0, 0, 32), (0, 32, 32), (0, 64, 32)]
    assert all(fill.args == pytest.approx((-bound, bound)) for fill in blocks)


def test_a_recipe_that_scales_by_fans_gets_the_same_law() -> None:
    # Lecun and He already are 1 / fan_in for hidden weights; fan_out of an input is the width, and is not followed.
    for initializer in ("lecun_normal_", "kaiming_normal_", "xavier_normal_"):
        recipe = Recipe([Rule(initializer, ndim=2), Rule("zeros_")])
        own = {row.name: row.std for row in recipe.plan(mlp(128)).rows}
        base = {row.name: row.std for row in recipe.plan(mlp(32)).rows}
        rows = {row.name: row.std for row in recipes.mup(recipe, mlp(32)).plan(mlp(128)).rows}
        assert rows["2.weight"] == pytest.approx(own["2.weight"])
        assert rows["0.weight"] == base["0.weight"]
        assert rows["6.weight"] == pytest.approx(base["6.weight"] / 4)


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 1), ("sgd", 4)])
@pytest.mark.parametrize("script", [False, True])
def test_a_tied_embedding_is_scaled_as_an_input_and_asks_for_the_output_multiplier(
    optimizer: str, rate: float, script: bool
) -> None:
    model: nn.Module = torch.jit.script(Tied(32)) if script else Tied(32)
    (row,) = recipes.mup(NORMAL, Tied(8), optimizer).multipliers(model).rows
    assert (row.name, row.kind, row.base_std, row.lr_mult) == ("words.weight", "input, output", row.std, rate)
    assert (row.readout, row.output_mult) == ("head", 0.25)
    table = recipes.mup(NORMAL, Tied(8)).multipliers(model)
    assert table.output_multiplier == 0.25
    assert str(table).endswith("in forward, multiply the input of head by 0.25")


def test_an_output_that_is_not_tied_needs_no_multiplier() -> None:
    table = recipes.mup(NORMAL, Tied(8, False)).multipliers(Tied(32, False))
    assert [row.kind for row in table.rows] == ["input", "output"]
    assert table.output_multiplier == 1.0
    assert "forward" not in str(table)


def test_parameters_that_are_no_weights_are_inputs_unless_told() -> None:
    every = Recipe([Rule("normal_", ndim=(2, 3)), Rule("default")])
    found = scaled(Tokens(8), Tokens(32), recipe=every)
    assert [kind for kind, *_ in found.values()] == ["input", "input", "input", "hidden", "vector"]
    recipe = recipes.mup(every, Tokens(8), outputs="decode", inputs=["cls_token", "*.proj.bias"])
    rows = {row.name: row for row in recipe.multipliers(Tokens(32)).rows}
    assert (rows["decode"].kind, rows["decode"].width_mult, rows["decode"].lr_mult) == ("output", 4.0, 0.25)
    assert rows["cls_token"].kind == "input"
    assert rows["proj.bias"].kind == "vector"
    told = recipes.mup(NORMAL, nn.Linear(8, 3), inputs="weight").multipliers(nn.Linear(32, 3)).rows[0]
    assert (told.kind, told.width_mult, told.lr_mult, told.std) == ("input", 4.0, 1.0, told.base_std)


def test_models_of_transformers_have_the_kinds_that_their_layers_are() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    def gpt2(width: int) -> nn.Module:
        return GPT2LMHeadModel(GPT2Config(n_embd=width, n_layer=1, n_head=2, vocab_size=50, bos_token_id=0))

    def llama(width: int) -> nn.Module:
        sizes = {**transformers_models.TINY, "hidden_size": width, "intermediate_size": 3 * width}
        return LlamaForCausalLM(LlamaConfig(**sizes))

    with torch.device("meta"):
        base = gpt2(8)
    found = scaled(base, gpt2(32), recipe="gpt2")
    assert found["transformer.wte.weight"] == ("input, output", 4.0, 1.0, 1.0)
    assert found["transformer.wpe.weight"] == ("input", 4.0, 1.0, 1.0)
    assert {v for n, v in found.items() if ".c_" in n and "weight" in n} == {("hidden", 4.0, 0.5, 0.25)}
    # The two residual branches of one layer.
    stds = {row.name: row.std for row in recipes.mup("gpt2", base).plan(gpt2(32)).rows}
    assert stds["transformer.h.0.mlp.c_proj.weight"] == pytest.approx(0.02 / math.sqrt(2) / 2)
    found = scaled(llama(8), llama(32), recipe="llama")
    assert found["model.embed_tokens.weight"] == ("input", 4.0, 1.0, 1.0)
    assert found["lm_head.weight"] == ("output", 4.0, 0.25, 0.25)
    assert found["model.norm.weight"] == ("vector", 4.0, 1.0, 1.0)
    assert {v for n, v in found.items() if "_proj" in n} == {("hidden", 4.0, 0.5, 0.25)}


# How fills are scaled.


def _fill(recipe: Recipe, model: nn.Module, name: str) -> tuple[object, ...]:
    (fill,) = next(step.fills for step in recipe.plan(model).steps if step.target == name)
    return (fill.initializer, *fill.args)


def test_an_orthogonal_hidden_weight_stays_orthogonal() -> None:
    recipe = recipes.mup(Recipe([Rule("orthogonal_", ndim=2, args={"gain": 1.5}), Rule("zeros_")]), mlp(32, 2))
    model = recipe.apply_(mlp(128, 2))
    assert _fill(recipe, model, "2.weight") == ("orthogonal_", 1.5)
    # The values of an orthogonal input shrink with the width, those of an output with its root.
    assert _fill(recipe, model, "0.weight") == ("orthogonal_", pytest.approx(3.0))
    assert _fill(recipe, model, "4.weight") == ("orthogonal_", pytest.approx(0.75))


def test_bounds_of_a_truncated_normal_shrink_with_it() -> None:
    rule = Rule("trunc_normal_", ndim=2, args={"std": 0.5, "a": -1.0, "b": 1.0})
    recipe = recipes.mup(Recipe([rule, Rule("zeros_")]), mlp(32, 2))
    assert _fill(recipe, mlp(128, 2), "2.weight") == ("trunc_normal_", 0.0, 0.25, -0.5, 0.5)
    assert _fill(recipe, mlp(128, 2), "0.weight") == ("trunc_normal_", 0.0, 0.5, -1.0, 1.0)


@pytest.mark.parametrize(
    ("rule", "make", "factor"),
    [
        (Rule("sparse_", ndim=2, args={"sparsity": 0.5}), lambda width: nn.Linear(width, 4), 1 / 4),
        (Rule("variance_scaling_", ndim=2, args={"distribution": "uniform"}), lambda width: nn.Linear(width, 4), 1 / 4),
        (Rule("icnr_", ndim=4, args={"upscale_factor": 2}), lambda width: nn.Conv2d(width, 4, 3), 1 / 4),
        (Rule("delta_orthogonal_", ndim=4), lambda width: nn.Conv2d(width, 2 * width, 3), 1 / 2),
        (Rule("delta_orthogonal_", ndim=4), lambda width: nn.Conv2d(3, width, 3), 1),
    ],
)
def test_every_spread_is_scaled(rule: Rule, make: Callable[[int], nn.Module], factor: float) -> None:
    recipe, model = Recipe([rule, Rule("zeros_")]), make(16)
    under = recipes.mup(recipe, make(4))
    expected = recipe.plan(make(4)).rows[0].std * factor
    assert under.plan(model).rows[0].std == pytest.approx(expected)
    drawn = [under.apply_(model, torch.Generator().manual_seed(seed)).weight.clone() for seed in range(60)]
    assert torch.stack(drawn).std().item() == pytest.approx(expected, rel=0.05)


def test_an_identity_is_left_as_it_is() -> None:
    recipe = recipes.mup(Recipe([Rule("eye_", ndim=2), Rule("zeros_")]), nn.Linear(4, 4))
    assert torch.equal(recipe.apply_(nn.Linear(16, 16)).weight, torch.eye(16))


def test_the_padding_row_and_the_statistics_are_reset() -> None:
    tied = Tied(32, False)
    recipes.mup("torch", Tied(8, False)).apply_(tied)
    assert not tied.words.weight[1].any()
    assert tied.words.weight[0].any()
    norm = nn.BatchNorm1d(8)
    norm(torch.randn(4, 8))
    assert not recipes.mup("torch", nn.BatchNorm1d(2)).apply_(norm).running_mean.any()


def test_kept_parameters_are_kept_and_have_a_learning_rate() -> None:
    recipe = recipes.mup("xavier", mlp(32)).keeping("2.*")
    model = mlp(128)
    before = model[2].weight.clone()
    recipe.apply_(model)
    row = next(row for row in recipe.multipliers(model).rows if row.name == "2.weight")
    assert torch.equal(model[2].weight, before)
    assert (row.kind, row.std, row.base_std, row.lr_mult) == ("hidden", None, None, 0.25)


def test_a_model_of_the_bases_width_gets_the_recipe_as_it_is() -> None:
    recipe = recipes.mup("torch", Tied(8))
    a, b = (r.apply_(Tied(8), torch.Generator().manual_seed(0)) for r in (recipe, recipes.torch_default()))
    assert torch.equal(a.words.weight, b.words.weight)
    table = recipe.multipliers(Tied(8))
    assert [(row.kind, row.width_mult, row.lr_mult) for row in table.rows] == [("fixed", 1.0, 1.0)]
    assert table.output_multiplier == 1.0


# Bits, by seed, by key and attached.


def test_bits_are_those_of_the_scaled_fills() -> None:
    recipe = recipes.mup(NORMAL, Tied(8, False))
    model = recipe.apply_(Tied(32, False), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    words = torchinit.normal_(torch.empty(10, 32), 0.0, 0.02, generator=generator)
    head = torchinit.normal_(torch.empty(10, 32), 0.0, 0.02 / 4, generator=generator)
    words[1] = 0
    assert torch.equal(model.words.weight, words)
    assert torch.equal(model.head.weight, head)
    key = keyed.key(3)
    recipe.apply_(model, key=key)
    drawn = keyed.normal_(torch.empty(10, 32), keyed.fold_in(key, "head.weight"), 0.0, 0.02 / 4)
    assert torch.equal(model.head.weight, drawn)


def test_clones_and_parameters_that_are_drawn_twice_are_scaled() -> None:
    def net(width: int) -> nn.Transformer:
        return nn.Transformer(width, 2, 2, 1, 2 * width, batch_first=True)

    recipe, name = recipes.mup("torch", net(8)), "encoder.layers.1.linear1.weight"
    drawn = [step.fills for step in recipe.plan(net(32)).steps if step.target == name]
    # Linear's own default, then that of the Transformer around it, which both are uniform.
    bounds = [1 / math.sqrt(8) / 2, math.sqrt(6 / (8 + 16)) / 2]
    assert [fill.args for (fill,) in drawn] == [pytest.approx((-bound, bound)) for bound in bounds]
    key = keyed.key(0)
    expected = keyed.uniform_(torch.empty(64, 32), keyed.fold_in(key, name), *drawn[1][0].args)
    assert torch.equal(recipe.apply_(net(32), key=key).get_parameter(name), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["torch", "xavier"])
def test_a_scripted_model_and_its_methods_get_the_same_bits(name: str) -> None:
    with torch.device("meta"):
        base = Encoder(8)
    recipe = recipes.mup(name, base)
    eager = recipe.apply_(Encoder(16), torch.Generator().manual_seed(0)).state_dict()
    scripted = torch.jit.script(Encoder(16))
    net = recipe.attach(scripted)
    recipe.apply_(scripted, torch.Generator().manual_seed(0))
    net.reset_parameters(torch.Generator().manual_seed(0))
    for model in (scripted, net):
        assert all(torch.equal(values, eager[name]) for name, values in model.state_dict().items())
    by_key = recipe.apply_(Encoder(16), key=keyed.key(5)).state_dict()
    net.reset_parameters_keyed(5)
    assert all(torch.equal(values, by_key[name]) for name, values in net.state_dict().items())
    table, own = (recipe.multipliers(model) for model in (scripted, Encoder(16)))
    assert table == own


def test_names_that_compile_adds_are_ignored() -> None:
    compiled = nn.ModuleDict({"_orig_mod": mlp(16)})
    rows = recipes.mup(NORMAL, mlp(8)).multipliers(compiled).rows
    assert [(row.name, row.kind) for row in rows[:2]] == [
        ("_orig_mod.0.weight", "input"),
        ("_orig_mod.0.bias", "vector"),
    ]
