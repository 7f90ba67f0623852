"""Does an attached reset_parameters draw the same as apply_, in Python and in the mobile interpreter?"""

import math
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

import torchinit
from jit_tests.scripting import on_mobile, reloaded, run_quietly, unoptimized
from tests.support import transformers_models
from tests.support.layers import LAYERS, MIXED, Example, Mixed, differing, seeded
from torchinit import keyed, recipes
from torchinit.recipes import Recipe, Rule

# Every initializer, every condition of a rule, contiguous and non-contiguous blocks.
VARIED = Recipe(
    [
        Rule("keep", name="*.norm.bias"),
        Rule("dirac_", module="Conv2d", name="*.weight", args={"groups": 2}),
        Rule("kaiming_uniform_", module="ConvTranspose2d", ndim=4, args={"nonlinearity": "relu"}),
        Rule("orthogonal_", name="*.weight_ih*", args={"gain": 0.5}, blocks=4),
        Rule("xavier_normal_", name="*.weight_hh*", blocks=[3, 5], dim=1),
        Rule("sparse_", name="*.in_proj_weight", args={"sparsity": 0.3}, blocks=3),
        Rule("trunc_normal_", module="Embedding", args={"std": 0.02, "a": -0.04, "b": 0.04}),
        Rule("eye_", name="*.out_proj.weight"),
        Rule("uniform_", name="*bias*", args={"a": -1e-3, "b": 1e-3}),
        Rule("constant_", module="PReLU", args={"val": 0.3}),
        Rule("ones_", ndim=1),
    ],
    "varied",
)

KINDS = ("scripted", "traced")
SEED = -7


def _deploy(kind: str, example: Example, seed: int = 1) -> torch.jit.ScriptModule:
    model = seeded(example.make, seed)
    if kind == "scripted":
        return run_quietly(torch.jit.script, model)
    return run_quietly(torch.jit.trace, model, example.inputs, check_trace=False, strict=False)


def _generator(seed: int = SEED) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _expected(recipe: Recipe, example: Example) -> nn.Module:
    return recipe.apply_(seeded(example.make, 1), _generator())


def _expected_by_key(recipe: Recipe, example: Example) -> nn.Module:
    return recipe.apply_(seeded(example.make, 1), key=keyed.key(SEED))


class Layers(nn.Module):
    """Calls each of many layers when traced."""

    def __init__(self, examples: dict[str, Example]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: example.make() for name, example in examples.items()})
        self.inputs = [example.inputs for example in examples.values()]

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():
            # Each output counts: tracing drops a call that has no use, and with it the index of padding.
            for layer, inputs in zip(self.layers.values(), self.inputs, strict=True):
                x = x + sum(output.sum() for output in tree_flatten(layer(*inputs))[0])
        return x


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_attached_methods_draw_the_same_for_every_layer_as_eager_apply(kind: str) -> None:
    examples = {name: layer for name, layer in LAYERS.items() if layer.scripts or kind == "traced"}
    example = Example(lambda: Layers(examples), (torch.zeros(1),))
    module = _deploy(kind, example)
    net = recipes.torch_default().attach(module)
    loaded = reloaded(net)
    expected = _expected(recipes.torch_default(), example)
    net.reset_parameters(_generator())
    assert differing(expected, net) == []
    with unoptimized():
        loaded.reset_parameters(_generator())
        assert differing(expected, loaded) == []
        state = torch.get_rng_state()
        loaded.reset_parameters_keyed(SEED)
    assert differing(_expected_by_key(recipes.torch_default(), example), loaded) == []
    assert torch.equal(torch.get_rng_state(), state)
    assert not hasattr(module, "reset_parameters")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loaded", [False, True])
def test_apply_is_the_same_on_scripted_traced_and_loaded_modules(kind: str, loaded: bool) -> None:
    for recipe in (recipes.torch_default(), VARIED):
        module = _deploy(kind, MIXED)
        module = reloaded(module) if loaded else module
        recipe.apply_(module, _generator())
        assert differing(_expected(recipe, MIXED), module) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_rule_draws_the_same_when_attached(kind: str) -> None:
    net = VARIED.attach(_deploy(kind, MIXED))
    # Later runs use the optimised graph, which is the same for both kinds.
    for _ in range(3 if kind == "scripted" else 1):
        net.reset_parameters(generator=_generator())
        assert differing(_expected(VARIED, MIXED), net) == []


