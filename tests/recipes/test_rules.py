"""Are wrong rules refused in one line that names the place, and do rules survive TOML?"""

import inspect

import pytest
import torch
from torch import nn

from tests.support.allocated import Allocated
from tools.codegen.functions import FUNCTIONS
from torchinit._core.registry import INITIALIZERS
from torchinit.recipes import Recipe, RecipeError, Rule


def _line() -> int:
    return inspect.currentframe().f_back.f_lineno


# Arguments of a wrong rule, and its message after file and line.
WRONG = {
    "unknown initializer": (
        {"initializer": "kaiming_unifrom_"},
        "unknown initializer 'kaiming_unifrom_'; did you mean kaiming_uniform_?",
    ),
    "no likely initializer": (
        {"initializer": "x"},
        "unknown initializer 'x'; use one of uniform_, normal_, trunc_normal_, constant_, ones_, zeros_, eye_, dirac_,"
        " xavier_uniform_, xavier_normal_, kaiming_uniform_, kaiming_normal_, orthogonal_, sparse_, trunc_normal_tf_,"
        " variance_scaling_, lecun_uniform_, lecun_normal_, sine_uniform_, identity_, block_orthogonal_,"
        " delta_orthogonal_, bilinear_, icnr_, lstm_bias_, prior_bias_, rotary_inv_freq_, sinusoidal_, alibi_slopes_,"
        " log_arange_, inverse_softplus_log_uniform_, default, keep",
    ),
    "unknown argument": (
        {"initializer": "normal_", "args": {"sdt": 0.02}},
        "normal_ takes no argument 'sdt'; did you mean std?",
    ),
    "argument of none": (
        {"initializer": "zeros_", "args": {"std": 0.02}},
        "zeros_ takes no argument 'std'; it takes none",
    ),
    "generator": (
        {"initializer": "normal_", "args": {"generator": 1}},
        "normal_ takes no argument 'generator'; use one of mean, std",
    ),
    "mistyped argument": (
        {"initializer": "normal_", "args": {"std": [0.02]}},
        "std of normal_ must be a float, got [0.02]",
    ),
    "bool for a number": (
        {"initializer": "normal_", "args": {"std": True}},
        "std of normal_ must be a float, got True",
    ),
    "float for an int": (
        {"initializer": "dirac_", "args": {"groups": 2.0}},
        "groups of dirac_ must be an int, got 2.0",
    ),
    "missing argument": ({"initializer": "constant_"}, "constant_ needs the argument val, got none"),
    "unknown mode": (
        {"initializer": "kaiming_normal_", "args": {"mode": "fan_inn"}},
        "kaiming_normal_: Mode fan_inn not supported, please use one of ['fan_in', 'fan_out']",
    ),
    "negative std": (
        {"initializer": "trunc_normal_", "args": {"std": -1.0}},
        "trunc_normal_: trunc_normal_ expects a finite std >= 0.0, but found std -1",
    ),
    "share above 1": (
        {"initializer": "sparse_", "args": {"sparsity": 1.5}},
        "sparse_: sparsity must be in [0, 1], got 1.5",
    ),
    "no groups": ({"initializer": "dirac_", "args": {"groups": 0}}, "dirac_: groups must be at least 1, got 0"),
    "too few dimensions": (
        {"initializer": "orthogonal_", "ndim": 1},
        "the rule can never match with ndim 1: Only tensors with 2 or more dimensions are supported, got shape [2]",
    ),
    "fans of a vector": (
        {"initializer": "kaiming_normal_", "ndim": [2, 1]},
        "the rule can never match with ndim 1: Fan in and fan out can not be computed for tensor with fewer than 2"
        " dimensions, got shape [2]",
    ),
    "negative ndim": (
        {"initializer": "zeros_", "ndim": -1},
        "ndim must be a count from 0 or a list of counts, got -1",
    ),
    "name that is no name": (
        {"initializer": "zeros_", "name": ["a", 3]},
        "name must be a name or a list of names, got ['a', 3]",
    ),
    "no blocks": (
        {"initializer": "zeros_", "blocks": 0},
        "blocks must be a count from 1 or a list of counts, got 0",
    ),
    "dim that is no number": ({"initializer": "zeros_", "dim": "0"}, "dim must be an int, got '0'"),
    "unknown fans": (
        {"initializer": "xavier_normal_", "fans": "mine"},
        "fans must be 'layer' or 'upstream', got 'mine'",
    ),
    "residual zeros": (
        {"initializer": "zeros_", "residual": True},
        "residual needs an initializer with a scale, got zeros_",
    ),
    "blocks of keep": ({"initializer": "keep", "blocks": 2}, "blocks need a named initializer, got keep"),
    "args that are none": (
        {"initializer": "normal_", "args": [1]},
        "args must be a table of arguments by name, got [1]",
    ),
    "huge ndim": (
        {"initializer": "ones_", "ndim": 10**30},
        f"ndim must be a count from 0 or a list of counts, got {10**30}",
    ),
    "no names": ({"initializer": "ones_", "name": []}, "name must be a name or a list of names, got []"),
    "huge float": (
        {"initializer": "constant_", "args": {"val": 10**400}},
        "val of constant_ must be finite, got an int of many digits",
    ),
    "uneven residual": (
        {"initializer": "uniform_", "args": {"b": 2.0}, "residual": True},
        "residual needs bounds around 0, got {'b': 2.0}",
    ),
    "residual ones": (
        {"initializer": "ones_", "residual": True},
        "residual needs an initializer with a scale, got ones_",
    ),
    "residual default": (
        {"initializer": "default", "residual": True},
        "residual needs an initializer with a scale, got default",
    ),
    "unknown layer": (
        {"initializer": "default", "args": {"layer": "Linaer"}},
        "layer must be a type of torch.nn with a default, got 'Linaer'; did you mean Linear?",
    ),
    "argument of keep": ({"initializer": "keep", "args": {"std": 1.0}}, "keep takes no argument 'std'; it takes none"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rule_is_refused_in_one_line_that_names_the_callers(case: str) -> None:
    given, message = WRONG[case]
    before = torch.get_rng_state()
    with pytest.raises(RecipeError) as raised:
        Rule(**given)
    assert str(raised.value) == f"{__file__}:{_line() - 1}: {message}"
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("earlier", "later", "shadows"),
    [
        ({}, {}, True),
        ({"module": "Conv*"}, {"module": ("Conv1d", "Conv2d"), "ndim": 3}, True),
        ({"module": "Conv?d"}, {"module": "Conv2d"}, True),
        ({"module": "Conv?d"}, {"module": "Conv*d"}, False),
        ({"module": "Conv2d"}, {"module": ("Conv1d", "Conv2d")}, False),
        ({"name": "*.weight"}, {"name": "*.attention.*.weight"}, True),
        ({"name": "*.attention.*.weight"}, {"name": "*.weight"}, False),
        ({"name": "*.[ab]"}, {"name": "*.[abc]"}, False),
        ({"ndim": (1, 2)}, {"ndim": 2}, True),
        ({"ndim": 2}, {"ndim": (1, 2)}, False),
        ({"ndim": 2}, {}, False),
        ({"module": "Linear"}, {"name": "*.weight"}, False),
        ({"name": "*"}, {}, True),
        ({"module": "*", "name": "*"}, {"ndim": 2}, True),
        ({"name": "*.weight"}, {"name": "weight"}, True),
        ({"name": "*a*"}, {"name": "[!a]"}, False),
        ({"name": "*ab*"}, {"name": "x[ab]"}, False),
        ({"name": "*b]"}, {"name": "[ab]"}, False),
    ],
)
def test_rule_that_can_never_match_is_refused(earlier: dict, later: dict, shadows: bool) -> None:
    rules = [Rule("zeros_", **earlier), Rule("ones_", **later)]
    if shadows:
        with pytest.raises(RecipeError, match="rule 2 can never match, because rule 1"):
            Recipe(rules)
    else:
        Recipe(rules)


def test_default_after_the_same_default_is_refused() -> None:
    with pytest.raises(RecipeError, match="rule 2 can never match"):
        Recipe([Rule("default", module="Linear"), Rule("default", module="Linear")])
    Recipe([Rule("default", args={"layer": "Linear"}), Rule("default")])


@pytest.mark.parametrize("rules", [[], [{"initializer": "ones_"}]])
def test_recipe_takes_only_rules(rules: list) -> None:
    with pytest.raises(RecipeError, match="a recipe needs at least one rule, and only rules, got"):
        Recipe(rules)


def test_validation_needs_no_memory_and_a_rule_of_a_command_names_its_line() -> None:
    with Allocated() as allocated:
        Rule("ones_", ndim=64)
        Rule("dirac_", args={"groups": 10**9})
    assert allocated.peak < 200_000
    # Python runs the code of `python -c` under this name.
    with pytest.raises(RecipeError, match=r"^<string>:3: unknown initializer 'x_'"):
        exec(compile("\n\nRule('x_')", "<string>", "exec"), {"Rule": Rule})


def test_equal_recipes_have_equal_hashes_and_numbers_of_numpy_become_pythons() -> None:
    numpy = pytest.importorskip("numpy")
    one = Rule("normal_", args={"mean": 1, "std": numpy.float64(0.02)})
    other = Rule("normal_", args={"std": 0.02, "mean": 1.0})
    assert one == other
    assert len({Recipe([one]), Recipe([other])}) == 1
    assert [type(value) for value in one.args.values()] == [float, float]
    assert Recipe.from_toml(Recipe([one]).to_toml()) == Recipe([other])


def test_default_leaves_other_parameters_to_later_rules() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.zeros(3))

    model = Recipe([Rule("default"), Rule("ones_", name="*.gamma")]).apply_(nn.Sequential(nn.LayerNorm(3), Scale()))
    assert torch.equal(model[1].gamma, torch.ones(3))


