"""Does the recipe of a recording say what the recorded code does, in few rules?"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from torchinit import recipes
from torchinit.recipes import Recipe, Rule
from torchinit.recording._rules import Parameter, find_rules


class Block(nn.Module):
    """A block of a language model."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.c_fc = nn.Linear(8, 32)
        self.c_proj = nn.Linear(32, 8)


class Model(nn.Module):
    """A little of everything that the shipped recipes speak of."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8, padding_idx=1)
        self.patch = nn.Conv2d(3, 8, 3)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.attention = nn.MultiheadAttention(8, 2)
        self.rnn = nn.LSTM(8, 4)


def _same_law(plan: recipes.Plan, expected: recipes.Plan) -> bool:
    return [(row.name, row.mean, row.std) for row in plan.rows] == [
        (row.name, pytest.approx(row.mean), pytest.approx(row.std)) for row in expected.rows
    ]


@pytest.mark.parametrize("name", ["torch_default", "gpt2", "vit", "resnet", "xavier", "orthogonal_rl"])
def test_what_a_shipped_recipe_does_is_found_again(name: str) -> None:
    shipped: Recipe = getattr(recipes, name)()
    model = Model()
    found = torchinit.record(lambda: shipped.apply_(Model())).recipe()
    assert _same_law(found.plan(model), shipped.plan(model))
    assert len(found.rules) <= 6


def test_llama_is_found_again() -> None:
    def build() -> nn.Module:
        layers = [nn.ModuleDict({"up": nn.Linear(8, 16, bias=False), "norm": nn.RMSNorm(8)}) for _ in range(3)]
        return recipes.llama().apply_(nn.Sequential(nn.Embedding(9, 8), *layers))

    assert torchinit.record(build).recipe().rules == (
        Rule("normal_", module=["Embedding", "Linear"], args={"std": 0.02}),
        Rule("default", module="RMSNorm"),
    )


def _with(fill: Callable[[nn.Module], Any], layer: Callable[[], nn.Module] = lambda: nn.Linear(8, 6)) -> Recipe:
    """Record a layer that is filled after it is built."""

    def build() -> nn.Module:
        model = layer()
        with torch.no_grad():
            fill(model)
        return model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torchinit.record(build).recipe()


def _rule(recipe: Recipe, name: str, kind: str, ndim: int) -> tuple[str, dict[str, Any]]:
    """Return initializer, arguments and options of the rule of a parameter."""
    given = next(rule for rule in recipe.rules if rule.matches((kind,), (name,), ndim)).given()
    options = {key: value for key, value in given.items() if key not in ("initializer", "module", "name", "ndim")}
    return given["initializer"], options


W: dict[str, tuple[Callable[[Any], Any], str, dict[str, Any]]] = {
    "function": (lambda m: nn.init.xavier_normal_(m.weight, gain=2.0), "xavier_normal_", {"args": {"gain": 2.0}}),
    "orthogonal": (lambda m: nn.init.orthogonal_(m.weight), "orthogonal_", {}),
    "truncated": (lambda m: nn.init.trunc_normal_(m.weight, std=0.02), "trunc_normal_", {"args": {"std": 0.02}}),
    "operator": (lambda m: m.weight.normal_(0.0, 0.5), "normal_", {"args": {"std": 0.5}}),
    "copied": (lambda m: m.weight.copy_(torch.randn(6, 8)), "normal_", {}),
    "scaled": (lambda m: m.weight.normal_().mul_(0.25), "normal_", {"args": {"std": 0.25}}),
    "divided": (lambda m: nn.init.uniform_(m.weight).div_(4.0), "uniform_", {"args": {"b": 0.25}}),
    "filled": (lambda m: m.weight.fill_(0.1), "constant_", {"args": {"val": 0.1}}),
    "halves by their own fans": (
        lambda m: [nn.init.xavier_uniform_(half) for half in m.weight.chunk(2)] and m.weight.mul_(2.0),
        "uniform_",
        {"args": {"a": -2 * math.sqrt(6 / 11), "b": 2 * math.sqrt(6 / 11)}},
    ),
    "computed": (lambda m: m.weight.copy_(torch.ones(6, 8) * 3.0), "constant_", {"args": {"val": 3.0}}),
    "halves": (lambda m: [half.normal_(0.0, 0.1) for half in m.weight.chunk(2)], "normal_", {"args": {"std": 0.1}}),
    "packed": (lambda m: [nn.init.orthogonal_(one) for one in m.weight.chunk(3)], "orthogonal_", {"blocks": 3}),
    "ones, scaled": (lambda m: nn.init.ones_(m.weight).mul_(3.0), "constant_", {"args": {"val": 3.0}}),
    "library's, scaled": (
        lambda m: (timm_like(1.0)(m.weight), m.weight.mul_(2.0)),
        "trunc_normal_",
        {"args": {"std": 0.04, "a": -0.08, "b": 0.08}},
    ),
    "columns": (
        lambda m: [nn.init.xavier_uniform_(m.weight[:, part]) for part in (slice(0, 6), slice(6, 8))],
        "xavier_uniform_",
        {"blocks": [6, 2], "dim": 1},
    ),
}


@pytest.mark.parametrize("case", W)
def test_rule_of_a_weight(case: str) -> None:
    fill, initializer, options = W[case]
    found, said = _rule(_with(fill), "weight", "Linear", 2)
    assert (found, said.keys()) == (initializer, options.keys())
    assert said == options | {"args": pytest.approx(options["args"])} if "args" in options else said == options


UNSAYABLE: dict[str, Callable[[Any], Any]] = {
    "table": lambda m: m.weight.copy_(torch.arange(48.0).view(6, 8)),
    "sum": lambda m: m.weight.normal_().add_(1.0),
    "row": lambda m: m.weight.normal_()[2].zero_(),
    "corner": lambda m: m.weight.normal_()[:2, :3].zero_(),
    "every second row": lambda m: m.weight.normal_()[::2].zero_(),
    "orthogonal, scaled": lambda m: nn.init.orthogonal_(m.weight).mul_(2.0),
    "negative": lambda m: m.weight.normal_().mul_(-2.0),
    "exponential": lambda m: m.weight.normal_().exp_(),
    "divided by zero": lambda m: m.weight.normal_().div_(0.0),
    "no key draws it": lambda m: m.weight.copy_(torch.poisson(torch.ones(6, 8))),
    "two laws": lambda m: (m.weight[:3].normal_(), m.weight[3:].uniform_()),
}


@pytest.mark.parametrize("case", UNSAYABLE)
def test_what_no_rule_can_say_is_kept_and_named(case: str) -> None:
    assert _rule(_with(UNSAYABLE[case]), "weight", "Linear", 2) == ("keep", {})

    def build() -> nn.Module:
        model = nn.ModuleList([nn.Linear(8, 6), nn.Linear(8, 6)])
        with torch.no_grad():
            for layer in model:
                UNSAYABLE[case](layer)
        return model

    with pytest.warns(UserWarning, match=r"got others: \{0,1\}\.weight$"):
        torchinit.record(build).recipe()


def test_padding_row_belongs_to_the_embedding() -> None:
    recipe = _with(
        lambda m: (m.weight.normal_(0.0, 0.02), m.weight[1].zero_()), lambda: nn.Embedding(5, 4, padding_idx=1)
    )
    assert recipe.rules == (Rule("normal_", module="Embedding", args={"std": 0.02}),)


def test_fans_of_the_shape_are_asked_for_where_the_layer_counts_others() -> None:
    grouped = _with(lambda m: nn.init.kaiming_normal_(m.weight, mode="fan_out"), lambda: nn.Conv2d(8, 8, 3, groups=4))
    assert _rule(grouped, "weight", "Conv2d", 4) == (
        "kaiming_normal_",
        {"args": {"mode": "fan_out"}, "fans": "upstream"},
    )
    plain = _with(lambda m: nn.init.kaiming_normal_(m.weight, mode="fan_out"), lambda: nn.Conv2d(8, 8, 3))
    assert _rule(plain, "weight", "Conv2d", 4) == ("kaiming_normal_", {"args": {"mode": "fan_out"}})


def test_numbers_that_follow_from_the_fans_are_one_rule() -> None:
    def build() -> nn.Module:
        model = nn.Sequential(*(nn.Conv2d(4 * n, 4 * n + 4, 3, groups=4) for n in (1, 2, 3, 4)))
        with torch.no_grad():
            for layer in model:
                fan_out = layer.weight.size(0) * 9 // 4
                layer.weight.normal_(0.0, math.sqrt(2.0 / fan_out))
                layer.bias.zero_()
        return model

    args = {"scale": 2.0, "mode": "fan_out", "distribution": "normal"}
    recipe = torchinit.record(build).recipe()
    assert recipe.rules == (Rule("variance_scaling_", name="*.weight", args=args), Rule("zeros_", name="*.bias"))
    rows = [row for row in recipe.plan(build()).rows if row.name.endswith("weight")]
    assert [row.std for row in rows] == pytest.approx([math.sqrt(2.0 / (row.shape[0] * 9 // 4)) for row in rows])


@pytest.mark.parametrize("fill", [lambda w, std: w.normal_(1.0, std), lambda w, std: w.uniform_(0.0, 3**0.5 * std)])
def test_numbers_around_another_mean_stay_numbers(fill: Callable[[torch.Tensor, float], Any]) -> None:
    def build() -> nn.Module:
        model = nn.Sequential(*(nn.Linear(4 * n, 8) for n in (1, 2, 3, 4)))
        with torch.no_grad():
            for layer in model:
                fill(layer.weight, math.sqrt(2.0 / layer.in_features))
        return model

    rules = torchinit.record(build).recipe().rules
    assert [rule.initializer for rule in rules].count("variance_scaling_") == 0
    assert len(rules) == 5


@pytest.mark.filterwarnings("error")
def test_running_statistics_belong_to_their_layer() -> None:
    assert torchinit.record(lambda: nn.BatchNorm1d(4)).recipe().rules == (Rule("default"),)


def test_tied_parameter_follows_its_first_name() -> None:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 8, bias=False))
        model[1].weight = model[0].weight
        return model

    assert torchinit.record(build).recipe().rules == (Rule("default"),)


def timm_like(scale: float) -> Callable[[torch.Tensor], None]:
    def trunc_normal_tf_(
        tensor: torch.Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
    ) -> None:
        with torch.no_grad():
            low, high = (math.erf(x / math.sqrt(2.0)) for x in (a, b))
            tensor.uniform_(low, high).erfinv_().mul_(math.sqrt(2.0)).clamp_(a, b)
            tensor.mul_(std * scale).add_(mean)

    return lambda tensor: trunc_normal_tf_(tensor, std=0.02)


def test_librarys_initializer_is_believed_if_it_does_what_its_name_says() -> None:
    honest = _with(lambda m: timm_like(1.0)(m.weight))
    assert _rule(honest, "weight", "Linear", 2) == ("trunc_normal_tf_", {"args": {"std": 0.02}})
    other = _with(lambda m: timm_like(1.1)(m.weight))
    assert _rule(other, "weight", "Linear", 2) == ("keep", {})


def rotary_inv_freq_(tensor: torch.Tensor, scaling: str = "longrope") -> torch.Tensor:
    return tensor.uniform_().exp_()


def test_librarys_initializer_whose_arguments_torchinit_refuses_is_kept() -> None:
    assert _rule(_with(lambda m: rotary_inv_freq_(m.bias)), "bias", "Linear", 1) == ("keep", {})


def test_librarys_initializer_of_a_large_tensor_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchinit.recording._recipe, "_COMPARED", 47)
    assert _rule(_with(lambda m: timm_like(1.0)(m.weight)), "weight", "Linear", 2) == ("keep", {})


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_default_that_is_zeros_or_ones_is_found(value: float) -> None:
    assert torchinit.record(lambda: nn.PReLU(init=value)).recipe().rules == (Rule("default"),)


def _parameters(*rows: tuple[str, str, int, str]) -> list[Parameter]:
    return [Parameter(name, module, module, ndim, (("initializer", law),)) for name, module, ndim, law in rows]


def test_layers_that_differ_in_their_number_alone_are_told_apart() -> None:
    rows = [(f"{i}.weight", "Linear", 2, "zeros_" if i == 4 else "ones_") for i in range(9)]
    rules = find_rules(_parameters(*rows))
    assert [next(rule.initializer for rule in rules if rule.matches(("Linear",), (name,), 2)) for name, *_ in rows] == [
        law for *_, law in rows
    ]
    assert rules[0] == Rule("zeros_", name="*.4.weight")


def test_special_rules_stand_before_general_ones() -> None:
    rows = [
        (f"h.{i}.{name}.weight", "Linear", 2, law) for i in range(9) for name, law in (("a", "zeros_"), ("b", "ones_"))
    ]
    rules = find_rules(_parameters(*rows, *((f"h.{i}.c.weight", "Linear", 2, "ones_") for i in range(9))))
    assert rules == [Rule("zeros_", name="*.a.weight"), Rule("ones_", module="Linear")]


def test_name_that_looks_like_a_glob_is_matched_as_it_is() -> None:
    rules = find_rules(
        _parameters(("0.a[1]", "X", 1, "zeros_"), ("1.a[1]", "X", 1, "ones_"), ("2.a1", "X", 1, "normal_"))
    )
    assert [rule.initializer for rule in rules] == ["zeros_", "ones_", "normal_"]
    assert rules[0].matches(("X",), ("0.a[1]",), 1)
    assert not rules[0].matches(("X",), ("0.a1",), 1)


class Experts(nn.Module):
    """Experts that a loop initializes, along dimension ``dim``, the first ``count`` of three."""

    def __init__(
        self, dim: int = 0, count: int = 3, make: Callable[[int, int, int], torch.Tensor] = torch.zeros
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(make(3, 3, 5))
        for number in range(count):
            nn.init.kaiming_uniform_(self.weight.select(dim, number))


def test_experts_that_a_loop_draws_have_their_own_fans() -> None:
    found = torchinit.record(Experts).recipe()
    assert found.rules == (Rule("kaiming_uniform_", module="Experts", batch_dims=1),)
    row = found.plan(Experts()).rows[0]
    assert (row.fan_in, row.std) == (5, pytest.approx((2 / 5) ** 0.5))


@pytest.mark.parametrize("how", [{"dim": 1}, {"count": 2}, {"count": 2, "make": torch.empty}])
def test_experts_along_another_dimension_or_some_of_them_are_kept(how: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="weight"):
        found = torchinit.record(lambda: Experts(**how)).recipe()
    assert found.rules[0].initializer == "keep"


@pytest.mark.parametrize("initializer", ["kaiming_normal_", "orthogonal_"])
def test_whole_stack_of_an_unknown_class_has_the_fans_of_its_shape(initializer: str) -> None:
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 3, 5))
            getattr(nn.init, initializer)(self.weight)

    found = torchinit.record(Stack).recipe()
    assert found.rules == (Rule(initializer, module="Stack", fans="upstream"),)
    assert found.plan(Stack()).rows[0].fan_in == 15
