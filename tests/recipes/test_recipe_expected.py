"""Do the mean and std of a plan equal those of the values?"""

import math

import pytest
import torch
from torch import nn

from torchinit import recipes
from torchinit._core.registry import INITIALIZERS
from torchinit.recipes import Recipe, Rule

REST = Rule("keep", optional=True)


def _generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_residual_divides_by_the_root_of_the_number_of_branches() -> None:
    model = nn.ModuleDict(
        {f"block{i}": nn.ModuleDict({"out": nn.Linear(4, 4), "mid": nn.Linear(4, 4)}) for i in range(9)}
    )
    rules = [
        Rule("kaiming_uniform_", name="*.out.weight", residual=True),
        Rule("kaiming_uniform_", name="*.mid.weight"),
        REST,
    ]
    rows = {row.name: row for row in Recipe(rules).plan(model).rows}
    assert rows["block0.mid.weight"].std == pytest.approx(3 * rows["block0.out.weight"].std)


# Arguments of each initializer, and a shape.
EXPECTED = {
    "uniform_": ({"a": -1.0, "b": 3.0}, (400, 300)),
    "normal_": ({"mean": 1.0, "std": 0.5}, (400, 300)),
    "trunc_normal_": ({"mean": 0.3, "std": 1.5, "a": -1.0, "b": 2.0}, (400, 300)),
    "constant_": ({"val": 0.25}, (4, 3)),
    "ones_": ({}, (4, 3)),
    "zeros_": ({}, (4, 3)),
    "eye_": ({}, (4, 7)),
    "dirac_": ({"groups": 2}, (6, 4, 3, 3)),
    "xavier_uniform_": ({"gain": 2.0}, (400, 300)),
    "xavier_normal_": ({}, (400, 300)),
    "kaiming_uniform_": ({"a": 0.5}, (400, 300)),
    "kaiming_normal_": ({"nonlinearity": "relu"}, (400, 300)),
    "orthogonal_": ({"gain": 3.0}, (300, 400)),
    "sparse_": ({"sparsity": 0.3, "std": 2.0}, (400, 300)),
    "trunc_normal_tf_": ({"mean": 0.3, "std": 1.5, "a": -1.0, "b": 2.5, "correct_std": True}, (400, 300)),
    "variance_scaling_": ({"scale": 3.0, "mode": "fan_geo_avg", "distribution": "normal", "fan_in": 50}, (400, 300)),
    "lecun_uniform_": ({}, (400, 300)),
    "lecun_normal_": ({}, (400, 300)),
    "sine_uniform_": ({"omega": 5.0}, (400, 300)),
    "identity_": ({"gain": -0.5, "groups": 2}, (6, 4, 3, 3)),
    "block_orthogonal_": ({"blocks": 3, "gain": 2.0}, (600, 150)),
    "delta_orthogonal_": ({"gain": 3.0, "groups": 2}, (300, 100, 3, 3)),
    "bilinear_": ({"groups": 2}, (6, 4, 4, 5)),
    "icnr_": ({"scale": 0.5, "mode": "fan_avg", "distribution": "uniform"}, (400, 100, 3, 3)),
    "lstm_bias_": ({"forget": 3.0}, (20,)),
    "prior_bias_": ({"prior": 0.2}, (20,)),
    "rotary_inv_freq_": ({"base": 500.0, "scaling": "linear", "factor": 4.0}, (64,)),
    "sinusoidal_": ({"layout": "sin_cos", "endpoint": True, "padding_idx": 1}, (30, 1, 16)),
    "alibi_slopes_": ({}, (12,)),
    "log_arange_": ({}, (30, 16)),
    "inverse_softplus_log_uniform_": ({"low": 1e-5, "high": 0.5}, (400, 300)),
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_expected_mean_and_std_are_those_of_the_values(name: str) -> None:
    args, shape = EXPECTED[name]
    model = nn.ParameterList([torch.empty(shape)])
    recipe = Recipe([Rule(name, args=args)])
    row = recipe.plan(recipe.apply_(model, _generator())).rows[0]
    values = model[0].detach().double()
    assert values.mean().item() == pytest.approx(row.mean, abs=4 * row.std / math.sqrt(values.numel()) + 1e-7)
    assert values.std(correction=0).item() == pytest.approx(row.std, rel=0.02, abs=1e-9)


def test_expected_moments_of_blocks_and_of_padding_are_those_of_the_whole() -> None:
    model = nn.ModuleDict({"packed": nn.Linear(300, 400, bias=False), "words": nn.Embedding(4, 3000, padding_idx=1)})
    rules = [Rule("xavier_normal_", module="Linear", blocks=(50, 350)), Rule("normal_", args={"mean": 2.0, "std": 0.5})]
    recipe = Recipe(rules)
    for row, p in zip(recipe.plan(recipe.apply_(model, _generator())).rows, model.parameters(), strict=True):
        assert p.std().item() == pytest.approx(row.std, rel=0.02)
        assert p.mean().item() == pytest.approx(row.mean, abs=0.02)


def test_clones_have_the_expected_moments_of_their_source() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    rows = {row.name: row for row in recipes.torch_default().plan(model).rows}
    assert rows["layers.1.linear1.weight"].std == rows["layers.0.linear1.weight"].std
    assert rows["layers.0.linear1.weight"].std == pytest.approx(1 / math.sqrt(3 * 8))


def test_statistics_of_no_elements_have_no_moments() -> None:
    assert [row.std for row in recipes.torch_default().plan(nn.BatchNorm1d(0)).rows[:4]] == [None] * 4


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


def test_rows_of_a_default_have_the_fans_that_it_drew_with() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2)
    row = recipes.torch_default().plan(layer).rows[0]
    assert (row.fan_in, row.fan_out) == (27, 36)
    assert row.std == pytest.approx(1 / math.sqrt(3 * 27))


