"""Does compare test values against what a recording or a plan fills a tensor with, and two of these against each other?"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import torchinit
from torchinit import recording
from torchinit.diagnostics import compare, statistics
from torchinit.diagnostics._fills import law_of
from torchinit.diagnostics._samples import evidence, sample_of
from torchinit.recipes import Recipe, Rule, torch_default
from torchinit.recipes._fill import Fill

FITS = "same distribution"


def _net() -> nn.Module:
    return nn.Sequential(
        nn.Embedding(50, 64, padding_idx=3),
        nn.Linear(64, 64),
        nn.LSTM(64, 64),
        nn.BatchNorm1d(64),
        nn.MultiheadAttention(64, 4),
        nn.Conv2d(8, 16, 3),
    )


def _seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _layer(fill: Callable[[Tensor], Any], *shape: int) -> dict[str, Tensor]:
    weight = torch.empty(shape or (64, 64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fill(weight)
    return {"weight": weight}


def _recorded(fill: Callable[[Tensor], Any], *shape: int) -> recording.Recording:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(shape or (64, 64)))
            with torch.no_grad():
                fill(self.weight)

    return torchinit.record(Net)


@pytest.mark.parametrize("seed", range(5))
def test_a_model_fits_its_recording_and_its_plan(seed: int) -> None:
    model = _seeded(_net, seed)
    for law in (torchinit.record(_net), torch_default().plan(model), torch_default()):
        for pair in ((model, law), (law, model), (model.state_dict(), law)):
            found = compare(*pair)  # type: ignore[arg-type]
            assert not found
            assert set(found.counts) <= {FITS, "not compared"}
    assert compare(torchinit.record(_net), torch_default().plan(model)).counts == {FITS: 18}


DRAWS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Tensor], Any]]] = {
    "normal": (lambda w: w.normal_(0.0, 0.02), lambda w: w.normal_(0.0, 0.022)),
    "uniform": (lambda w: w.uniform_(-0.1, 0.1), lambda w: w.normal_(0.0, 0.2 / 12**0.5)),
    "bounds": (lambda w: w.uniform_(-0.1, 0.1), lambda w: w.uniform_(-0.105, 0.105)),
    "mean": (lambda w: w.normal_(0.0, 1.0), lambda w: w.normal_(0.2, 1.0)),
    "truncated": (
        lambda w: nn.init.trunc_normal_(w, 0.0, 1.0, -2.0, 2.0),
        lambda w: nn.init.normal_(w, 0.0, stats.truncnorm(-2, 2).std()),
    ),
    "tail": (lambda w: torchinit.trunc_normal_(w, 0.0, 1.0, 3.0, 10.0), lambda w: w.uniform_(3.0, 4.0)),
    "other tail": (lambda w: torchinit.trunc_normal_(w, 0.0, 1.0, -10.0, -3.0), lambda w: w.uniform_(-4.0, -3.0)),
    "constant": (lambda w: w.fill_(0.1), lambda w: w.fill_(0.2)),
    "orthogonal": (lambda w: nn.init.orthogonal_(w), lambda w: w.normal_(0.0, 0.125)),
    "independent": (lambda w: w.normal_(0.0, 0.125), lambda w: nn.init.orthogonal_(w)),
    "sparse": (lambda w: torchinit.sparse_(w, 0.5), lambda w: w.normal_(0.0, 0.01 * 0.5**0.5)),
    "a product of draws": (lambda w: w.normal_().mul_(torch.rand_like(w)), lambda w: w.normal_(0.0, 3**-0.5)),
    "a table": (lambda w: w.copy_(torch.arange(4096.0).view(64, 64)), lambda w: w.copy_(torch.arange(4096.0).view(64, 64).t())),
    "a padded row": (lambda w: (w.normal_(), w[3].zero_()), lambda w: w.normal_()),
    "blocks": (lambda w: (w[:32].normal_(), w[32:].normal_(0.0, 2.0)), lambda w: (w[:32].normal_(0.0, 2.0), w[32:].normal_())),
}  # fmt: skip


@pytest.mark.parametrize("kind", DRAWS)
def test_values_are_tested_against_a_recorded_law(kind: str) -> None:
    own, other = DRAWS[kind]
    law = _recorded(own)
    assert compare(_layer(own), law).counts == {FITS: 1}
    (row,) = compare(_layer(other), law)
    assert row.what == "different distribution"
    (turned,) = compare(law, _layer(other))
    assert (turned.a, turned.b) == (row.b, row.a)
    if row.ratio is not None and turned.ratio is not None:
        assert turned.ratio * row.ratio == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("initializer", "args"),
    [("normal_", {"std": 0.02}), ("uniform_", {"a": -0.1, "b": 0.1}), ("orthogonal_", {}), ("zeros_", {}), ("kaiming_uniform_", {})],
)  # fmt: skip
def test_values_are_tested_against_a_plan(initializer: str, args: dict[str, Any]) -> None:
    recipe = Recipe([Rule(initializer, args=args)])
    layer = recipe.apply_(nn.Linear(64, 64, bias=False), torch.Generator().manual_seed(0))
    assert compare(layer, recipe.plan(layer)).counts == {FITS: 1}
    wider = {"weight": layer.weight * 1.2 + (initializer == "zeros_")}
    assert [row.what for row in compare(wider, recipe.plan(layer))] == ["different distribution"]


@pytest.mark.parametrize(
    "values", [torch.tensor([7.0]), torch.tensor([0.4, 7.0]), torch.tensor([-3.0, 0.0, 0.1]), torch.tensor([9.0, 8.0])]
)
def test_few_values_outside_the_bounds_of_a_law_are_found(values: Tensor) -> None:
    law = _recorded(lambda w: w.uniform_(-0.5, 0.5), len(values))
    assert [row.what for row in compare({"weight": values}, law)] == ["different distribution"]
    assert not compare({"weight": values / 20}, law)


@pytest.mark.parametrize(
    ("fill", "reference"),
    [
        (Fill("uniform_", (-0.1, 0.3)), stats.uniform(-0.1, 0.4)),
        (Fill("normal_", (1.0, 2.0)), stats.norm(1.0, 2.0)),
        (Fill("trunc_normal_", (0.0, 1.0, -2.0, 2.0)), stats.truncnorm(-2, 2)),
        (Fill("trunc_normal_", (0.5, 2.0, 6.5, 20.5)), stats.truncnorm(3, 10, 0.5, 2.0)),
        (Fill("trunc_normal_", (0.0, 1.0, -12.0, -9.0)), stats.truncnorm(-12, -9)),
        (Fill("trunc_normal_", (0.0, 1.0, 9.0, 12.0)), stats.truncnorm(9, 12)),
    ],
)  # fmt: skip
def test_laws_are_those_of_scipy(fill: Fill, reference: Any) -> None:
    law = law_of(fill, (1000,))
    assert law.mean == pytest.approx(reference.mean())
    assert law.std == pytest.approx(reference.std())
    points = torch.tensor(reference.ppf([1e-6, 0.1, 0.5, 0.9, 1 - 1e-6]))
    assert law.cdf is not None
    torch.testing.assert_close(law.cdf(points), torch.tensor(reference.cdf(points)), rtol=1e-6, atol=1e-12)
    values = torch.tensor(reference.rvs(500, random_state=0))
    test = stats.kstest(values, reference.cdf)
    found = evidence(sample_of(values), law)
    assert found.distance == pytest.approx(test.statistic)


@pytest.mark.parametrize("sizes", [(64, 64), (300, 2000)])
@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_the_distance_of_two_samples_is_scipys(sizes: tuple[int, int], shift: float) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)
    a, b = a.mul(8).round().div(8), (b + shift).mul(8).round().div(8)
    assert evidence(sample_of(a), sample_of(b)).distance == pytest.approx(stats.ks_2samp(a, b).statistic)


@pytest.mark.parametrize("size", [30, 300, 3000])
@pytest.mark.parametrize("ratio", [1.0, 1.1, 1.5])
def test_the_chance_of_normal_samples_is_that_of_exact_tests(size: int, ratio: float) -> None:
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(size, generator=generator, dtype=torch.float64)
    b = torch.randn(size, generator=generator, dtype=torch.float64) * ratio
    logarithm = abs(math.log(b.var() / a.var()))
    exact = [
        2 * stats.f(size - 1, size - 1).sf(math.exp(logarithm)),
        stats.ttest_ind(a, b).pvalue,
        stats.ks_2samp(a, b, method="asymp").pvalue,
    ]
    expected = min(1.0, 3 * min(exact))
    found = evidence(sample_of(a), sample_of(b)).p
    # The kurtosis is that of the samples.
    assert math.log10(found) == pytest.approx(math.log10(expected), rel=0.25, abs=0.3)


def test_a_draw_from_the_models_own_generator_is_a_law() -> None:
    def seeded(seed: int, std: float = 1.0) -> recording.Recording:
        return _recorded(lambda w: w.normal_(0.0, std, generator=torch.Generator().manual_seed(seed)))

    own = {"weight": torch.empty(64, 64).normal_(generator=torch.Generator().manual_seed(0))}
    assert compare(own, seeded(0)).counts == {FITS: 1}
    assert compare(own, seeded(1)).counts == {FITS: 1}
    assert compare(own, seeded(1, 1.2)).counts == {"different distribution": 1}
    assert compare(Recipe([Rule("normal_")]), seeded(0)).counts == {FITS: 1}


def test_what_a_plan_keeps_is_not_compared() -> None:
    plan = Recipe([Rule("keep", name="*.bias"), Rule("normal_")]).plan(nn.Linear(8, 8))
    drawn = Recipe([Rule("normal_")]).apply_(nn.Linear(8, 8), torch.Generator().manual_seed(0))
    assert compare(drawn, plan).counts == {FITS: 1, "not compared": 1}


def test_a_recipe_is_planned_for_a_recording() -> None:
    def build() -> nn.Module:
        return Recipe([Rule("xavier_uniform_", ndim=2), Rule("zeros_")]).apply_(nn.Linear(16, 16))

    assert not compare(Recipe([Rule("xavier_uniform_", ndim=2), Rule("zeros_")]), torchinit.record(build))
    (row,) = compare(torchinit.record(build), Recipe([Rule("xavier_normal_", ndim=2), Rule("zeros_")]))
    assert (row.what, row.a, row.b) == ("different distribution", "uniform_(-0.433, 0.433)", "normal_(0, 0.25)")
    assert row.ratio == pytest.approx(1.0)
    assert row.distance is not None
    assert row.distance > 0.05


def test_two_recordings_are_compared_as_diff_does() -> None:
    a, b = (torchinit.record(lambda n=n: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, n))) for n in (4, 5))  # type: ignore[misc]
    found = compare(a, b)
    assert [(row.name, row.what) for row in found] == [("1.weight", "different shape"), ("1.bias", "different shape")]
    assert found.counts == {FITS: 2, "different shape": 2}
    assert not compare(a, a)
    assert {row.name for row in found} == {name for row in recording.diff(a, b).rows for name in row.tensors}


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda: nn.Linear(4, 4, bias=False), "only in A"),
        (lambda: nn.Linear(4, 4).double(), "different dtype"),
        (lambda: nn.Linear(4, 4).requires_grad_(False), None),
        (lambda: Recipe([Rule("normal_")]).apply_(nn.Linear(4, 4)), "different distribution"),
    ],
)
def test_what_two_recordings_differ_in(build: Callable[[], nn.Module], what: str | None) -> None:
    found = compare(torchinit.record(lambda: nn.Linear(4, 4)), torchinit.record(build))
    assert {row.what for row in found} == ({what} if what else set())


def test_statistics_tell_a_model_before_from_after() -> None:
    model = _seeded(_net)
    before = statistics(model)
    assert compare(before, model).counts == {"equal statistics": 15}
    with torch.no_grad():
        model.get_parameter("1.weight").mul_(1.5)
    (row,) = compare(before, model)
    assert (row.name, row.what) == ("1.weight", "different distribution")
    assert row.ratio == pytest.approx(1.5)
    assert not compare(statistics(_seeded(_net, 1)), before, any_seed=True)


def test_statistics_are_compared_with_laws() -> None:
    model = _seeded(_net)
    for law in (torchinit.record(_net), torch_default().plan(model)):
        assert compare(statistics(model), law).counts == {FITS: 15}
        with torch.no_grad():
            wide = {name: p * (2.0 if name == "1.weight" else 1.0) for name, p in model.named_parameters()}
        assert [(row.name, row.what) for row in compare(law, statistics(wide))] == [
            ("1.weight", "different distribution")
        ]


def test_a_recipe_and_statistics_are_refused() -> None:
    with pytest.raises(
        TypeError, match=r"^a recipe is compared with a model, a state dict or a recording, got Statistics"
    ):
        compare(torch_default(), statistics(nn.Linear(2, 2)))


def test_the_law_of_a_traced_file_may_lack_buffers() -> None:
    traced = torch.jit.trace(_seeded(_Tabled).eval(), torch.zeros(2, 3))
    frozen = torch.jit.script(_seeded(_Tabled))
    for module in (traced, frozen):
        assert not compare(module, torchinit.record(_Tabled))


class _Tabled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("table", torch.arange(3.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.table


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_comparison_leaves_the_values_as_they_are(dtype: torch.dtype) -> None:
    model = _seeded(lambda: nn.Linear(64, 64)).to(dtype)
    before = model.weight.detach().clone()
    compare(model, torch_default())
    assert torch.equal(model.weight, before)


def test_a_comparison_does_not_depend_on_the_default_device() -> None:
    a, b = _seeded(_net, 0), _seeded(_net, 1)
    rows, told, laws = statistics(a), compare(a, b), compare(a, torch_default())
    with torch.device("meta"):
        assert statistics(a) == rows
        assert compare(a, b) == told
        assert compare(a, torch_default()) == laws


def test_what_nothing_writes_has_no_law() -> None:
    unwritten, drawn = _recorded(lambda w: None), _recorded(lambda w: w.normal_())
    layer = nn.Linear(64, 64, bias=False)
    kept = Recipe([Rule("keep")]).plan(layer)
    assert compare(kept, kept).counts == {FITS: 1}
    assert compare(kept, Recipe([Rule("normal_")]).plan(layer)).counts == {"not compared": 1}
    assert compare(kept, unwritten).counts == {"not compared": 1}
    assert compare(statistics({"weight": torch.ones(64, 64)}), unwritten).counts == {"not compared": 1}
    # Statistics of the meta device have no numbers.
    assert compare(statistics({"weight": torch.empty(64, 64, device="meta")}), drawn).counts == {"not compared": 1}


def test_laws_of_one_fill_and_of_two_are_compared_by_draws() -> None:
    whole = Recipe([Rule("normal_")]).plan(nn.Linear(64, 64, bias=False))
    for std, counts in ((1.0, {FITS: 1}), (2.0, {"different distribution": 1})):
        halves = _recorded(lambda w, std=std: (w[:32].normal_(), w[32:].normal_(0.0, std)))  # type: ignore[misc]
        assert compare(whole, halves).counts == counts


def test_layers_that_are_copies_have_the_laws_of_their_source() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    assert compare(model, torch_default().plan(model)).counts == {FITS: 24}


def test_a_recipe_is_compared_with_a_recording_of_a_file(tmp_path: Path) -> None:
    recorded = _recorded(lambda w: w.normal_(0.0, 0.02))
    recorded.save(tmp_path / "a.init")
    loaded = recording.load(tmp_path / "a.init")
    for std, counts in ((0.02, {FITS: 1}), (0.03, {"different distribution": 1})):
        recipe = Recipe([Rule("normal_", args={"std": std})])
        assert compare(recipe, loaded).counts == compare(loaded, recipe).counts == counts


def test_values_that_differ_from_a_law_are_drawn_beside_it() -> None:
    found = compare(_layer(lambda w: w.normal_()), _recorded(lambda w: w.uniform_()))
    assert found.drawn == ["weight"]
    assert any(axis.patches for axis in found.plot().axes)


def test_one_other_value_among_too_many_to_look_at_fits_no_draw() -> None:
    values = torch.zeros(512, 512)
    values[0, 5] = 1.0
    assert compare({"weight": values}, _recorded(lambda w: w.normal_(), 512, 512)).counts == {
        "different distribution": 1
    }


@pytest.mark.parametrize(
    ("a", "b", "counts"),
    [
        ([math.nan], [math.inf], {"not compared": 1}),
        ([math.nan], [1.0], {"different distribution": 1}),
        ([1.0, 2.0], [3.0, 3.0], {"different distribution": 1}),
    ],
)
def test_statistics_without_a_deviation_are_compared_by_what_they_have(
    a: list[float], b: list[float], counts: dict[str, int]
) -> None:
    assert compare(*(statistics({"x": torch.tensor(values)}) for values in (a, b))).counts == counts
