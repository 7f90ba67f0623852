"""Does a recipe extend a shipped one or a file, with its own rules first?"""

from pathlib import Path

import pytest
from torch import nn

from torchinit import recipes
from torchinit.recipes import Recipe, RecipeError, Rule


def test_own_rules_come_first_and_own_constants_replace_those_of_the_base() -> None:
    text = 'extends = "llama"\n[constants]\nstd = 0.006\n[[rule]]\ninitializer = "zeros_"\nname = "*.head.weight"\n'
    recipe = Recipe.from_toml(text)
    llama = recipes.llama(std=0.006)
    assert recipe == Recipe([Rule("zeros_", name="*.head.weight"), *llama.rules], "llama", {"std": 0.006})
    assert Recipe.from_toml('name = "own"\n' + text).name == "own"
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_rule_of_the_base_that_an_own_rule_covers_is_left_out() -> None:
    recipe = Recipe.from_toml('extends = "llama"\n[[rule]]\ninitializer = "ones_"\nrole = ["weight", "embedding"]\n')
    assert [rule.initializer for rule in recipe.rules] == ["ones_", "normal_", "default", "zeros_"]


def test_own_constant_may_be_new_if_it_is_used() -> None:
    recipe = Recipe.from_toml('extends = "llama"\n[constants]\nstd = "width ** -0.5"\nwidth = 16\n')
    assert recipe.plan(nn.Linear(2, 2)).rows[0].std == 0.25
    with pytest.raises(RecipeError, match=r"^recipe: no rule uses the constant stdd; did you mean std\?$"):
        Recipe.from_toml('extends = "llama"\n[constants]\nstdd = 0.006\n')
    with pytest.raises(RecipeError, match=r"^recipe: no rule uses the constant std; they use none$"):
        Recipe.from_toml('extends = "resnet"\n[constants]\nstd = 0.006\n')


def test_file_extends_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.toml").write_text('extends = "../b.toml"\n[constants]\nstd = 0.5\n')
    (tmp_path / "b.toml").write_text('extends = "gpt2"\n[[rule]]\ninitializer = "keep"\nname = "x"\n')
    recipe = recipes.load(tmp_path / "sub" / "a.toml")
    assert recipe == Recipe([Rule("keep", name="x"), *recipes.gpt2().rules], "gpt2", {"std": 0.5})


def test_cycle_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text('extends = "./a.toml"\n')
    with pytest.raises(RecipeError) as raised:
        recipes.load(tmp_path / "a.toml")
    assert str(raised.value) == (
        f"{tmp_path / 'b.toml'}: recipes must not extend each other in a cycle, got a.toml -> b.toml -> a.toml"
    )


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ('"llamma"', "r.toml: there is no recipe and no file 'llamma' to extend; did you mean llama?"),
        ('"no.toml"', "r.toml: extends needs a file, got '{folder}/no.toml': No such file or directory"),
        ('"."', "r.toml: extends needs a file, got '{folder}': Is a directory"),
        ("3", "r.toml: extends must be the name of a recipe or a file, got 3"),
        ('""', "r.toml: extends must be the name of a recipe or a file, got ''"),
        ('"llama"\nconstants = 3', "r.toml: the constants of a recipe must be a table, got 3"),
        (
            '"llama"\n\n[constants]\nstd = "x"',
            "r.toml:4: the constant std must use known names, got x in 'x'; there are none",
        ),
        (
            '"llama"\n\n[constants]\nstd = -1',
            "llama.toml:12: rule 1: normal_: normal",
        ),
    ],
)
def test_wrong_extension_is_refused_with_the_place(extends: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(f"extends = {extends}\n")
    with pytest.raises(RecipeError) as raised:
        recipes.load(tmp_path / "r.toml")
    place = "" if message.startswith("llama") else f"{tmp_path}/"
    assert str(raised.value).startswith(place + message.format(folder=tmp_path))
    assert "\n" not in str(raised.value)
