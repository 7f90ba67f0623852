"""Do attached methods draw stacked and packed parameters the same as apply_, in a program that stays small?"""

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.jit.mobile import _load_for_lite_interpreter

from jit_tests.scripting import run_quietly
from tests.support.stacks import STACKS, Stacks
from tools import native
from tools.attached import reset_in_cpp
from torchinit import keyed
from torchinit.recipes import Recipe, Rule


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def _different(net: nn.Module, expected: nn.Module) -> list[str]:
    right = dict(expected.named_parameters())
    return [name for name, parameter in net.named_parameters() if not torch.equal(parameter, right[name])]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mobile"), [("scripted", False), ("traced", True)])
def test_attached_methods_draw_the_same_as_eager_apply(kind: str, mobile: bool) -> None:
    seeded, by_key = STACKS.apply_(Stacks(), _generator()), STACKS.apply_(Stacks(), key=keyed.key(7))
    script, x = run_quietly(torch.jit.script, Stacks()), torch.zeros(1)
    module = script if kind == "scripted" else run_quietly(torch.jit.trace, Stacks(), x, check_trace=False)
    net = STACKS.attach(module, mobile)
    net = run_quietly(torch.jit.load, io.BytesIO(net.save_to_buffer()))
    # Later runs use the optimized graph, which is the same for both kinds.
    for _ in range(3 if kind == "scripted" else 1):
        with torch.jit.optimized_execution(kind == "scripted"):
            net.reset_parameters(7 if mobile else _generator())
            assert _different(net, seeded) == []
            net.reset_parameters_keyed(7)
            assert _different(net, by_key) == []


def test_mobile_interpreter_draws_the_same() -> None:
    net = STACKS.attach(run_quietly(torch.jit.script, Stacks()), mobile=True)
    data = run_quietly(net._save_to_buffer_for_lite_interpreter)
    lite, x = run_quietly(_load_for_lite_interpreter, io.BytesIO(data)), torch.zeros(1, dtype=torch.float64)
    for method in ("reset_parameters", "reset_parameters_keyed"):
        net.run_method = getattr(net, method)
        net.run_method(7)
        lite.run_method(method, 7)
        assert torch.equal(lite(x), net(x))
        assert bool(net(x).isfinite())


@pytest.mark.slow
@pytest.mark.skipif(native.missing() is not None, reason=f"no compiler: {native.missing()}")
def test_cpp_draws_the_same_without_python(tmp_path: Path) -> None:
    STACKS.attach(run_quietly(torch.jit.script, Stacks())).save(tmp_path / "net.pt")
    expected = STACKS.apply_(Stacks(), key=keyed.key(7)).state_dict()
    state = reset_in_cpp(tmp_path / "net.pt", "script", 7, "reset_parameters_keyed")
    assert set(state) == set(expected)
    assert [name for name, values in state.items() if not torch.equal(values, expected[name])] == []


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
    net = recipe.attach(run_quietly(torch.jit.trace, model, torch.zeros(1), check_trace=False))
    assert len(net.reset_parameters.code.splitlines()) < 48 * 40
    assert len(net.reset_parameters_keyed.code.splitlines()) < 1500
    graph = net._c._get_method("reset_parameters_keyed").graph
    # For the gates, the projections and the second matrices: a loop over the layers, and one over the experts in it.
    assert len(graph.findAllNodes("prim::Loop")) == 6
    with torch.jit.optimized_execution(False):
        net.reset_parameters(_generator())
        assert _different(net, recipe.apply_(model, _generator())) == []
