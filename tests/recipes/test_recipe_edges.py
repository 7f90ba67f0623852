"""Do rules, plans and shipped recipes hold at their edges?"""

import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from jit_tests.scripting import run_quietly
from tests.support.layers import differing, seeded
from torchinit import recipes
from torchinit.recipes import Recipe, Rule

REST = Rule("keep", optional=True)


def _generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _worn() -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(3)
    norm(torch.randn(8, 3))
    return norm


@pytest.mark.parametrize("rest", [Rule("keep"), Rule("keep", name="*")])
def test_rule_that_keeps_the_rest_does_not_keep_the_statistics(rest: Rule) -> None:
    model = Recipe([Rule("ones_", name="*.weight"), rest]).apply_(_worn())
    assert model.num_batches_tracked == 0
    assert torch.equal(model.running_mean, torch.zeros(3))


def test_plan_has_a_row_for_each_statistic() -> None:
    rows = recipes.torch().plan(nn.BatchNorm1d(3)).rows
    assert [(row.name, row.rule, row.initializer, row.mean) for row in rows[2:]] == [
        ("running_mean", "statistics", "zeros_", 0.0),
        ("running_var", "statistics", "ones_", 1.0),
        ("num_batches_tracked", "statistics", "zeros_", 0.0),
    ]


