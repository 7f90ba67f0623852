"""Do rules, plans and dry runs mean the same whatever mode, default device, transform or exporter is around them?"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from torchinit import keyed, recipes
from torchinit.recipes import Recipe, RecipeError, Rule
from torchinit.recipes._expected import _moments, moments
from torchinit.recipes._fill import Fill

KEY = keyed.key(7)


@contextmanager
def _default_meta() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


AROUND: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "nothing": nullcontext,
    "device context": lambda: torch.device("meta"),
    "default device": _default_meta,
    "inference mode": torch.inference_mode,
    "fake tensors": FakeTensorMode,
}
around = pytest.mark.parametrize("surroundings", AROUND)

RULES = {
    "eye_": {"ndim": 2},
    "prior_bias_": {"ndim": 1},
    "bilinear_": {"ndim": 4},
    "sparse_": {"ndim": 2, "args": {"sparsity": 0.5}},
    "icnr_": {"ndim": 4},
    "orthogonal_": {"ndim": 2},
    "kaiming_uniform_": {"ndim": 2},
    "trunc_normal_": {},
}


@around
@pytest.mark.parametrize("initializer", RULES)
def test_rule_can_be_made(surroundings: str, initializer: str) -> None:
    with AROUND[surroundings]():
        assert Rule(initializer, **RULES[initializer]).initializer == initializer


@around
def test_wrong_rule_is_refused(surroundings: str) -> None:
    with AROUND[surroundings](), pytest.raises(RecipeError, match="uniform_: uniform_ expects finite bounds"):
        Rule("uniform_", args={"b": math.inf})


@pytest.mark.parametrize("surroundings", ["device context", "default device"])
def test_model_on_the_cpu_is_filled_under_another_default_device(surroundings: str) -> None:
    recipe = Recipe([Rule("bilinear_", ndim=4), Rule("sparse_", ndim=2, args={"sparsity": 0.5}), Rule("normal_")])
    make: Callable[[], nn.Module] = lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 4), nn.Linear(8, 8))  # noqa: E731
    expected, model, again = make(), make(), make()
    recipe.apply_(expected, torch.Generator().manual_seed(0))
    plan = str(recipe.plan(expected))
    generator = torch.Generator().manual_seed(0)
    with AROUND[surroundings]():
        assert str(recipe.plan(model)) == plan
        recipe.apply_(model, generator)
        recipe.apply_(again, key=KEY)
    for filled, other in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(filled, other)
    for filled, other in zip(again.parameters(), recipe.apply_(expected, key=KEY).parameters(), strict=True):
        assert torch.equal(filled, other)


def test_plan_under_fake_tensors_expects_the_values_of_tables() -> None:
    rules = [
        Rule("rotary_inv_freq_", name="a"),
        Rule("sinusoidal_", name="b", args={"base": 7.0}),
        Rule("alibi_slopes_", name="c"),
        Rule("log_arange_", name="d"),
        Rule("inverse_softplus_log_uniform_", name="e", args={"low": 0.003}),
    ]
    shapes = {"a": (3,), "b": (6, 10), "c": (5,), "d": (2, 7), "e": (11,)}
    with FakeTensorMode():
        rows = Recipe(rules).plan(nn.ParameterDict({name: torch.zeros(shape) for name, shape in shapes.items()})).rows
    _moments.cache_clear()
    plain = nn.ParameterDict({name: torch.zeros(shape) for name, shape in shapes.items()})
    assert rows == Recipe(rules).plan(plain).rows


@pytest.mark.parametrize("key", [None, KEY], ids=["drawn", "keyed"])
def test_parametrized_weights_of_fake_tensors_are_dry_run(key: Tensor | None) -> None:
    with FakeTensorMode():
        model = nn.Sequential(*(norm(nn.Linear(4, 4)) for norm in (weight_norm, spectral_norm)))
        recipes.xavier().apply_(model, key=None if key is None else keyed.key(3))


def test_wrong_write_is_refused_under_fake_tensors_before_anything_is_drawn() -> None:
    with FakeTensorMode():
        model = nn.Linear(4, 4, dtype=torch.complex64)
    with pytest.raises(NotImplementedError, match=r"needs a floating-point tensor, got torch\.complex64"):
        Recipe([Rule("trunc_normal_")]).apply_(model)


@pytest.mark.parametrize("randomness", ["error", "different", "same"])
def test_rule_is_made_and_checked_inside_vmap(randomness: str) -> None:
    seen, model = [], nn.Sequential(nn.Conv2d(2, 4, 3), nn.Linear(2, 2))

    def run(x: Tensor) -> Tensor:
        seen.append(Rule("orthogonal_"))
        Recipe([Rule("icnr_", ndim=4), Rule("normal_")]).plan(model)
        with pytest.raises(RecipeError, match="expects std >= 0"):
            Rule("normal_", args={"std": -1.0})
        return x

    torch.func.vmap(run, randomness=randomness)(torch.zeros(3))
    torch.func.functionalize(run)(torch.zeros(3))
    assert len(seen) == 2


class Resetting(nn.Module):
    """Fills its own layers by a keyed recipe, then calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.register_buffer("key", keyed.key(3))

    def forward(self, x: Tensor) -> Tensor:
        recipe = Recipe([Rule("trunc_normal_", name="0.weight"), *recipes.xavier().rules])
        recipe.apply_(self.net, key=self.key)
        return self.net(x)


