"""Is an attached reset_parameters_keyed one loop for many layers, named and refused as apply_ with a key?"""

import pytest
import torch
from torch import Tensor, nn

from jit_tests.scripting import reloaded, run_quietly
from jit_tests.test_attach import SEED, VARIED, _deploy
from tests.support.layers import MIXED, differing
from torchinit import keyed, recipes

pytestmark = pytest.mark.slow


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
        recipes.torch_default().attach(reloaded(alone))


def test_graph_of_many_layers_is_one_loop() -> None:
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(60)])
    net = recipes.torch_default().attach(run_quietly(torch.jit.trace, model, torch.zeros(1, 2)))
    graph = net._c._get_method("reset_parameters_keyed").graph
    assert len(graph.findAllNodes("prim::Loop")) == 1
    # Calls: one lookup for each of 120 parameters, one for the key, three in the loop.
    assert len(graph.findAllNodes("prim::CallFunction")) == 124
