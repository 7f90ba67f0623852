"""Do rules refuse what is wrong, in one line that says where, and survive TOML?"""

import inspect
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tools.codegen.functions import FUNCTIONS
from torchinit import recipes
from torchinit.recipes import Recipe, RecipeError, Rule
from torchinit.recipes._shipped import SHIPPED


def _line() -> int:
    return inspect.currentframe().f_back.f_lineno


# What a rule is given, and what is said of it after the file and the line.
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
        " delta_orthogonal_, bilinear_, icnr_, lstm_bias_, prior_bias_, default, keep",
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
        {"initializer": "normal_", "args": {"std": "0.02"}},
        "std of normal_ must be a float, got '0.02'",
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
    "blocks of keep": ({"initializer": "keep", "blocks": 2}, "blocks need an initializer of their own, got keep"),
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
        "layer must be one of torch's, got 'Linaer'; did you mean Linear?",
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


def _toml(given: dict[str, object]) -> str:
    lines = []
    for key, value in given.items():
        text = json.dumps(value).replace(":", " =") if isinstance(value, dict) else json.dumps(value)
        lines.append(f"{key} = {text}")
    return "\n".join(lines)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rule_in_toml_is_refused_with_file_and_line(case: str, tmp_path: Path) -> None:
    given, message = WRONG[case]
    good = 'name = "mine"\n\n# """\n[[rule]]\ninitializer = "zeros_"\nname = """\n[[rule]]\nx"""\n\n'
    path = tmp_path / "mine.toml"
    path.write_text(f"{good}[[ rule ]]\nmodule = 'Foo'\n{_toml(given)}\n\n[[rule]]\ninitializer = 'keep'\n")
    with pytest.raises(RecipeError) as raised:
        recipes.load(path)
    said = re.fullmatch(rf"{re.escape(str(path))}:(\d+): (.*)", str(raised.value))
    assert said is not None, str(raised.value)
    assert said[2] == message
    line = path.read_text().splitlines()[int(said[1]) - 1]
    if case == "missing argument":
        assert line == "[[ rule ]]"
    else:
        # The key at fault is the only one beside the initializer, if there is another.
        assert line.split(" = ")[0] == list(given)[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.toml:1: a recipe needs at least one [[rule]], got []"),
        ("rule = 3", "r.toml:1: a recipe needs at least one [[rule]], got 3"),
        ("name = 3\n[[rule]]\n", "r.toml:1: the name of a recipe must be a str, got 3"),
        (f"rule = {'9' * 5000}", "r.toml:1: this must be TOML: Exceeds the limit (4300 digits) for integer string"),
        (
            '[["rule"]]\ninitializer = "ones_"\nndim=1\n[["rule"]]\n\ninitializer="x_"',
            "r.toml:6: unknown initializer 'x_'",
        ),
        (
            '[[rule]]\nname = """\nndim = 3\n"""\ninitializer = "ones_"\nndim = -1',
            "r.toml:6: ndim must be a count from 0 or a list of counts, got -1",
        ),
        (
            '[[rule]]\ninitializer = "normal_"\n\n[rule.args]\nsdt = 1.0\n',
            "r.toml:4: normal_ takes no argument 'sdt'; did you mean std?",
        ),
        ("\n[[rule]]\nname = ", "r.toml:3: this must be TOML: Invalid value"),
        ("nam = 'x'\n[[rule]]\n", "r.toml:1: a recipe has no key 'nam'; did you mean name?"),
        ("\n[[rule]]\nmodul = 'x'\n", "r.toml:3: a rule has no key 'modul'; did you mean module?"),
        ("\n[[rule]]\nmodule = 'x'\n", "r.toml:2: a rule needs an initializer, got the keys module"),
        ("rule = [3]", "r.toml:1: a rule must be a table, got 3"),
        ("\n\n[[rule]\n", "r.toml:3: this must be TOML: Expected ']]' at the end of an array declaration"),
        (
            "[[rule]]\ninitializer = 'zeros_'\n[[rule]]\ninitializer = 'ones_'\nname = 'x'\n",
            "r.toml:3: rule 2 can never match, since rule 1 (any) takes all that it would (x); put it before that one",
        ),
    ],
)
def test_wrong_file_is_refused_with_file_and_line(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Recipe.from_toml(text, "r.toml")
    assert str(raised.value).startswith(message)


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"r\.toml: a recipe must be UTF-8, got byte 0xff$"):
        recipes.load(tmp_path / "r.toml")


