"""Does a plan agree with apply_ and attach for unusual layers, names and attributes?"""

import warnings

import pytest
import torch
from torch import nn

from jit_tests.scripting import run_quietly
from tests.support.layers import differing, seeded
from torchinit import recipes
from torchinit.recipes import Recipe, RecipeError, Rule

REST = Rule("keep", optional=True)


def _generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _changed_model() -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(3)
    norm(torch.randn(8, 3))
    return norm


@pytest.mark.parametrize("rest", [Rule("keep"), Rule("keep", name="*")])
def test_rule_that_keeps_the_rest_does_not_keep_the_statistics(rest: Rule) -> None:
    model = Recipe([Rule("ones_", name="*.weight"), rest]).apply_(_changed_model())
    assert model.num_batches_tracked == 0
    assert torch.equal(model.running_mean, torch.zeros(3))


@pytest.mark.parametrize("rest", [Rule("keep"), Rule("keep", name="*")])
def test_rule_that_keeps_the_rest_leaves_buffers_to_later_rules(rest: Rule) -> None:
    rows = Recipe([rest, Rule("ones_", role="buffer")]).plan(nn.BatchNorm1d(3)).rows
    assert [row.initializer for row in rows] == ["keep", "keep", "ones_", "ones_", "ones_"]


def test_plan_has_a_row_for_each_statistic() -> None:
    rows = recipes.torch_default().plan(nn.BatchNorm1d(3)).rows
    assert [(row.name, row.rule, row.initializer, row.mean) for row in rows[2:]] == [
        ("running_mean", "statistics", "zeros_", 0.0),
        ("running_var", "statistics", "ones_", 1.0),
        ("num_batches_tracked", "statistics", "zeros_", 0.0),
    ]


def test_rows_are_in_the_models_order_and_buffers_last() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 8)
    model.register_parameter("own", nn.Parameter(torch.ones(1)))
    model.self_attn.register_buffer("mask", torch.ones(1))
    names = [row.name for row in Recipe([Rule("normal_")]).plan(model).rows]
    assert names == [*dict(model.named_parameters()), "self_attn.mask"]
    assert names[0] == "own"


