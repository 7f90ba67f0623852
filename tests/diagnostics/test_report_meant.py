"""Does a report say what was meant, and whether the values are that?"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchinit
from tests.diagnostics.test_faults import FAULTS
from tests.support.inspection import draw
from tests.support.pages import Page, check
from torchinit import recipes
from torchinit.diagnostics import report, statistics
from torchinit.diagnostics._fills import density_of, of_plan
from torchinit.diagnostics._report._advice import for_fault
from torchinit.recipes import Recipe, RecipeError, Rule


def _page(model: Any, *args: Any, **kwargs: Any) -> Page:
    return check(report(model, *args, **kwargs).html)


def _compared(page: Page) -> str:
    return dict(zip(page.texts("dt"), page.texts("dd"), strict=True))["As meant"]


def _weight(values: Tensor) -> nn.Linear:
    layer = nn.Linear(values.shape[1], values.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(values)
    return layer


def _rule(initializer: str, **args: Any) -> Recipe:
    return Recipe([Rule(initializer, args=args)], name="mine")


MEANT = {
    "normal_": {"std": 0.02},
    "uniform_": {"a": -0.1, "b": 0.3},
    "trunc_normal_": {"std": 0.02, "a": -0.01, "b": 0.04},
    "xavier_uniform_": {},
    "lecun_normal_": {},
    "orthogonal_": {"gain": 0.5},
    "block_orthogonal_": {"blocks": 2},
    "sparse_": {"sparsity": 0.5},
    "eye_": {},
    "zeros_": {},
    "constant_": {"val": 0.1},
    "inverse_softplus_log_uniform_": {},
}


@pytest.mark.parametrize("initializer", MEANT)
def test_what_a_recipe_draws_is_as_it_means(initializer: str) -> None:
    recipe = _rule(initializer, **MEANT[initializer])
    for shape in ((128, 96), (16, 24)):
        page = _page(recipe.apply_(_weight(torch.ones(shape)), torch.Generator().manual_seed(1)), recipe)
        assert _compared(page) == "1 of 1 compared", shape
        assert not any("not as the recipe" in x for x in page.texts("p"))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(lambda: draw("normal_", (128, 96), std=0.021), id="5 percent wider"),
        pytest.param(lambda: draw("normal_", (128, 96), std=0.02) + 0.002, id="another mean"),
        pytest.param(lambda: draw("uniform_", (128, 96), a=-0.02 * 3**0.5, b=0.02 * 3**0.5), id="another law"),
        pytest.param(lambda: torch.zeros(128, 96), id="zeros"),
    ],
)
def test_values_that_are_not_as_meant_are_told(values: Any) -> None:
    page = _page(_weight(values()), _rule("normal_", std=0.02))
    assert page.texts("strong")[0] == "1 tensor is not as the recipe mine says."
    assert _compared(page) == "0 of 1 compared"
    assert any("meant: normal_(0, 0.02), std 0.02" in x for x in page.texts("p", "what"))


def test_a_layer_that_is_not_as_meant_is_no_part_of_those_that_are() -> None:
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(5)])
    recipe = recipes.xavier()
    recipe.apply_(model, torch.Generator().manual_seed(0))
    torchinit.normal_(model[3].weight, std=0.02)
    page = _page(model, recipe)
    assert _compared(page) == "9 of 10 compared"
    assert "3.weight" in page.texts("h3")
    assert "{0..2,4}.weight \u00d74" in page.texts("h3")


def test_plan_of_a_recipe_has_a_row_for_each_kind() -> None:
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(4)])
    rules = [Rule("keep", name="0.bias"), Rule("xavier_uniform_", name="*.weight"), Rule("zeros_")]
    assert _page(model, Recipe(rules)).rows("What was meant")[1:] == [
        ["{0..3}.weight \u00d74", "Linear", "8x8", "xavier_uniform_", "0", "0.354", "2: *.weight"],
        ["0.bias", "Linear", "8", "keep", "-", "-", "1: 0.bias"],
        ["{1..3}.bias \u00d73", "Linear", "8", "zeros_", "0", "0", "3: any"],
    ]


def _build() -> nn.Module:
    model = nn.Sequential(nn.Embedding(90, 40, padding_idx=0), nn.Linear(40, 40), nn.Linear(40, 40))
    for layer in model[1:]:
        nn.init.normal_(layer.weight, std=0.02)
    return model


def test_recording_says_what_was_meant_and_which_draws_are_overwritten() -> None:
    recording = torchinit.record(_build)
    page = _page(recording.build(seed=0), recording=recording)
    assert page.rows("What was meant") == [
        ["tensor", "shape", "filled by", "overwritten"],
        ["0.weight", "90x40", "normal_(0, 1), row 0 zero", ""],
        ["{1,2}.weight \u00d72", "40x40", "normal_(0, 0.02)", "kaiming_uniform_(a=2.236)"],
        ["{1,2}.bias \u00d72", "40", "uniform_(-0.1581, 0.1581)", ""],
    ]
    assert _compared(page) == "5 of 5 compared"
    ((tensor, what, *_),) = page.rows("Overwritten draws")[1:]
    assert tensor == "{1,2}.weight"
    assert what.startswith("3,200 values are drawn and thrown away")


def test_recording_of_another_initialization_is_told() -> None:
    recording = torchinit.record(_build)
    other = recipes.xavier().apply_(recording.build(seed=0), torch.Generator().manual_seed(0))
    assert "not as the recorded code says" in _page(other, recording=recording).texts("strong")[0]


def test_recording_of_a_state_dict_compares_by_names() -> None:
    recording = torchinit.record(_build)
    state = recording.build(seed=3).state_dict()
    assert _compared(_page(state, recording=recording)) == "5 of 5 compared"
    with pytest.raises(ValueError, match=r"takes a recording of the same model: .* for 1\.weight"):
        report({**state, "1.weight": torch.ones(3, 3)}, recording=recording)
    with pytest.raises(ValueError, match="takes a recording of the same model, got one with none of its names"):
        report(nn.ModuleDict({"other": nn.Linear(3, 3)}), recording=recording)


def test_recorded_table_and_sum_of_draws_are_compared_with_a_fresh_draw() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.arange(1, 65).repeat(16, 1).float().log())
            self.both = nn.Parameter(torch.randn(64, 64) + torch.rand(64, 64))
            self.picked = nn.Parameter(torch.ones(3, 8).multinomial(4).float())

    recording = torchinit.record(Odd)
    model = recording.build(seed=1)
    assert _compared(_page(model, recording=recording)) == "3 of 3 compared"
    with torch.no_grad():
        model.table.mul_(1.2)
        model.both.mul_(1.2)
    assert _compared(_page(model, recording=recording)) == "1 of 3 compared"


def test_recipe_and_recording_of_one_model_are_both_shown() -> None:
    recording = torchinit.record(_build)
    recipe = Recipe([Rule("normal_", name="*.weight", args={"std": 0.02}), Rule("zeros_")], name="mine")
    page = _page(recording.build(seed=0), recipe, recording)
    assert any(x.startswith("What the recipe mine makes") for x in page.texts("p"))
    assert any(x.startswith("What the recorded code makes") for x in page.texts("p"))
    assert _compared(page) == "2 of 5 compared"
    assert "Overwritten draws" in page.texts("h2")


def test_state_dict_keeps_what_a_recipe_has_no_rule_for() -> None:
    page = _page(nn.LayerNorm(4).state_dict(), Recipe([Rule("zeros_", name="bias")]))
    assert _compared(page) == "1 of 1 compared"
    assert any(x.startswith("1 of 2 parameters and buffers") for x in page.texts("p", "soft"))


def test_rule_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RecipeError):
        report(nn.Linear(3, 4), _rule("orthogonal_"))


def test_parametrized_weight_is_not_compared_by_the_law_of_its_draw() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(40, 50))
    recipe = recipes.xavier()
    page = _page(recipe.apply_(layer), recipe)
    assert _compared(page) == "1 of 1 compared"


def test_audit_of_a_recording_is_part_of_what_is_marked() -> None:
    class Head(nn.Linear):
        def reset_parameters(self) -> None:
            nn.init.trunc_normal_(self.weight, std=0.02)
            nn.init.zeros_(self.bias)

    recording = torchinit.record(lambda: Head(64, 64))
    page = _page(recording.build(seed=0), recording=recording)
    assert "The audit of the model's code finds 1 fault." in page.texts("strong")[0]
    assert any("truncates nothing" in x for x in page.texts("p", "what"))
    assert page.texts("p")[-1] == "Every draw of the recorded code reaches a tensor of the model."
    # The next table is that of the memory.
    assert page.rows("Overwritten draws")[0][0] == "of"


def test_copy_in_another_type_is_as_meant() -> None:
    recording = torchinit.record(_build)
    assert _compared(_page(recording.build(seed=0).bfloat16(), recording=recording)) == "5 of 5 compared"


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_verdict_has_an_advice_of_its_own(fault: str) -> None:
    plant, _ = FAULTS[fault]
    weight = plant(draw("kaiming_normal_", (384, 128)))
    (row,) = statistics({"blocks.0.mlp.fc1.weight": weight})
    assert row.bad
    assert row.verdict is not None
    assert for_fault(row.verdict) != for_fault("something new")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"mlp.fc1.weight": torch.zeros(32, 8), "mlp.fc2.weight": torch.zeros(8, 32)}, "branch never learns"),
        ({"embedding.weight": torch.ones(9, 8) * torch.arange(1, 9)}, "Every index gives the same vector"),
        ({"fc.weight": torch.randn(40, 50).double() * 1e200}, "overflow"),
    ],
)
def test_advice_fits_the_fault(state: dict[str, Tensor], words: str) -> None:
    assert any(words in x.text for x in _page(state).all("li"))


def _share(recipe: Recipe, layer: nn.Module, *points: float) -> list[float]:
    cdf = density_of(of_plan(recipe.plan(layer))[0]["weight"])
    assert cdf is not None
    found: list[float] = cdf(torch.tensor(points, dtype=torch.float64)).tolist()
    return found


@pytest.mark.parametrize("name", MEANT)
def test_law_is_that_of_the_draws(name: str) -> None:
    recipe, layer = _rule(name, **MEANT[name]), _weight(torch.ones(160, 200))
    weight = next(recipe.apply_(layer, torch.Generator().manual_seed(1)).parameters())
    values = weight.detach().flatten().double().sort().values
    points = values[:: len(values) // 7].tolist()
    below = [((values < x).double() + (values <= x).double()).mean().item() / 2 for x in points]
    # 5 standard deviations of a share of so many values.
    assert _share(recipe, layer, *points) == pytest.approx(below, abs=0.02)


def test_law_of_an_orthogonal_matrix_is_that_of_a_coordinate_on_a_sphere() -> None:
    # In three dimensions beyond the first, a coordinate of a random direction has the density of a semicircle.
    x = 0.3
    expected = 0.5 + (x * math.sqrt(1 - x * x) + math.asin(x)) / math.pi
    found = _share(_rule("orthogonal_", gain=2.0), nn.Linear(2, 4, bias=False), 2 * x)
    assert found == pytest.approx([expected], abs=1e-4)


def test_law_of_blocks_is_the_mixture_that_is_left_of_them() -> None:
    recipe, table = _rule("normal_"), nn.Embedding(4, 5, padding_idx=0)
    assert _share(recipe, table, -9.0, 0.0, 9.0) == pytest.approx([0.0, 0.5, 1.0])
    assert _share(recipe, table, -1e-6, 1e-6) == pytest.approx([0.375, 0.625], abs=1e-5)


def test_law_without_a_formula_is_not_learnt_from_a_large_draw() -> None:
    plan = _rule("sparse_", sparsity=0.5).plan(nn.Linear(1024, 1025, bias=False, device="meta"))
    assert density_of(of_plan(plan)[0]["weight"]) is None


def test_time_is_measured_only_on_request_and_stands_in_one_place() -> None:
    model, recipe = nn.Linear(30, 40), recipes.xavier()
    assert "times" not in [x.attributes.get("id") for x in _page(model, recipe).elements]
    page = _page(model, recipe, measure_time=True)
    table = next(x for x in page.elements if x.attributes.get("id") == "times")
    assert table.text.split()[:9] == ["a", "draw", "of", "all", "tensors", "time", "in", "order,", "from"]
    assert "by key" in table.text
    recording = torchinit.record(lambda: nn.Linear(30, 40))
    assert any(x.attributes.get("id") == "times" for x in _page(model, None, recording, measure_time=True).elements)
    # Without a recipe, nothing says how to draw.
    assert "times" not in [x.attributes.get("id") for x in _page(model, measure_time=True).elements]


def test_a_recipe_that_says_nothing_of_any_tensor_is_told() -> None:
    nothing = Recipe([Rule("zeros_", name="*.absent", optional=True), Rule("keep")], name="mine")
    said = report(nn.Linear(64, 64), nothing).summary
    assert said.endswith("No tensor was compared, because the recipe mine says nothing of any.")