def test_unknown_recipe_is_refused_with_what_would_be_right() -> None:
    with pytest.raises(RecipeError, match=r"^there is no recipe and no file 'resnett'; did you mean resnet\?$"):
        recipes.load("resnett")


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
        with pytest.raises(RecipeError, match="rule 2 can never match, since rule 1"):
            Recipe(rules)
    else:
        Recipe(rules)


def test_default_after_the_same_default_is_refused() -> None:
    with pytest.raises(RecipeError, match="rule 2 can never match"):
        Recipe([Rule("default", module="Linear"), Rule("default", module="Linear")])
    Recipe([Rule("default", args={"layer": "Linear"}), Rule("default")])


@pytest.mark.parametrize("rules", [[], [{"initializer": "ones_"}]])
def test_recipe_takes_rules_alone(rules: list) -> None:
    with pytest.raises(RecipeError, match="a recipe needs at least one rule and nothing else, got"):
        Recipe(rules)


@pytest.mark.parametrize(
    "rule", [{"initializer": "ones_", "ndim": 64}, {"initializer": "dirac_", "args": {"groups": 10**9}}]
)
def test_validation_needs_no_memory(rule: dict) -> None:
    code = f"""
import resource
from torchinit.recipes import Rule
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Rule(**{rule!r})
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_rule_of_a_command_names_its_line_too() -> None:
    code = "from torchinit.recipes import Rule\n\nRule('x_')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "RecipeError: <string>:3: unknown initializer 'x_'" in done.stderr


def test_equal_recipes_have_equal_hashes_and_numbers_of_numpy_become_pythons() -> None:
    numpy = pytest.importorskip("numpy")
    one = Rule("normal_", args={"mean": 1, "std": numpy.float64(0.02)})
    other = Rule("normal_", args={"std": 0.02, "mean": 1.0})
    assert one == other
    assert len({Recipe([one]), Recipe([other])}) == 1
    assert [type(value) for value in one.args.values()] == [float, float]
    assert Recipe.from_toml(Recipe([one]).to_toml()) == Recipe([other])


def test_mark_of_utf_8_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(recipes.vit().to_toml(), encoding="utf-8-sig")
    assert recipes.load(tmp_path / "r.toml") == recipes.vit()


def test_default_leaves_a_later_rule_what_torch_has_no_default_for() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.zeros(3))

    model = Recipe([Rule("default"), Rule("ones_", name="*.gamma")]).apply_(nn.Sequential(nn.LayerNorm(3), Scale()))
    assert torch.equal(model[1].gamma, torch.ones(3))


EVERYTHING = Recipe(
    [
        Rule("keep", name='odd "name"\\\x7f\n'),
        Rule("normal_", module="Bär", args={"mean": -1e-300, "std": math.inf}),
        Rule("uniform_", name=("a.*", "*.b"), ndim=(1, 2), args={"a": 0.1 + 0.2, "b": 1}, blocks=(1, 2, 3), dim=-1),
        Rule("kaiming_normal_", name="c", args={"mode": "fan_out"}, fans="upstream", residual=True, optional=True),
        Rule("dirac_", ndim=4, args={"groups": 2}, blocks=2),
        Rule("default", args={"layer": "Linear"}),
    ],
    "everything",
)


@pytest.mark.parametrize("recipe", [EVERYTHING, *(make() for make in SHIPPED.values())], ids=lambda r: r.name)
def test_recipe_survives_toml_and_repr_without_loss(recipe: Recipe) -> None:
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert eval(repr(recipe), {"Recipe": Recipe, "Rule": Rule, "inf": math.inf}) == recipe
    assert hash(Recipe.from_toml(recipe.to_toml())) == hash(recipe)


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
    assert set(recipes._fills.INITIALIZERS) == offered
