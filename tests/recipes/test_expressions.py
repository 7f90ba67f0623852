"""Are arguments that are expressions computed right, and is a wrong one refused with its place?"""

import copy
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from torchinit import recipes
from torchinit.recipes import Recipe, RecipeError, Rule


def _blocks(count: int = 3) -> nn.Module:
    blocks = [nn.ModuleDict({"up": nn.Linear(4, 8), "down": nn.Linear(8, 4)}) for _ in range(count)]
    return nn.ModuleDict({"layers": nn.ModuleList(blocks)})


def _stds(expression: str, model: nn.Module | None = None, **constants: float | str) -> dict[str, float]:
    rules = [Rule("normal_", name="layers.{layer}.*.weight", args={"std": expression}), Rule("default")]
    rows = Recipe(rules, constants=constants).plan(model or _blocks()).rows
    return {row.name: row.std for row in rows if row.initializer == "normal_"}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.02", 0.02),
        ("1 + 2 * 3 - 4 / 8", 6.5),
        ("2 ** 3 ** 2 / 512", 1.0),
        ("-(-2)", 2.0),
        ("+3", 3.0),
        ("(1 + 2) * 3", 9.0),
        ("sqrt(2)", math.sqrt(2)),
        ("log(10)", math.log(10)),
        ("exp(0.5)", math.exp(0.5)),
        ("min(3, 1, 2)", 1.0),
        ("max(3, 1)", 3.0),
        (" 1 /\n 4 ", 0.25),
        ("fan_in", 4.0),
        ("fan_out", 8.0),
        ("size[0] + size[-1] / 100", 8.04),
        ("layer + 0.5", 1.5),
        ("layers", 3.0),
        ("half * whole", 1.0),
    ],
)
def test_expression_has_its_value(expression: str, value: float) -> None:
    assert _stds(expression, half="whole / 4", whole="a", a=2)["layers.1.up.weight"] == value


def test_layer_is_the_number_in_the_name_and_layers_their_count() -> None:
    model = nn.ModuleDict(
        {"layers": nn.ModuleDict({"7": nn.ModuleDict({"a": nn.Linear(2, 2)}), "12": nn.Linear(2, 2)})}
    )
    rules = [Rule("normal_", name="*.{layer}.*weight", args={"std": "layer + layers / 100"}), Rule("default")]
    rows = {row.name: row.std for row in Recipe(rules).plan(model).rows}
    assert (rows["layers.7.a.weight"], rows["layers.12.weight"]) == (7.02, 12.02)


def test_layers_counts_what_the_rule_matches_in_the_model_also_what_another_rule_takes() -> None:
    rules = [
        Rule("zeros_", name="layers.0.*"),
        Rule("normal_", name="layers.{layer}.down.weight", args={"std": "1 / layers"}),
        Rule("ones_"),
    ]
    rows = {row.name: row.std for row in Recipe(rules).plan(_blocks(4)).rows}
    assert (rows["layers.0.down.weight"], rows["layers.3.down.weight"]) == (0.0, 0.25)


def test_block_has_its_own_size_and_fans() -> None:
    rule = Rule("normal_", name="*.weight", args={"std": "fan_out + size[1] / 100"}, blocks=3)
    steps = Recipe([rule, Rule("keep")]).plan(nn.Linear(5, 12)).steps
    assert [fill.args for fill in steps[0].fills] == [(0.0, 4.05)] * 3


def test_residual_divides_a_computed_std() -> None:
    rule = Rule("normal_", name="*.weight", args={"std": "s"}, residual=True)
    rows = Recipe([rule, Rule("zeros_")], constants={"s": 2}).plan(_blocks(2)).rows
    assert {row.std for row in rows} == {1.0, 0.0}
    rule = Rule("uniform_", args={"a": "-s", "b": "s"}, residual=True)
    assert Recipe([rule], constants={"s": 2}).plan(nn.Linear(1, 1)).steps[0].fills[0].args[1] == 2 / math.sqrt(2)
    with pytest.raises(RecipeError, match=r"residual needs bounds around 0, got \{'a': 1\.0, 'b': 2\.0\}"):
        Recipe([Rule("uniform_", args={"a": "s - 1", "b": "s"}, residual=True)], constants={"s": 2})


def test_int_argument_takes_a_whole_result() -> None:
    rule = Rule("dirac_", ndim=4, args={"groups": "size[0] / 2"})
    fills = Recipe([rule, Rule("keep")]).plan(nn.Conv2d(6, 6, 3)).steps[0].fills
    assert fills[0].args == (3,)
    assert type(fills[0].args[0]) is int
    with pytest.raises(
        RecipeError, match=r"groups of dirac_ must be an int, got 2\.5 in .*, for weight of shape \[5, 5"
    ):
        Recipe([rule, Rule("keep")]).plan(nn.Conv2d(5, 5, 3))


