"""Do attached methods draw stacked and packed parameters the same as apply_, in a program that stays small?"""

import pytest
import torch
from torch import Tensor, nn

from jit_tests.scripting import on_mobile, reloaded, run_quietly, unoptimized
from tests.support.stacks import STACKS, Stacks
from torchinit import keyed
from torchinit.recipes import Recipe, Rule


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def _different(net: nn.Module, expected: nn.Module) -> list[str]:
    right = dict(expected.named_parameters())
    return [name for name, parameter in net.named_parameters() if not torch.equal(parameter, right[name])]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scripted", "traced"])
def test_attached_methods_draw_the_same_as_eager_apply_in_script_and_on_mobile(kind: str) -> None:
    seeded, by_key = STACKS.apply_(Stacks(), _generator()), STACKS.apply_(Stacks(), key=keyed.key(7))
    script, x = run_quietly(torch.jit.script, Stacks()), torch.zeros(1, dtype=torch.float64)
    module = script if kind == "scripted" else run_quietly(torch.jit.trace, Stacks(), x, check_trace=False)
    net = STACKS.attach(module, mobile=True)
    lite, net = on_mobile(net), reloaded(net)
    for method, expected in (("reset_parameters", seeded), ("reset_parameters_keyed", by_key)):
        with unoptimized():
            getattr(net, method)(7)
        assert _different(net, expected) == []
        lite.run_method(method, 7)
        assert torch.equal(lite(x), expected(x))
        assert bool(expected(x).isfinite())


class Optimized(nn.Module):
    """A parameter for each kind of code in a method: whole, in blocks, blocks drawn as one matrix, and in stacks."""

    def __init__(self) -> None:
        super().__init__()
        for name, shape in {"whole": (4, 3), "blocks": (6, 3), "joined": (16, 6), "stack": (3, 4, 6)}.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.slow
def test_later_optimised_runs_draw_the_same_as_eager_apply() -> None:
    recipe = Recipe(
        [
            Rule("uniform_", name="whole"),
            Rule("uniform_", name="blocks", blocks=[1, 2], repeat=True),
            Rule("orthogonal_", name="joined", blocks=[4, 2, 2], repeat=True),
            Rule("orthogonal_", name="stack", batch_dims=1, transposed=True),
        ]
    )
    seeded, by_key = recipe.apply_(Optimized(), _generator()), recipe.apply_(Optimized(), key=keyed.key(7))
    net = recipe.attach(run_quietly(torch.jit.script, Optimized()))
    for _ in range(3):
        net.reset_parameters(_generator())
        assert _different(net, seeded) == []
        net.reset_parameters_keyed(7)
        assert _different(net, by_key) == []


class Block(nn.Module):
    """A layer of many experts, with a gate and a projection that alternate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_up, self.down = nn.Parameter(torch.empty(64, 4, 3)), nn.Parameter(torch.empty(64, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate_up.sum() + self.down.sum()


def test_program_of_many_experts_stays_small() -> None:
    recipe = Recipe(
        [
            Rule("orthogonal_", name="*.gate_up", batch_dims=1, blocks=[1, 1], repeat=True, dim=1),
            Rule("orthogonal_", name="*.down", batch_dims=1, transposed=True),
        ]
    )
    model = nn.Sequential(*[Block() for _ in range(48)])
    net = reloaded(recipe.attach(run_quietly(torch.jit.trace, model, torch.zeros(1), check_trace=False)))
    assert len(net.reset_parameters.code.splitlines()) < 48 * 40
    assert len(net.reset_parameters_keyed.code.splitlines()) < 1500
    graph = net._c._get_method("reset_parameters_keyed").graph
    # For the gates, the projections and the second matrices: a loop over the layers, and one over the experts in it.
    assert len(graph.findAllNodes("prim::Loop")) == 6
    with unoptimized():
        net.reset_parameters(_generator())
        assert _different(net, recipe.apply_(model, _generator())) == []