def test_exported_keyed_recipe_holds_no_random_operator_and_draws_the_same() -> None:
    program, x = torch.export.export(Resetting(), (torch.randn(2, 4),), strict=False), torch.randn(2, 4)
    random = [node.target for node in program.graph.nodes if torch.Tag.nondeterministic_seeded in _tags(node.target)]
    assert random == []
    assert not any("generator" in node.kwargs for node in program.graph.nodes)
    assert torch.equal(program.module()(x), Resetting()(x))


def _tags(target: Any) -> list[Any]:
    return list(getattr(target, "tags", ()))


@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
def test_trace_does_not_see_rules_and_moments() -> None:
    def run(x: Tensor) -> Tensor:
        Rule("normal_")
        assert moments(Fill("bilinear_", (1,)), [1, 1, 4, 4])[0] == 0.25
        return x + 1

    assert "normal" not in str(torch.jit.trace(run, torch.zeros(2)).graph)


# Errors.


class Awkward(nn.Module):
    """A floating-point parameter, and one of another kind."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Module()
        self.second.weight = nn.Parameter(tensor, requires_grad=False)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # quantized tensors are deprecated
    QUANTIZED = torch.quantize_per_tensor(torch.zeros(4, 4), 0.1, 0, torch.qint8)
WRONG = {
    "int8": (
        torch.zeros(4, 4, dtype=torch.int8),
        "normal_",
        "needs a floating-point or complex tensor, got torch.int8",
    ),
    "quantized": (QUANTIZED, "normal_", "needs a floating-point or complex tensor, got torch.qint8"),
    "uint16": (torch.zeros(4, 4, dtype=torch.uint16), "orthogonal_", "complex tensor, got torch.uint16"),
    "expanded": (torch.zeros(1).expand(4, 4), "normal_", "refers to a single memory location"),
    "complex": (torch.zeros(4, 4, dtype=torch.complex64), "trunc_normal_", "tensor, got torch.complex64"),
}


@pytest.mark.parametrize("by_key", [False, True], ids=["seed", "key"])
@pytest.mark.parametrize("wrong", WRONG)
def test_error_names_the_parameter_and_nothing_is_written(wrong: str, by_key: bool) -> None:
    tensor, initializer, message = WRONG[wrong]
    model, state = Awkward(tensor), torch.get_rng_state()
    before = model.first.weight.clone()
    with pytest.raises(RuntimeError, match=message) as caught:
        Recipe([Rule(initializer)]).apply_(model, key=KEY if by_key else None)
    assert str(caught.value).splitlines()[0].endswith(" (parameter second.weight)")
    assert torch.equal(model.first.weight, before)
    assert torch.equal(torch.get_rng_state(), state)


DRAWING = ("normal_", "uniform_", "trunc_normal_", "xavier_uniform_", "orthogonal_", "sparse_", "lecun_normal_")


@pytest.mark.parametrize("initializer", DRAWING)
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_float8_parameter_is_drawn_by_key_as_the_float32_one_rounded(dtype: torch.dtype, initializer: str) -> None:
    recipe = Recipe([Rule(initializer, args={"sparsity": 0.5} if initializer == "sparse_" else {})])
    wide = recipe.apply_(nn.Linear(8, 8, bias=False), key=KEY)
    narrow = recipe.apply_(nn.Linear(8, 8, bias=False).to(dtype), key=KEY)
    assert torch.equal(narrow.weight.float(), wide.weight.to(dtype).float())


def test_float8_parameter_is_refused_by_name_where_a_generator_cannot_draw_it() -> None:
    with pytest.raises(NotImplementedError, match=r"Float8_e4m3fn.*\(parameter weight\)$"):
        Recipe([Rule("normal_")]).apply_(nn.Linear(4, 4, bias=False).to(torch.float8_e4m3fn))


# Complex parameters.


@pytest.mark.parametrize("by_key", [False, True], ids=["seed", "key"])
@pytest.mark.parametrize("initializer", ["variance_scaling_", "lecun_uniform_", "xavier_uniform_", "xavier_normal_"])
def test_plan_says_the_deviation_of_a_complex_parameter(initializer: str, by_key: bool) -> None:
    args = {"distribution": "uniform"} if initializer == "variance_scaling_" else {}
    recipe, model = Recipe([Rule(initializer, args=args)]), nn.Linear(300, 300, bias=False, dtype=torch.complex64)
    recipe.apply_(model, key=KEY if by_key else None)
    assert recipe.plan(model).rows[0].std == pytest.approx(model.weight.std().item(), rel=0.01)
    if not initializer.startswith("xavier"):
        assert recipe.plan(model).rows[0].std == pytest.approx(1 / math.sqrt(300), rel=1e-6)