def test_plan_names_the_last_draw_of_the_whole_and_no_draw_where_there_is_none() -> None:
    rows = {row.name: row for row in recipes.torch().plan(nn.MultiheadAttention(4, 2)).rows}
    assert (rows["out_proj.bias"].initializer, rows["out_proj.bias"].std) == ("default zeros_", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert recipes.torch().plan(nn.Linear(3, 0)).rows[0].initializer == "default"


def test_clones_have_the_expected_moments_of_their_source() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    rows = {row.name: row for row in recipes.torch().plan(model).rows}
    assert rows["layers.1.linear1.weight"].std == rows["layers.0.linear1.weight"].std
    assert rows["layers.0.linear1.weight"].std == pytest.approx(1 / math.sqrt(3 * 8))


def test_clones_of_a_layer_whose_weight_is_tied_to_another_are_copies_of_it() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    model = nn.Sequential(nn.Linear(8, 16), encoder)
    encoder.layers[0].linear1.weight = model[0].weight
    recipes.torch().apply_(model, _generator())
    assert torch.equal(encoder.layers[1].linear1.weight, model[0].weight)
    rows = {row.name: row for row in recipes.torch().plan(model).rows}
    assert rows["1.layers.1.linear1.weight"].std == rows["0.weight"].std


def test_blocks_may_be_counted_from_the_last_dimension_back_to_the_first() -> None:
    rows = Recipe([Rule("xavier_uniform_", name="weight", blocks=3, dim=-2), REST]).plan(nn.Linear(4, 6)).rows
    assert rows[0].initializer == "xavier_uniform_ x3"
    with pytest.raises(recipes.RecipeError, match=r"dim must be one of weight, of shape \[6, 4\], got -3$"):
        Recipe([Rule("ones_", name="weight", blocks=3, dim=-3), REST]).plan(nn.Linear(4, 6))


def test_blocks_of_zeros_are_counted_too() -> None:
    assert (
        Recipe([Rule("zeros_", name="weight", blocks=3), REST]).plan(nn.Linear(4, 6)).rows[0].initializer == "zeros_ x3"
    )


def test_padding_is_of_the_weight_alone() -> None:
    model = nn.Embedding(4, 3, padding_idx=1)
    model.scale = nn.Parameter(torch.zeros(4))
    Recipe([Rule("ones_")]).apply_(model)
    assert model.scale.min() == 1
    assert model.weight[1].max() == 0


def test_statistics_of_no_elements_have_no_moments() -> None:
    assert [row.std for row in recipes.torch().plan(nn.BatchNorm1d(0)).rows[:4]] == [None] * 4


def test_equal_constants_in_blocks_have_no_deviation() -> None:
    for value in (0.1, 0.3, 0.7):
        row = (
            Recipe([Rule("constant_", name="weight", args={"val": value}, blocks=3), REST])
            .plan(nn.Linear(4, 6))
            .rows[0]
        )
        assert (row.mean, row.std) == (pytest.approx(value), pytest.approx(0, abs=1e-8))


def test_expected_deviation_of_three_uneven_blocks() -> None:
    model = nn.Linear(300, 400, bias=False)
    recipe = Recipe([Rule("xavier_normal_", blocks=(10, 40, 350))])
    row = recipe.plan(recipe.apply_(model, _generator())).rows[0]
    assert model.weight.std().item() == pytest.approx(row.std, rel=0.01)
    variances = [size / 400 * 2 / (300 + size) for size in (10, 40, 350)]
    assert row.std == pytest.approx(math.sqrt(sum(variances)))


def test_moments_without_bounds_or_with_a_negative_gain() -> None:
    unbounded = Rule("trunc_normal_", args={"mean": 1.0, "std": 2.0, "a": -math.inf, "b": math.inf})
    row = Recipe([unbounded]).plan(nn.Linear(2, 2, bias=False)).rows[0]
    assert (row.mean, row.std) == pytest.approx((1.0, 2.0), rel=1e-12)
    row = Recipe([Rule("orthogonal_", args={"gain": -2.0})]).plan(nn.Linear(4, 4, bias=False)).rows[0]
    assert row.std == 1.0


@pytest.mark.parametrize("make", [lambda: nn.Linear(1, 3), lambda: nn.LSTMCell(2, 1), lambda: nn.Conv1d(1, 2, 1)])
def test_bounds_of_a_single_input_are_one(make: object) -> None:
    assert differing(seeded(make, 7), recipes.torch().apply_(seeded(make, 1), _generator())) == []


def test_recipes_differ_by_their_name() -> None:
    assert Recipe([Rule("ones_")], "a") != Recipe([Rule("ones_")], "b")
    assert Recipe([Rule("ones_")], "a").keeping("x").name == "a"


def test_byte_that_is_not_utf_8_is_said(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(b'name = "\xe4"')
    with pytest.raises(recipes.RecipeError, match=r"got byte 0xe4$"):
        recipes.load(tmp_path / "r.toml")


def test_rule_does_not_keep_the_callers_table() -> None:
    args = {"std": 1}
    rule = Rule("normal_", args=args)
    assert args == {"std": 1}
    assert type(args["std"]) is int
    args["std"] = "x"
    assert rule.args == {"std": 1.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": ""}, "name must be a name or a list of names, got ''"),
        ({"module": ["Linear", ""]}, r"module must be a name or a list of names, got \['Linear', ''\]"),
        ({"args": {1: 2}}, r"args must be a table of arguments by name, got \{1: 2\}"),
    ],
)
def test_empty_names_and_arguments_without_one_are_refused(given: dict, message: str) -> None:
    with pytest.raises(recipes.RecipeError, match=f"{message}$"):
        Rule("ones_", **given)


@pytest.mark.parametrize("transposed", ["x", 1, [1]])
def test_transposed_that_is_no_bool_is_ignored(transposed: object) -> None:
    model = nn.Module()
    model.weight, model.transposed = nn.Parameter(torch.zeros(4, 3, 2)), transposed
    row = Recipe([Rule("ones_")]).plan(model).rows[0]
    assert (row.fan_in, row.fan_out) == (6, 8)


def test_attached_names_may_be_keywords_of_python() -> None:
    model = nn.Module()
    model.add_module("lambda", nn.Linear(2, 2))
    model.forward = lambda x: x
    net = recipes.torch().attach(run_quietly(torch.jit.trace, model, torch.zeros(2)))
    net.reset_parameters(_generator())
    assert torch.equal(net.state_dict()["lambda.weight"], seeded(lambda: nn.Linear(2, 2), 7).weight)


def test_name_that_torch_cannot_read_back_as_utf_8_is_refused_in_one_line() -> None:
    model = nn.Module()
    model.add_module("ü", nn.Linear(2, 2))
    model.forward = lambda x: x
    traced = run_quietly(torch.jit.trace, model, torch.zeros(2))
    with pytest.raises(RuntimeError, match=r"must survive being saved and read back, got .+"):
        recipes.torch().attach(traced)


def test_attach_on_meta_is_no_puzzle() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.zeros(3, device="meta")), nn.Parameter(torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.b

    for mobile in (False, True):
        net = Recipe([Rule("normal_")]).attach(run_quietly(torch.jit.script, Half()), mobile)
        net.reset_parameters(7 if mobile else _generator())
        assert net.b.any()


def test_residual_uniform_with_its_default_bounds_and_blocks_of_the_default_are_refused() -> None:
    with pytest.raises(recipes.RecipeError, match=r"residual needs bounds around 0, got the default ones$"):
        Rule("uniform_", residual=True)
    with pytest.raises(recipes.RecipeError, match=r"blocks need an initializer of their own, got default$"):
        Rule("default", blocks=2)


@pytest.mark.parametrize(
    "initializer", ["uniform_", "normal_", "trunc_normal_", "orthogonal_", "xavier_normal_", "kaiming_uniform_"]
)
def test_making_a_rule_draws_nothing(initializer: str) -> None:
    before = torch.get_rng_state()
    Rule(initializer)
    assert torch.equal(torch.get_rng_state(), before)


def test_question_mark_is_not_shadowed_by_a_class_that_matches_it() -> None:
    Recipe([Rule("zeros_", name="[!a]"), Rule("ones_", name="?")])


def test_missing_argument_is_not_looked_for_in_the_next_rule() -> None:
    text = '[[rule]]\ninitializer = "constant_"\n[[rule]]\nargs = { std = 1.0 }\ninitializer = "normal_"\n'
    with pytest.raises(recipes.RecipeError, match=r"^r\.toml:1: constant_ needs the argument val, got none$"):
        Recipe.from_toml(text, "r.toml")


def test_same_glob_with_a_class_is_shadowed() -> None:
    with pytest.raises(recipes.RecipeError, match="rule 2 can never match"):
        Recipe([Rule("zeros_", name="*.[ab]"), Rule("ones_", name="*.[ab]")])


@pytest.mark.parametrize(
    ("initializer", "args"),
    [("dirac_", {"groups": 2**70}), ("block_orthogonal_", {"blocks": 2**70})],
)
def test_argument_that_overflows_is_refused(initializer: str, args: dict) -> None:
    with pytest.raises(recipes.RecipeError, match=f": {initializer}: .+") as raised:
        Rule(initializer, args=args)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[rule]]\ninitializer = "normal_"\nargs.sdt = 1.0\n', "r.toml:3: normal_ takes no argument 'sdt'"),
        (
            '[[rule]]\ninitializer = "normal_"\n[ rule . args ]\nsdt = 1.0\n',
            "r.toml:3: normal_ takes no argument 'sdt'",
        ),
        ("[[rule]]\n", "r.toml:1: a rule needs an initializer, got the keys none"),
    ],
)
def test_wrong_file_is_refused_with_file_and_line_2(text: str, message: str) -> None:
    with pytest.raises(recipes.RecipeError) as raised:
        Recipe.from_toml(text, "r.toml")
    assert str(raised.value).startswith(message)