def test_recipes_differ_by_every_field() -> None:
    rule = Rule("normal_", name="a")
    others = [
        Rule("uniform_", name="a"),
        Rule("normal_", name="b"),
        Rule("normal_", name="a", module="c"),
        Rule("normal_", name="a", ndim=1),
        Rule("normal_", name="a", args={"std": 2.0}),
        Rule("normal_", name="a", blocks=2),
        Rule("normal_", name="a", dim=1),
        Rule("normal_", name="a", fans="upstream"),
        Rule("normal_", name="a", residual=True),
        Rule("normal_", name="a", optional=True),
    ]
    assert all(Recipe([rule]) != Recipe([other]) for other in others)
    assert len({Recipe([r]).to_toml() for r in (rule, *others)}) == 1 + len(others)


def test_every_initializer_of_the_table_is_offered() -> None:
    offered = {row.name for row in FUNCTIONS if row.name.endswith("_") and not row.name.startswith("_")}
    assert set(INITIALIZERS) == offered


def test_recipes_differ_by_their_name() -> None:
    assert Recipe([Rule("ones_")], "a") != Recipe([Rule("ones_")], "b")
    assert Recipe([Rule("ones_")], "a").keeping("x").name == "a"


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
    with pytest.raises(RecipeError, match=f"{message}$"):
        Rule("ones_", **given)


def test_residual_uniform_with_its_default_bounds_and_blocks_of_the_default_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"residual needs bounds around 0, got the default ones$"):
        Rule("uniform_", residual=True)
    with pytest.raises(RecipeError, match=r"blocks need a named initializer, got default$"):
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


def test_same_glob_with_a_class_is_shadowed() -> None:
    with pytest.raises(RecipeError, match="rule 2 can never match"):
        Recipe([Rule("zeros_", name="*.[ab]"), Rule("ones_", name="*.[ab]")])


@pytest.mark.parametrize(
    ("initializer", "args"),
    [("dirac_", {"groups": 2**70}), ("block_orthogonal_", {"blocks": 2**70})],
)
def test_argument_that_overflows_is_refused(initializer: str, args: dict) -> None:
    with pytest.raises(RecipeError, match=f": {initializer}: .+") as raised:
        Rule(initializer, args=args)
    assert "\n" not in str(raised.value)