def test_plan_names_the_last_full_fill_and_no_initializer_for_an_empty_parameter() -> None:
    rows = {row.name: row for row in recipes.torch_default().plan(nn.MultiheadAttention(4, 2)).rows}
    assert (rows["out_proj.bias"].initializer, rows["out_proj.bias"].std) == ("default zeros_", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert recipes.torch_default().plan(nn.Linear(3, 0)).rows[0].initializer == "default"


def test_clones_of_a_layer_whose_weight_is_tied_to_another_are_copies_of_it() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    model = nn.Sequential(nn.Linear(8, 16), encoder)
    encoder.layers[0].linear1.weight = model[0].weight
    recipes.torch_default().apply_(model, _generator())
    assert torch.equal(encoder.layers[1].linear1.weight, model[0].weight)
    rows = {row.name: row for row in recipes.torch_default().plan(model).rows}
    assert rows["1.layers.1.linear1.weight"].std == rows["0.weight"].std


def test_blocks_may_be_counted_from_the_last_dimension_back_to_the_first() -> None:
    rows = Recipe([Rule("xavier_uniform_", name="weight", blocks=3, dim=-2), REST]).plan(nn.Linear(4, 6)).rows
    assert rows[0].initializer == "xavier_uniform_ x3"
    with pytest.raises(recipes.RecipeError, match=r"dim must be a dimension of weight, of shape \[6, 4\], got -3$"):
        Recipe([Rule("ones_", name="weight", blocks=3, dim=-3), REST]).plan(nn.Linear(4, 6))


def test_blocks_of_zeros_are_counted_too() -> None:
    assert (
        Recipe([Rule("zeros_", name="weight", blocks=3), REST]).plan(nn.Linear(4, 6)).rows[0].initializer == "zeros_ x3"
    )


def test_padding_applies_to_the_weight_only() -> None:
    model = nn.Embedding(4, 3, padding_idx=1)
    model.scale = nn.Parameter(torch.zeros(4))
    Recipe([Rule("ones_")]).apply_(model)
    assert model.scale.min() == 1
    assert model.weight[1].max() == 0


@pytest.mark.parametrize("make", [lambda: nn.Linear(1, 3), lambda: nn.LSTMCell(2, 1), lambda: nn.Conv1d(1, 2, 1)])
def test_bounds_of_a_single_input_are_one(make: object) -> None:
    assert differing(seeded(make, 7), recipes.torch_default().apply_(seeded(make, 1), _generator())) == []


@pytest.mark.parametrize("transposed", ["x", 1, [1]])
def test_transposed_that_is_not_a_bool_is_ignored(transposed: object) -> None:
    model = nn.Module()
    model.weight, model.transposed = nn.Parameter(torch.zeros(4, 3, 2)), transposed
    model.kernel_size = (2,)
    row = Recipe([Rule("ones_")]).plan(model).rows[0]
    assert (row.fan_in, row.fan_out) == (6, 8)


def test_attached_names_may_be_keywords_of_python() -> None:
    model = nn.Module()
    model.add_module("lambda", nn.Linear(2, 2))
    model.forward = lambda x: x
    net = recipes.torch_default().attach(run_quietly(torch.jit.trace, model, torch.zeros(2)))
    net.reset_parameters(_generator())
    assert torch.equal(net.state_dict()["lambda.weight"], seeded(lambda: nn.Linear(2, 2), 7).weight)


def test_name_that_torch_cannot_read_back_as_utf_8_is_refused_in_one_line() -> None:
    model = nn.Module()
    model.add_module("ü", nn.Linear(2, 2))
    model.forward = lambda x: x
    traced = run_quietly(torch.jit.trace, model, torch.zeros(2))
    with pytest.raises(RuntimeError, match=r"must survive being saved and read back, got .+"):
        recipes.torch_default().attach(traced)


def test_attach_works_with_a_parameter_on_meta() -> None:
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
    with pytest.raises(recipes.RecipeError, match=r"no rule matches 1 parameter: scale \("):
        recipes.torch_default().apply_(model)


def test_parameter_of_attention_that_torch_does_not_know_has_no_default() -> None:
    layer = nn.MultiheadAttention(4, 2)
    layer.in_proj_weight = nn.Parameter(torch.zeros(5))
    with pytest.raises(recipes.RecipeError, match="in_proj_weight"):
        recipes.torch_default().plan(layer)


def test_many_choices_of_a_rule_are_shown_in_short() -> None:
    names = [f"*.{letter}.weight" for letter in "abcdef"]
    assert Recipe([Rule("ones_", name=names)]).rules[0].conditions() == "*.a.weight|*.b.weight|*.c.weight|3 more"
    assert Recipe([Rule("ones_", name=names[:4])]).rules[0].conditions() == "|".join(names[:4])


@pytest.mark.parametrize("module", [torch.zeros(3), {"weight": torch.zeros(3)}, None, nn.Linear])
def test_what_is_no_module_is_refused_in_one_sentence(module: object) -> None:
    kind = type(module).__name__
    for call in (recipes.torch_default().plan, recipes.torch_default().apply_):
        with pytest.raises(TypeError, match=rf"^a recipe needs a torch\.nn\.Module, got {kind}$"):
            call(module)  # type: ignore[type-var]


def test_exported_program_is_refused_with_what_to_pass() -> None:
    program = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))
    with pytest.raises(TypeError, match=r"got ExportedProgram; take its module\(\)$"):
        recipes.torch_default().plan(program)  # type: ignore[arg-type]


def test_a_number_for_a_generator_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^apply_ needs a torch\.Generator, got int$"):
        recipes.torch_default().apply_(nn.Linear(2, 2), 3)  # type: ignore[arg-type]


def test_constants_that_are_no_table_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"^the constants of a recipe must be numbers by name, got \[1\]$"):
        Recipe([Rule("ones_")], constants=[1])  # type: ignore[arg-type]