def test_names_beyond_the_basic_plane_survive_toml() -> None:
    recipe = Recipe([Rule("ones_", name="\U0001f600")])
    assert Recipe.from_toml(recipe.to_toml()) == recipe


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_of_every_dimension_have_their_recipe(dims: int) -> None:
    kind = getattr(nn, f"Conv{dims}d")
    for name, std in (("resnet", math.sqrt(2 / (6 * 3**dims))), ("dcgan", 0.02)):
        rows = recipes.load(name).plan(kind(4, 6, 3)).rows
        assert rows[0].std == pytest.approx(std), name
    assert recipes.resnet().plan(kind(4, 6, 3)).rows[1].initializer == "zeros_"
    assert recipes.orthogonal_rl((), ()).plan(kind(4, 6, 3)).rows[0].initializer == "orthogonal_"
    assert recipes.xavier().plan(kind(4, 6, 3)).rows[0].initializer == "xavier_uniform_"


def test_bias_of_two_dimensions_is_a_weight() -> None:
    model = nn.Linear(2, 2)
    model.relative_bias = nn.Parameter(torch.zeros(3, 4))
    rows = {row.name: row.initializer for row in recipes.xavier().plan(model).rows}
    assert rows == {"weight": "xavier_uniform_", "bias": "zeros_", "relative_bias": "xavier_uniform_"}