def test_argument_that_is_a_word_stays_one() -> None:
    rule = Rule("kaiming_normal_", args={"mode": "fan_out", "a": "sqrt(5)"})
    assert rule.args["mode"] == "fan_out"
    assert Recipe([rule]).plan(nn.Linear(4, 9, bias=False)).rows[0].std == pytest.approx(math.sqrt(2 / 6 / 9))


def test_plan_draws_what_the_expressions_say() -> None:
    recipe = Recipe([Rule("constant_", name="layers.{layer}.*", args={"val": "layer"})])
    model = recipe.apply_(_blocks())
    assert [model["layers"][i]["up"].weight.mean().item() for i in range(3)] == [0, 1, 2]


RECIPE = Recipe(
    [Rule("normal_", name="layers.{layer}.*.weight", args={"std": "base - layer / 1000"}), Rule("default")],
    "named",
    {"base": "width ** -0.5", "width": 64},
)


def test_recipe_with_expressions_survives_text_and_copies() -> None:
    assert Recipe.from_toml(RECIPE.to_toml()) == RECIPE
    assert eval(repr(RECIPE), {"Recipe": Recipe, "Rule": Rule}) == RECIPE
    for other in (copy.deepcopy(RECIPE), pickle.loads(pickle.dumps(RECIPE)), Recipe.from_toml(RECIPE.to_toml())):
        assert (other, hash(other)) == (RECIPE, hash(RECIPE))
        assert other.plan(_blocks()).rows == RECIPE.plan(_blocks()).rows
    assert RECIPE.to_toml().startswith(
        'name = "named"\n\n[constants]\nbase = "width ** -0.5"\nwidth = 64\n\n[[rule]]\n'
    )
    assert Recipe(RECIPE.rules, "named", {"base": 0.5}) != RECIPE
    assert Recipe(RECIPE.rules, "", {"base": np.float64(0.5)}).to_toml().startswith("[constants]\nbase = 0.5\n")
    assert RECIPE.keeping("x").constants == RECIPE.constants


def test_setting_replaces_constants_and_what_depends_on_them() -> None:
    std = RECIPE.setting(width=16).plan(_blocks()).rows[0].std
    assert std == 0.25
    assert RECIPE.setting(base="width / 8").plan(_blocks()).rows[0].std == 8.0
    assert RECIPE.setting() == RECIPE
    with pytest.raises(RecipeError, match=r"^the recipe named has no constant 'widht'; did you mean width\?$"):
        RECIPE.setting(widht=3)
    with pytest.raises(RecipeError, match=r"^the constant base must use known names, got v in 'v'; use one of width$"):
        RECIPE.setting(base="v")
    with pytest.raises(RecipeError, match=r"^the recipe without a name has no constant 'std'; it has none$"):
        Recipe([Rule("default")]).setting(std=1)


def test_rules_of_another_recipe_keep_its_numbers() -> None:
    first = Rule("zeros_", name="head.*")
    assert Recipe([first, *recipes.xavier(2.0).rules]).rules[-2].args == {"gain": 2.0}
    rules = [Rule("normal_", name="layers.{layer}.*", args={"mean": "size[0] * s ** 2", "std": "t + layer"})]
    other = Recipe([first, *Recipe(rules, constants={"s": -3, "t": 1}).rules])
    assert other.rules[1].args == {"mean": "size[0] * (-3) ** 2", "std": "1 + layer"}
    assert Recipe.from_toml(other.to_toml()) == other
    assert other.plan(_blocks()).rows[0].mean == 72.0
    # Its own constants decide.
    mixed = Recipe([*recipes.llama(0.5).rules, Rule("ones_", optional=True)], constants={"std": 0.25})
    assert mixed.rules[0].args == {"std": "std"}
    assert mixed.plan(nn.Linear(2, 2)).rows[0].std == 0.25


ALLOWED = "must be made of numbers, names, + - * / **, parentheses and sqrt, log, exp, min, max, got"

