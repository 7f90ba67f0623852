"""Does an attached reset_parameters_keyed draw the same as apply_ with a key, in Python, in C++ and on mobile?"""

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.jit.mobile import _load_for_lite_interpreter

from jit_tests.scripting import run_quietly
from jit_tests.test_attach import KINDS, MODELS, VARIED, _deploy, _mobile, _reload
from tests.support.layers import MIXED, differing, seeded
from tools import native
from tools.attached import reset_in_cpp
from torchinit import keyed, recipes
from torchinit.recipes import Recipe

pytestmark = pytest.mark.slow

SEED = -7


def _expected(recipe: Recipe, make: object = MIXED.make) -> nn.Module:
    return recipe.apply_(seeded(make, 1), key=keyed.key(SEED))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, kind) for n, example in MODELS.items() for kind in KINDS if example.scripts or kind == "traced"],
)
def test_attached_method_draws_the_same_as_eager_apply(name: str, kind: str) -> None:
    expected = _expected(recipes.torch_default(), MODELS[name].make)
    net = _reload(recipes.torch_default().attach(_deploy(kind, MODELS[name])))
    state = torch.get_rng_state()
    # Optimising takes most of the time of a first run; the next test has the optimised graph.
    with torch.jit.optimized_execution(False):
        net.reset_parameters_keyed(SEED)
    assert differing(expected, net) == []
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_rule_draws_the_same_when_attached_and_on_mobile(kind: str) -> None:
    net, expected = VARIED.attach(_deploy(kind, MIXED)), _expected(VARIED)
    # Later runs use the optimised graph, which is the same for both kinds.
    for _ in range(3 if kind == "scripted" else 1):
        net.reset_parameters_keyed(SEED)
        assert differing(expected, net) == []
    lite = run_quietly(_load_for_lite_interpreter, io.BytesIO(_mobile(VARIED, kind)))
    lite.run_method("reset_parameters_keyed", SEED)
    for got, wanted in zip(lite(*MIXED.inputs), net(*MIXED.inputs), strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.skipif(native.missing() is not None, reason=f"no compiler: {native.missing()}")
def test_cpp_draws_the_same_without_python(tmp_path: Path) -> None:
    VARIED.attach(_deploy("traced", MIXED)).save(tmp_path / "net.pt")
    (tmp_path / "net.ptl").write_bytes(_mobile(VARIED, "traced"))
    expected = dict(_expected(VARIED).named_parameters())
    for how, file in (("script", "net.pt"), ("mobile", "net.ptl")):
        state = reset_in_cpp(tmp_path / file, how, SEED, "reset_parameters_keyed")
        shared = set(state) & set(expected)
        assert len(shared) > 10
        assert [name for name in shared if not torch.equal(state[name], expected[name])] == []


class Wrapped(nn.Module):
    """Holds a layer under the attribute that torch's checkpoint wrapper uses."""

    def __init__(self) -> None:
        super().__init__()
        self._checkpoint_wrapped_module = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self._checkpoint_wrapped_module(x)


def test_name_changed_by_a_wrapper_draws_the_same_when_attached() -> None:
    net = recipes.torch_default().attach(run_quietly(torch.jit.script, Wrapped()))
    net.reset_parameters_keyed(SEED)
    expected = recipes.torch_default().apply_(Wrapped(), key=keyed.key(SEED))
    assert differing(expected, net) == []


def test_module_that_has_the_method_is_refused() -> None:
    net = VARIED.attach(_deploy("scripted", MIXED))
    with pytest.raises(RuntimeError, match="must not have a reset_parameters yet"):
        VARIED.attach(net)
    alone = run_quietly(torch.jit.script, nn.Linear(2, 3))
    alone.define("def reset_parameters_keyed(self, seed: int) -> None:\n    return None\n")
    with pytest.raises(RuntimeError, match="must not have a reset_parameters_keyed yet"):
        recipes.torch_default().attach(_reload(alone))


def test_graph_of_many_layers_is_one_loop() -> None:
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(300)])
    net = recipes.torch_default().attach(run_quietly(torch.jit.trace, model, torch.zeros(1, 2)))
    graph = net._c._get_method("reset_parameters_keyed").graph
    assert len(graph.findAllNodes("prim::Loop")) == 1
    # Calls: one lookup for each of 600 parameters, one for the key, three in the loop.
    assert len(graph.findAllNodes("prim::CallFunction")) == 604
