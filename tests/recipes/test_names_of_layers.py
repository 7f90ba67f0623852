"""Do {layer} and {last} match whole numbers in names, and only the last ones?"""

import pytest
from torch import nn

from torchinit.recipes import Recipe, RecipeError, Rule


def _filled(rule: Rule, model: nn.Module) -> list[str]:
    rows = Recipe([rule, Rule("keep", optional=True)]).plan(model).rows
    return [row.name for row in rows if row.initializer == rule.initializer]


def _linears(count: int) -> list[nn.Module]:
    return [nn.Linear(1, 1, bias=False) for _ in range(count)]


@pytest.mark.parametrize("glob", ["{layer}.weight", "*{layer}.weight", "*{layer}.*", "*.{layer}.weight", "{layer}*"])
def test_layer_matches_a_whole_number(glob: str) -> None:
    model = nn.ModuleDict({"12": nn.Linear(1, 1, bias=False), "x3y": nn.Linear(1, 1, bias=False)})
    rule = Rule("constant_", name=glob, args={"val": "layer"})
    fills = Recipe([rule, Rule("keep")]).plan(model).steps
    assert fills[0].target == "12.weight"
    assert fills[0].fills[0].args == (12.0,)


def test_last_matches_the_largest_number_in_each_place() -> None:
    model = nn.ModuleDict({"actor": nn.Sequential(*_linears(11)), "critic": nn.Sequential(*_linears(2))})
    assert _filled(Rule("ones_", name="*.{last}.weight"), model) == ["actor.10.weight", "critic.1.weight"]


def test_last_counts_what_meets_the_other_conditions() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.LayerNorm(2))
    assert _filled(Rule("ones_", name="{last}.weight", ndim=2), model) == ["1.weight"]
    assert _filled(Rule("ones_", name="{last}.weight", module="LayerNorm"), model) == ["2.weight"]


def test_glob_without_last_still_matches_beside_one_with_it() -> None:
    model = nn.ModuleDict({"a": nn.Sequential(*_linears(3)), "b": nn.Linear(1, 1, bias=False)})
    assert _filled(Rule("ones_", name=["b.*", "a.0.*", "a.{last}.*"]), model) == [
        "a.0.weight",
        "a.2.weight",
        "b.weight",
    ]


def test_last_within_each_layer() -> None:
    model = nn.Sequential(nn.Sequential(*_linears(2)), nn.Sequential(*_linears(3)))
    rule = Rule("constant_", name="{layer}.{last}.weight", args={"val": "layer * 100 + layers"})
    steps = Recipe([rule, Rule("keep")]).plan(model).steps
    assert {step.target: step.fills[0].args for step in steps} == {"0.1.weight": (2.0,), "1.2.weight": (102.0,)}


@pytest.mark.parametrize(
    ("glob", "message"),
    [
        ("h.{layers}.x", "a name knows {layer} and {last}, got {layers} in 'h.{layers}.x'; did you mean {layer}?"),
        ("{layer}.{layer}", "a name must have {layer} at most once, got '{layer}.{layer}'"),
        ("{last}.{last}", "a name must have {last} at most once, got '{last}.{last}'"),
    ],
)
def test_wrong_braces_are_refused(glob: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Rule("ones_", name=glob)
    assert str(raised.value).endswith(f": {message}")


def test_rule_for_all_names_shadows_one_for_layers_but_a_question_mark_does_not() -> None:
    with pytest.raises(RecipeError, match="can never match"):
        Recipe([Rule("ones_", name="h.*"), Rule("zeros_", name="h.{layer}.x")])
    Recipe([Rule("ones_", name="h.???????.x"), Rule("zeros_", name="h.{layer}.x")])


def test_other_braces_are_text() -> None:
    model = nn.ModuleDict({"{odd}": nn.Linear(1, 1, bias=False)})
    assert _filled(Rule("ones_", name="{odd}.weight"), model) == ["{odd}.weight"]