def test_xavier_takes_each_gate_by_itself_and_leaves_embeddings() -> None:
    for cell, name in (
        (nn.LSTM(4, 6), "weight_ih_l0"),
        (nn.LSTMCell(4, 6), "weight_ih"),
        (nn.GRU(4, 6), "weight_ih_l0"),
        (nn.GRUCell(4, 6), "weight_ih"),
    ):
        rows = {row.name: row for row in recipes.xavier().plan(cell).rows}
        assert rows[name].std == pytest.approx(math.sqrt(2 / 10))
    for words in (nn.Embedding(5, 3), nn.EmbeddingBag(5, 3)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert recipes.xavier().plan(words).rows[0].std == 1.0


@pytest.mark.filterwarnings("ignore:.*matched no parameter")
def test_vit_knows_the_names_of_timm_and_torchvision() -> None:
    names = ("cls_token", "class_token", "dist_token", "reg_token", "pos_embed", "pos_embedding", "position_embeddings")
    model = nn.Module()
    for name in names:
        model.register_parameter(name, nn.Parameter(torch.zeros(1, 2, 3)))
    model.words, model.attention = nn.Embedding(5, 3), nn.MultiheadAttention(4, 2)
    model.heads = nn.Module()
    model.heads.head = nn.Linear(3, 2)
    rows = {row.name: row for row in recipes.vit().plan(model).rows}
    drawn = (*names, "words.weight", "attention.in_proj_weight", "attention.out_proj.weight")
    assert [rows[name].std for name in drawn] == pytest.approx([0.02] * len(drawn))
    assert (rows["heads.head.weight"].initializer, rows["heads.head.bias"].initializer) == ("zeros_", "zeros_")


def test_llama_takes_every_norm_and_gpt2_packed_projections() -> None:
    model = nn.Sequential(nn.LayerNorm(3), nn.RMSNorm(3), nn.Linear(3, 3))
    assert [row.initializer for row in recipes.llama().plan(model).rows[:3]] == ["ones_", "zeros_", "ones_"]
    rows = {row.name: row for row in recipes.gpt2(()).plan(nn.MultiheadAttention(4, 2)).rows}
    assert rows["in_proj_weight"].std == 0.02


def test_heads_of_every_known_name_have_their_gain() -> None:
    for names, gain in (
        (("actor", "action_net", "policy_head", "actor_head", "pi"), 0.01),
        (("critic", "value_net", "value_head", "critic_head", "vf"), 1.0),
    ):
        model = nn.ModuleDict({name: nn.Linear(4, 4) for name in names})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = recipes.orthogonal_rl().plan(model).rows
        assert {row.std for row in rows if row.name.endswith("weight")} == {gain / 2}


def test_absent_file_with_toml_in_its_name_is_no_unknown_recipe(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        recipes.load(tmp_path / "none.toml")


def test_recipes_for_parts_that_need_not_be_there_say_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipes.dcgan().apply_(nn.Conv2d(2, 2, 1, bias=False))
        recipes.resnet().apply_(nn.Conv2d(2, 2, 1, bias=False))
        recipes.llama().apply_(nn.Linear(2, 2, bias=False))
        recipes.xavier().apply_(nn.Linear(2, 2, bias=False))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Embedding(4, 3),
        lambda: nn.Bilinear(2, 2, 2),
        lambda: nn.PReLU(),
        lambda: nn.LayerNorm(3),
        lambda: nn.Linear(2, 2),
        lambda: nn.LSTM(2, 2),
    ],
)
def test_parameter_that_was_added_to_a_layer_of_torch_has_no_default(make: object) -> None:
    model = make()
    model.scale = nn.Parameter(torch.zeros(3, 3))
    with pytest.raises(recipes.RecipeError, match=r"got none for scale \("):
        recipes.torch().apply_(model)


def test_parameter_of_attention_that_torch_does_not_know_has_no_default() -> None:
    layer = nn.MultiheadAttention(4, 2)
    layer.in_proj_weight = nn.Parameter(torch.zeros(5))
    with pytest.raises(recipes.RecipeError, match="in_proj_weight"):
        recipes.torch().plan(layer)


def test_toml_without_a_reader_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchinit.recipes._toml.tomllib", None)
    with pytest.raises(recipes.RecipeError, match=r"needs the package tomli: pip install 'torchinit\[toml\]'"):
        Recipe.from_toml("")