def test_without_a_generator_the_global_one_draws() -> None:
    net = VARIED.attach(_deploy("scripted", MIXED))
    torch.manual_seed(3)
    net.reset_parameters()
    expected = seeded(Mixed, 1)
    torch.manual_seed(3)
    VARIED.apply_(expected)
    assert differing(expected, net) == []


@pytest.mark.parametrize("kind", KINDS)
def test_mobile_interpreter_draws_the_same_from_a_seed_and_a_key(kind: str) -> None:
    net = VARIED.attach(_deploy(kind, MIXED), mobile=True)
    lite, net = on_mobile(net), reloaded(net)
    for method, expected in (
        ("reset_parameters", _expected(VARIED, MIXED)),
        ("reset_parameters_keyed", _expected_by_key(VARIED, MIXED)),
    ):
        with unoptimized():
            getattr(net, method)(SEED)
            assert differing(expected, net) == []
            lite.run_method(method, SEED)
            for got, wanted in zip(lite(*MIXED.inputs), net(*MIXED.inputs), strict=True):
                assert torch.equal(got, wanted)
    lite.run_method("reset_parameters", 8)
    assert not torch.equal(lite(*MIXED.inputs)[0], net(*MIXED.inputs)[0])


class Odd(nn.Module):
    """Names that are keywords or variables of the method, and a non-contiguous weight."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("self", "generator", "seed", "given", "block", "copy_"):
            self.add_module(name, nn.Linear(2, 2))
        self.add_module("a-b", nn.Sequential(nn.Linear(2, 2)))
        self.channels = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        return self.channels(x)


def test_odd_names_and_memory_formats_work() -> None:
    recipe = Recipe([Rule("normal_", blocks=2, name="block.weight", dim=1), Rule("normal_")])
    expected = recipe.apply_(seeded(Odd, 1), _generator())
    traced = run_quietly(torch.jit.trace, seeded(Odd, 1), torch.zeros(1, 4, 3, 3), check_trace=False)
    for mobile in (False, True):
        net = reloaded(recipe.attach(traced, mobile))
        net.reset_parameters(SEED if mobile else _generator())
        assert differing(expected, net) == []


def test_infinite_and_undefined_arguments_can_be_attached() -> None:
    tail = {"mean": 0.0, "std": 1.0, "a": 1.0, "b": math.inf}
    rules = [Rule("trunc_normal_", name="weight", args=tail), Rule("constant_", args={"val": math.nan})]
    net = reloaded(Recipe(rules).attach(_deploy("scripted", LAYERS["Linear"])))
    net.reset_parameters(_generator())
    assert torch.equal(net.weight, torchinit.trunc_normal_(torch.empty(7, 5), **tail, generator=_generator()))
    assert net.bias.isnan().all()


def test_attached_method_keeps_what_apply_keeps() -> None:
    module = _deploy("traced", LAYERS["Linear"])
    before = module.bias.clone()
    module.weight._is_hf_initialized = True
    for recipe in (recipes.torch_default().keeping("bias"), Recipe([Rule("keep")])):
        net = recipe.attach(module)
        net.reset_parameters(_generator())
        assert torch.equal(net.weight, module.weight)
        assert torch.equal(net.bias, before)


def test_clones_are_copied_on_mobile_too() -> None:
    net = recipes.torch_default().attach(_deploy("traced", LAYERS["TransformerEncoder"]), mobile=True)
    net.reset_parameters(SEED)
    assert differing(_expected(recipes.torch_default(), LAYERS["TransformerEncoder"]), net) == []


def test_parameter_that_cannot_be_drawn_is_refused_when_attached() -> None:
    class Integers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ids = nn.Parameter(torch.zeros(3, dtype=torch.int64), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.ids

    traced = run_quietly(torch.jit.trace, Integers(), torch.zeros(3))
    with pytest.raises(NotImplementedError, match="normal_ needs a floating-point or complex tensor"):
        Recipe([Rule("normal_")]).attach(traced)


def test_module_that_torch_cannot_read_back_is_refused_in_one_line() -> None:
    model = nn.Module()
    model.add_module("class", nn.Linear(2, 2))
    model.forward = lambda x: x
    traced = run_quietly(torch.jit.trace, model, torch.zeros(2))
    with pytest.raises(RuntimeError, match=r"must survive being saved and read back, got .+") as raised:
        recipes.torch_default().attach(traced)
    assert "\n" not in str(raised.value)


def test_modules_of_one_class_do_not_share_attached_methods() -> None:
    narrow, wide = (run_quietly(torch.jit.script, nn.Linear(width, 3)) for width in (4, 400))
    first, second = recipes.torch_default().attach(narrow), recipes.torch_default().attach(wide)
    first.reset_parameters(_generator())
    second.reset_parameters(_generator())
    assert first.weight.abs().max() > 0.25
    assert second.weight.abs().max() < 0.06
    assert not hasattr(run_quietly(torch.jit.script, nn.Linear(4, 3)), "reset_parameters")


def test_module_with_the_method_or_without_parameters_is_refused() -> None:
    net = recipes.torch_default().attach(_deploy("traced", LAYERS["Linear"]))
    with pytest.raises(RuntimeError, match="must not have a reset_parameters yet, got Linear, which has one"):
        recipes.torch_default().attach(net)
    model = nn.Linear(2, 2)
    model.reset_parameters = 3
    with pytest.raises(RuntimeError, match="must not have a reset_parameters yet"):
        recipes.torch_default().attach(run_quietly(torch.jit.script, model))
    frozen = run_quietly(torch.jit.freeze, _deploy("scripted", LAYERS["Linear"]).eval())
    for module in (frozen, reloaded(frozen)):
        with pytest.raises(RuntimeError, match="must have parameters, got Linear without any; a frozen module"):
            recipes.torch_default().attach(module)
    with pytest.raises(TypeError, match="to a TorchScript module only, got Linear; script or trace it first"):
        recipes.torch_default().attach(nn.Linear(3, 4))  # type: ignore[arg-type]


def test_module_frozen_after_attaching_still_resets_itself() -> None:
    net = recipes.torch_default().attach(_deploy("scripted", LAYERS["Linear"])).eval()
    frozen = run_quietly(torch.jit.freeze, net, preserved_attrs=["reset_parameters"])
    with torch.no_grad():
        frozen.reset_parameters(_generator())
    net.reset_parameters(_generator())
    x = LAYERS["Linear"].inputs[0]
    assert torch.equal(frozen(x), net(x))


def test_error_and_warning_come_before_anything_is_attached_and_name_the_callers_line() -> None:
    module = _deploy("scripted", LAYERS["Linear"])
    with pytest.raises(
        recipes.RecipeError, match=r"no rule matches 1 parameter: bias \(torch.nn.modules.linear.Linear\); add a rule"
    ):
        Recipe([Rule("ones_", name="*.weight")]).attach(module)
    assert not hasattr(module, "reset_parameters")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        Recipe([Rule("zeros_", module="Conv2d"), Rule("ones_")]).attach(module)
    assert [(w.filename, str(w.message).split(": ", 1)[1]) for w in seen if w.category is UserWarning] == [
        (__file__, "rule 1 matched no parameter: Rule('zeros_', module='Conv2d')")
    ]


def test_method_takes_a_generator_or_on_mobile_a_seed() -> None:
    module = _deploy("traced", LAYERS["Linear"])
    script, mobile = recipes.torch_default().attach(module), recipes.torch_default().attach(module, mobile=True)
    assert str(script.reset_parameters.schema).endswith("self, Generator? generator=None) -> NoneType")
    assert str(mobile.reset_parameters.schema).endswith("self, int? seed=None) -> NoneType")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", transformers_models.MODELS)
def test_traced_model_of_transformers_resets_itself_as_the_eager_one_does(name: str) -> None:
    make, x, recipe = transformers_models.MODELS[name]
    model = seeded(lambda: transformers_models.First(make()), 1)
    traced = torch.jit.trace(model, x, strict=False, check_trace=False)
    net = reloaded(recipes.load(recipe).attach(traced))
    recipes.load(recipe).apply_(model, _generator())
    recipes.load(recipe).apply_(traced, _generator())
    net.reset_parameters(_generator())
    expected = dict(model.named_parameters(remove_duplicate=False))
    for again in (traced, net):
        got = dict(again.named_parameters(remove_duplicate=False))
        assert [key for key, p in expected.items() if key in got and not torch.equal(p, got[key])] == []
        assert set(expected) >= set(got)
        assert len(got) >= 25
        torch.testing.assert_close(again(x), model(x))


def test_mobile_method_of_a_recipe_that_draws_nothing_still_takes_a_seed() -> None:
    net = Recipe([Rule("ones_")]).attach(run_quietly(torch.jit.script, nn.Linear(2, 3)), mobile=True)
    net.reset_parameters(7)
    assert all(bool((parameter == 1).all()) for parameter in net.parameters())