@pytest.mark.parametrize(
    ("initializer", "args"),
    [
        ("normal_", {"mean": 2.0, "std": 0.3}),
        ("uniform_", {"a": -0.3, "b": 0.3}),
        ("trunc_normal_", {"mean": 0.5, "std": 0.02}),
        ("orthogonal_", {"gain": 0.3}),
        ("xavier_normal_", {}),
        ("kaiming_uniform_", {"a": 0.5}),
    ],
)
def test_residual_divides_every_kind_of_deviation_and_no_mean(initializer: str, args: dict) -> None:
    def plan(count: int) -> recipes.Row:
        model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(count)))
        return Recipe([Rule(initializer, args=args, residual=True)]).plan(model).rows[0]

    assert plan(16).std == pytest.approx(plan(1).std / 4)
    assert plan(16).mean == plan(1).mean


def test_sparse_share_is_rounded_up_in_the_expected_deviation() -> None:
    model = nn.Linear(2, 3, bias=False)
    rows = Recipe([Rule("sparse_", args={"sparsity": 0.4, "std": 1.0})]).plan(model).rows
    assert rows[0].std == pytest.approx(math.sqrt(1 / 3))


def test_expected_moments_survive_a_padding_of_many_small_blocks() -> None:
    row = Recipe([Rule("normal_", args={"mean": 5.0}, blocks=4)]).plan(nn.Embedding(4, 1, padding_idx=0)).rows[0]
    assert row.mean == pytest.approx(3.75)


def _integrated(mean: float, std: float, a: float, b: float) -> tuple[float, float]:
    """Integrate the density between the bounds, up to 30 deviations from its peak."""
    peak = min(b, max(a, mean))
    x = torch.linspace(max(a, peak - 30 * std), min(b, peak + 30 * std), 1_000_001, dtype=torch.float64)
    density = torch.exp(-((x - mean) ** 2 - (peak - mean) ** 2) / (2 * std**2))
    density /= torch.trapezoid(density)
    center = torch.trapezoid(density * x)
    return center.item(), torch.trapezoid(density * (x - center) ** 2).sqrt().item()


def _of_a_matrix(initializer: str, **args: float) -> tuple[float | None, float | None]:
    row = Recipe([Rule(initializer, args=args)]).plan(nn.Linear(4, 4, bias=False)).rows[0]
    return row.mean, row.std


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0.0, 1.0, 3.0, 10.0),
        (1.0, 0.5, -9.0, -1.0),
        (0.0, 0.02, -2.0, 2.0),
        (0.0, 1.0, 5.0, math.inf),
        (0.0, 1.0, 9.0, math.inf),
        (0.0, 1.0, 60.0, 70.0),
        (1.0, 2.0, -math.inf, math.inf),
    ],
)
def test_moments_of_a_truncated_normal_hold_in_both_tails(mean: float, std: float, a: float, b: float) -> None:
    expected = pytest.approx(_integrated(mean, std, a, b), rel=1e-6, abs=1e-9)
    assert _of_a_matrix("trunc_normal_", mean=mean, std=std, a=a, b=b) == expected


def test_truncated_normal_without_deviation_is_its_nearest_bound() -> None:
    assert _of_a_matrix("trunc_normal_", mean=0.0, std=0.0, a=1.0, b=2.0) == (1.0, 0.0)


def test_negative_gain_deviates_like_its_absolute_value() -> None:
    assert _of_a_matrix("orthogonal_", gain=-2.0) == (0.0, 1.0)
