"""Does an attached recipe draw the same as each function that torch.nn.init lacks?"""

import io

import pytest
import torch
from torch.jit.mobile import _load_for_lite_interpreter

from jit_tests.scripting import run_quietly
from tests.recipes.test_recipe_draws import NAMES, RECIPE, Weights, different, drawn, drawn_by_key, drawn_directly

pytestmark = pytest.mark.slow


def test_attached_methods_draw_the_same_in_torchscript_and_in_the_mobile_interpreter() -> None:
    net = RECIPE.attach(run_quietly(torch.jit.script, Weights()))
    for _ in range(2):
        net.reset_parameters(torch.Generator().manual_seed(3))
        assert different(drawn(net), drawn_directly()) == []
        net.reset_parameters_keyed(5)
        assert different(drawn(net), drawn_by_key()) == []
    script = run_quietly(torch.jit.script, Weights())
    script.define(f"def values(self): return torch.cat([{', '.join(f'self.{name}.flatten()' for name in NAMES)}])\n")
    file = io.BytesIO(run_quietly(RECIPE.attach(script, mobile=True)._save_to_buffer_for_lite_interpreter))
    lite = run_quietly(_load_for_lite_interpreter, file)
    for method, seed, expected in (
        ("reset_parameters", 3, drawn_directly()),
        ("reset_parameters_keyed", 5, drawn_by_key()),
    ):
        lite.run_method(method, seed)
        assert torch.equal(lite.run_method("values"), torch.cat([values.flatten() for values in expected.values()]))