# Expressions that are wrong without a model, and the ends of their messages.
WRONG = {
    "0.02 /": "must be a number or an expression, got '0.02 /': invalid syntax",
    "": "must be a number or an expression, got '': invalid syntax",
    "\0": "must be a number or an expression, got '\\x00': source code string cannot contain null bytes",
    "9**9**9": "must be a finite number, got a number beyond float's range in '9**9**9'",
    "1 / 0": "must be a finite number, got a division by zero in '1 / 0'",
    "0.0 ** -1": "must be a finite number, got a division by zero in '0.0 ** -1'",
    "(-8) ** 0.5": "must be a finite number, got a root or logarithm that is not real in '(-8) ** 0.5'",
    "sqrt(-1)": "must be a finite number, got a root or logarithm that is not real in 'sqrt(-1)'",
    "log(0)": "must be a finite number, got a root or logarithm that is not real in 'log(0)'",
    "1e308 * 10": "must be a finite number, got inf in '1e308 * 10'",
    "1e308 * 10 - 1e308 * 10": "must be a finite number, got nan in '1e308 * 10 - 1e308 * 10'",
    "1e999": "must have finite numbers, got 1e309 in '1e999'",
    "True": f"{ALLOWED} True in 'True'",
    "'a'": f"{ALLOWED} 'a' in \"'a'\"",
    "1j": f"{ALLOWED} 1j in '1j'",
    "0x1for x": f"{ALLOWED} 31 or x in '0x1for x'",
    "7 // 2": f"{ALLOWED} 7 // 2 in '7 // 2'",
    "~1": f"{ALLOWED} ~1 in '~1'",
    "fan_in.real": f"{ALLOWED} fan_in.real in 'fan_in.real'",
    "x[0]": f"{ALLOWED} x[0] in 'x[0]'",
    "1 if 2 else 3": f"{ALLOWED} 1 if 2 else 3 in '1 if 2 else 3'",
    "[1]": f"{ALLOWED} [1] in '[1]'",
    "squrt(2)": "must call a known function, got squrt; did you mean sqrt? in 'squrt(2)'",
    "open('x')": "must call a known function, got open; use one of sqrt, log, exp, min, max in \"open('x')\"",
    "fan_in.bit_length()": "must call a known function, got fan_in.bit_length; use one of sqrt, log, exp, min, max in"
    " 'fan_in.bit_length()'",
    "sqrt(1, 2)": "must pass 1 number to sqrt, got sqrt(1, 2) in 'sqrt(1, 2)'",
    "min(1)": "must pass 2 or more numbers to min, got min(1) in 'min(1)'",
    "max(1, *size)": "must pass plain numbers to max, got max(1, *size) in 'max(1, *size)'",
    "max(1, 2, key=3)": "must pass plain numbers to max, got max(1, 2, key=3) in 'max(1, 2, key=3)'",
    "size": "must take one size, such as size[0], got size in 'size'",
    "size[fan_in]": "must have an integer as the index of size, got size[fan_in] in 'size[fan_in]'",
    "size[True]": "must have an integer as the index of size, got size[True] in 'size[True]'",
    "size[0:1]": "must have an integer as the index of size, got size[0:1] in 'size[0:1]'",
    "layer": "needs {layer} in the name of the rule, got 'layer'",
    "1 / layers": "needs {layer} in the name of the rule, got '1 / layers'",
    "1" * 401: "must have at most 400 characters, got 401",
    "~" * 399 + "1": f"must nest at most 64 operations, got more in '{'~' * 399}1'",
    "1" + "+1" * 99: f"must nest at most 64 operations, got more in '1{'+1' * 99}'",
    "(" * 300: f"must be a number or an expression, got '{'(' * 300}': too many nested parentheses",
}


