"""Do recipes survive TOML, and do errors name the place in a wrong file?"""

import json
import math
from pathlib import Path

import pytest
from torch import nn

from tests.recipes.test_rules import WRONG
from torchinit import recipes
from torchinit.recipes import Recipe, RecipeError, Rule, _plain_toml
from torchinit.recipes._read import _shipped_text
from torchinit.recipes._shipped import SHIPPED
from torchinit.recipes._toml import tomllib


def test_names_beyond_the_basic_plane_survive_toml() -> None:
    recipe = Recipe([Rule("ones_", name="\U0001f600")])
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_absent_file_with_toml_in_its_name_is_not_an_unknown_recipe(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        recipes.load(tmp_path / "none.toml")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_is_read_without_a_reader_of_toml(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, text = recipes.load(name), _shipped_text(name)
    assert _plain_toml.loads(text) == tomllib.loads(text)
    monkeypatch.setattr("torchinit.recipes._toml.tomllib", None)
    assert Recipe.from_toml(text) == Recipe.from_toml(recipe.to_toml()) == recipe


@pytest.mark.parametrize("text", ["name = 'x'\n[[ rule ]]", 'name = """\nx"""', "a.b = 1", "x = 1_0 0"])
def test_other_toml_needs_tomli_before_python_3_11(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchinit.recipes._toml.tomllib", None)
    with pytest.raises(RecipeError, match=r"needs the package tomli: pip install 'torchinit\[toml\]'"):
        Recipe.from_toml(text)


def _toml(given: dict[str, object]) -> str:
    lines = []
    for key, value in given.items():
        text = json.dumps(value).replace(":", " =") if isinstance(value, dict) else json.dumps(value)
        lines.append(f"{key} = {text}")
    return "\n".join(lines)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rule_in_toml_is_refused_with_file_and_rule(case: str, tmp_path: Path) -> None:
    given, message = WRONG[case]
    path = tmp_path / "mine.toml"
    good = 'name = "mine"\n\n[[rule]]\ninitializer = "zeros_"\nname = "x"\n\n'
    path.write_text(f"{good}[[rule]]\nmodule = 'Foo'\n{_toml(given)}\n\n[[rule]]\ninitializer = 'keep'\n")
    with pytest.raises(RecipeError) as raised:
        recipes.load(path)
    name = f" {json.dumps(given['name'])}" if "name" in given else ""
    assert str(raised.value) == f'{path}: rule 2 ("Foo"{name}): {message}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.toml: a recipe needs at least one [[rule]], got []"),
        ("rule = 3", "r.toml: a recipe needs at least one [[rule]], got 3"),
        ("name = 3\n[[rule]]\n", "r.toml: the name of a recipe must be a str, got 3"),
        (f"rule = {'9' * 5000}", "r.toml:1: this must be TOML: Exceeds the limit (4300 digits) for integer string"),
        ("\n[[rule]]\nname = ", "r.toml:3: this must be TOML: Invalid value"),
        ("\n\n[[rule]\n", "r.toml:3: this must be TOML: Expected ']]' at the end of an array declaration"),
        ("nam = 'x'\n[[rule]]\n", "r.toml: a recipe has no key 'nam'; did you mean name?"),
        ("\n[[rule]]\nmodul = 'x'\n", "r.toml: rule 1: a rule has no key 'modul'; did you mean module?"),
        ("\n[[rule]]\nname = 'x'\n", 'r.toml: rule 1 ("x"): a rule needs an initializer, got the keys name'),
        ("[[rule]]\n", "r.toml: rule 1: a rule needs an initializer, got the keys none"),
        ("rule = [3]", "r.toml: rule 1: a rule must be a table, got 3"),
        (
            "[[rule]]\ninitializer = 'zeros_'\n[[rule]]\ninitializer = 'ones_'\nname = 'x'\n",
            'r.toml: rule 2 ("x") can never match, because rule 1 (any) comes first and matches all that it'
            " would (x); put it before that one",
        ),
    ],
)
def test_wrong_file_is_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Recipe.from_toml(text, "r.toml")
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_rule_of_a_file_that_does_not_fit_a_model_is_named() -> None:
    recipe = Recipe.from_toml('[[rule]]\ninitializer = "eye_"\nname = "*.bias"\n', "r.toml")
    with pytest.raises(RecipeError, match=r'^r\.toml: rule 1 \("\*\.bias"\): eye_ of bias: Only tensors with 2 dim'):
        Recipe([*recipe.rules, Rule("keep")]).plan(nn.Linear(2, 2))


@pytest.mark.parametrize(("contents", "byte"), [(b"\xff\xfe", "0xff"), (b'name = "\xe4"', "0xe4")])
def test_file_that_is_not_utf_8_is_refused(contents: bytes, byte: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(contents)
    with pytest.raises(RecipeError, match=rf"r\.toml: a recipe must be UTF-8, got byte {byte}$"):
        recipes.load(tmp_path / "r.toml")


def test_unknown_recipe_is_refused_with_a_suggestion() -> None:
    with pytest.raises(RecipeError, match=r"^there is no recipe and no file 'resnett'; did you mean resnet\?$"):
        recipes.load("resnett")


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(recipes.vit().to_toml(), encoding="utf-8-sig")
    assert recipes.load(tmp_path / "r.toml") == recipes.vit()


EVERYTHING = Recipe(
    [
        Rule("keep", name='odd "name"\\\x7f\n'),
        Rule("normal_", module="Bär", args={"mean": -1e-300, "std": math.inf}),
        Rule("uniform_", name=("a.*", "*.b"), ndim=(1, 2), args={"a": 0.1 + 0.2, "b": 1}, blocks=(1, 2, 3), dim=-1),
        Rule("kaiming_normal_", name="c", args={"mode": "fan_out"}, fans="upstream", residual=True, optional=True),
        Rule("dirac_", ndim=4, args={"groups": 2}, blocks=2),
        Rule("rotary_inv_freq_", role="buffer", name="*.inv_freq", args={"scaling": "longrope", "factors": [1, 2.5]}),
        Rule("sinusoidal_", name="*.{layer}.p", args={"base": "2 ** layer", "padding_idx": None}),
        Rule("orthogonal_", role=("weight", "norm"), blocks=(2, 1), repeat=True, dim=2, batch_dims=1, transposed=True),
        Rule("constant_", name="d", args={"val": "dévi"}),
        Rule("default", args={"layer": "Linear"}),
    ],
    "everything",
    {"dévi": "sqrt(x)", "x": 2},
)


@pytest.mark.parametrize("recipe", [EVERYTHING, *(make() for make in SHIPPED.values())], ids=lambda r: r.name)
def test_recipe_survives_toml_and_repr_without_loss(recipe: Recipe) -> None:
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert eval(repr(recipe), {"Recipe": Recipe, "Rule": Rule, "inf": math.inf}) == recipe
    assert hash(Recipe.from_toml(recipe.to_toml())) == hash(recipe)
