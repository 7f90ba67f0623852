"""Does an attached reset_parameters draw the same as apply_, in Python, in C++ and in the mobile interpreter?"""

import io
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.jit.mobile import _load_for_lite_interpreter

import torchinit
from jit_tests.scripting import run_quietly
from tests.support import transformers_models
from tests.support.layers import LAYERS, MIXED, Example, Mixed, differing, seeded
from tools import native
from tools.attached import reset_in_cpp
from torchinit import recipes
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

MODELS = LAYERS | {"mixed": MIXED}
KINDS = ("scripted", "traced")


def _deploy(kind: str, example: Example, seed: int = 1) -> torch.jit.ScriptModule:
    model = seeded(example.make, seed)
    if kind == "scripted":
        return run_quietly(torch.jit.script, model)
    return run_quietly(torch.jit.trace, model, example.inputs, check_trace=False, strict=False)


def _reload(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    return run_quietly(torch.jit.load, io.BytesIO(module.save_to_buffer()))


def _generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _expected(recipe: Recipe, example: Example) -> nn.Module:
    return recipe.apply_(seeded(example.make, 1), _generator())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, kind) for n, example in MODELS.items() for kind in KINDS if example.scripts or kind == "traced"],
)
def test_attached_method_draws_the_same_as_eager_apply(name: str, kind: str) -> None:
    example, module = MODELS[name], _deploy(kind, MODELS[name])
    expected = _expected(recipes.torch_default(), example)
    net = recipes.torch_default().attach(module)
    for again in (net, _reload(net)):
        again.reset_parameters(_generator())
        assert differing(expected, again) == []
    assert not hasattr(module, "reset_parameters")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loaded", [False, True])
def test_apply_is_the_same_on_scripted_traced_and_loaded_modules(kind: str, loaded: bool) -> None:
    for recipe in (recipes.torch_default(), VARIED):
        module = _deploy(kind, MIXED)
        module = _reload(module) if loaded else module
        recipe.apply_(module, _generator())
        assert differing(_expected(recipe, MIXED), module) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_rule_draws_the_same_when_attached(kind: str) -> None:
    net = VARIED.attach(_deploy(kind, MIXED))
    for _ in range(3):
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


def _mobile(recipe: Recipe, kind: str) -> bytes:
    net = recipe.attach(_deploy(kind, MIXED), mobile=True)
    return run_quietly(net._save_to_buffer_for_lite_interpreter)


@pytest.mark.parametrize("kind", KINDS)
def test_mobile_interpreter_draws_the_same_from_a_seed(kind: str) -> None:
    net = VARIED.attach(_deploy(kind, MIXED), mobile=True)
    net.reset_parameters(7)
    assert differing(_expected(VARIED, MIXED), net) == []
    lite = run_quietly(_load_for_lite_interpreter, io.BytesIO(_mobile(VARIED, kind)))
    lite.run_method("reset_parameters", 7)
    for got, wanted in zip(lite(*MIXED.inputs), net(*MIXED.inputs), strict=True):
        assert torch.equal(got, wanted)
    lite.run_method("reset_parameters", 8)
    assert not torch.equal(lite(*MIXED.inputs)[0], net(*MIXED.inputs)[0])


@pytest.mark.slow
@pytest.mark.skipif(native.missing() is not None, reason=f"no compiler: {native.missing()}")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recipe", [VARIED, recipes.torch_default()], ids=lambda recipe: recipe.name)
def test_cpp_draws_the_same_without_python(kind: str, recipe: Recipe, tmp_path: Path) -> None:
    expected = dict(_expected(recipe, MIXED).state_dict())
    recipe.attach(_deploy(kind, MIXED)).save(str(tmp_path / "net.pt"))
    (tmp_path / "net.ptl").write_bytes(_mobile(recipe, kind))
    for how, file, least in (("script", "net.pt", len(expected) - 1), ("mobile", "net.ptl", 19)):
        state = reset_in_cpp(tmp_path / file, how, 7)
        assert len(state) >= least
        assert [name for name, tensor in state.items() if not torch.equal(tensor, expected[name])] == []


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
        net = _reload(recipe.attach(traced, mobile))
        net.reset_parameters(7 if mobile else _generator())
        assert differing(expected, net) == []


def test_infinite_and_undefined_arguments_can_be_attached() -> None:
    tail = {"mean": 0.0, "std": 1.0, "a": 1.0, "b": math.inf}
    rules = [Rule("trunc_normal_", name="weight", args=tail), Rule("constant_", args={"val": math.nan})]
    net = _reload(Recipe(rules).attach(_deploy("scripted", LAYERS["Linear"])))
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
    net.reset_parameters(7)
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
    for module in (frozen, _reload(frozen)):
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
    net = _reload(recipes.load(recipe).attach(traced))
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