@pytest.mark.parametrize("expression", WRONG, ids=lambda text: text[:12])
def test_wrong_expression_is_refused_when_the_rule_is_made(expression: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Rule("normal_", name="*.weight", args={"std": expression})
    assert str(raised.value).startswith(f"{__file__}:")
    assert str(raised.value).partition(": ")[2] == f"std of normal_ {WRONG[expression]}"


def test_value_that_the_initializer_refuses_is_found_as_early_as_it_is_known() -> None:
    with pytest.raises(RecipeError, match=r"normal_: normal expects std >= 0\.0, but found std -1"):
        Rule("normal_", args={"std": "1 - 2"})
    rule = Rule("normal_", name="layers.{layer}.*", args={"std": "s - layer"})
    constant = Rule("normal_", args={"std": "s"})
    with pytest.raises(
        RecipeError, match=rf"^{constant.origin}: normal_: normal expects std >= 0\.0, but found std -1$"
    ):
        Recipe([constant], constants={"s": -1})
    with pytest.raises(
        RecipeError, match=rf"^{rule.origin}: .* found std -0\.5, for layers\.1\.up\.weight of shape \[8, 4"
    ):
        Recipe([rule], constants={"s": 0.5}).plan(_blocks())


# Expressions that fail for a parameter.
UNFIT = {
    "1 / layer": "a division by zero",
    "size[2]": "an index beyond the shape",
    "log(layer)": "a root or logarithm that is not real",
}


@pytest.mark.parametrize("expression", UNFIT)
def test_expression_that_fails_for_a_parameter_names_it(expression: str) -> None:
    with pytest.raises(RecipeError) as raised:
        _stds(expression)
    assert str(raised.value).startswith(f"{__file__}:")
    assert str(raised.value).endswith(
        f"std of normal_ must be a finite number, got {UNFIT[expression]} in {expression!r}, for layers.0.up.weight of"
        " shape [8, 4]"
    )


def test_fans_of_a_bias_and_the_number_of_another_glob_are_refused() -> None:
    with pytest.raises(RecipeError, match="got no fan_in of fewer than 2 dimensions in 'fan_in', for bias of shape"):
        Recipe([Rule("ones_", ndim=2), Rule("normal_", args={"std": "fan_in"})]).plan(nn.Linear(2, 2))
    rule = Rule("normal_", name=["head.*", "layers.{layer}.*"], args={"std": "layer"})
    with pytest.raises(RecipeError, match=r"got no number for \{layer\} in 'layer', for head.weight of shape \[2, 2\]"):
        Recipe([rule]).plan(nn.ModuleDict({"head": nn.Linear(2, 2)}))


def test_unknown_name_is_refused_when_the_recipe_is_made() -> None:
    rule = Rule("normal_", args={"std": "wdith ** -0.5"})
    with pytest.raises(RecipeError) as raised:
        Recipe([rule], constants={"width": 4})
    assert str(raised.value) == (
        f"{rule.origin}: std of normal_ must use known names, got wdith in 'wdith ** -0.5'; did you mean width?"
    )


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"s": "t", "t": "s + 1"}, "constants must not depend on each other in a cycle, got s, t"),
        ({"s": "s"}, "the constant s must use known names, got s in 's'; there are none"),
        ({"s": True}, "the constant s must be a finite number or an expression, got True"),
        ({"s": None}, "the constant s must be a finite number or an expression, got None"),
        ({"s": math.nan}, "the constant s must be a finite number or an expression, got nan"),
        ({"s": "1 / 0"}, "the constant s must be a finite number, got a division by zero in '1 / 0'"),
        ({"s": "size[0]"}, "the constant s must not depend on a parameter, got 'size[0]'"),
        ({"layer": 1}, "a constant must not be called as what expressions know already, got layer"),
        ({"sqrt": 1}, "a constant must not be called as what expressions know already, got sqrt"),
        ({"if": 1}, "a constant must have a name that expressions can use, got 'if'"),
        ({"a b": 1}, "a constant must have a name that expressions can use, got 'a b'"),
        ({3: 1}, "a constant must have a name that expressions can use, got 3"),
    ],
)
def test_wrong_constant_is_refused_with_the_callers_line(constants: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Recipe([Rule("normal_")], constants=constants)
    assert str(raised.value).startswith(f"{__file__}:")
    assert str(raised.value).partition(": ")[2] == message


TEXT = """name = "mine"

[constants]
w = "3"
s = "{constant}"

[[rule]]
initializer = "keep"
name = "w + 1"

[[rule]]
initializer = "normal_"
name = "*.weight"
args = {{ mean = 0.0, std = "{std}" }}

[[rule]]
initializer = "keep"
"""


@pytest.mark.parametrize(
    ("std", "constant", "message"),
    [
        ("w /", "1", '14: rule 2 ("*.weight"): std of normal_ must be a number or an expression, got'),
        ("w + 1", "-w /", "5: the constant s must be a number or an expression, got"),
        ("ww", "1", '14: rule 2 ("*.weight"): std of normal_ must use known names, got ww'),
        ("1 / (size[0] - 4)", "1", '14: rule 2 ("*.weight"): std of normal_ must be a finite number, got a division'),
        ("0 - s", "1", '14: rule 2 ("*.weight"): normal_: normal expects std'),
    ],
)
def test_wrong_expression_of_a_file_is_refused_with_its_line(
    std: str, constant: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "r.toml").write_text(TEXT.format(std=std, constant=constant))
    with pytest.raises(RecipeError) as raised:
        recipes.load(tmp_path / "r.toml").plan(nn.Linear(3, 4))
    assert str(raised.value).startswith(f"{tmp_path / 'r.toml'}:{message}")
