"""Does an attached recipe draw the same as each function that torch.nn.init lacks?"""

import pytest
import torch

from jit_tests.scripting import on_mobile, reloaded, run_quietly, unoptimized
from tests.recipes.test_recipe_draws import NAMES, RECIPE, Weights, different, drawn, drawn_by_key, drawn_directly

pytestmark = pytest.mark.slow


def test_attached_methods_draw_the_same_in_torchscript_and_in_the_mobile_interpreter() -> None:
    script = run_quietly(torch.jit.script, Weights())
    script.define(f"def values(self): return torch.cat([{', '.join(f'self.{name}.flatten()' for name in NAMES)}])\n")
    net, mobile = (RECIPE.attach(script, mobile) for mobile in (False, True))
    lite, net = on_mobile(mobile), reloaded(net)
    for method, source, seed, expected in (
        ("reset_parameters", torch.Generator().manual_seed(3), 3, drawn_directly()),
        ("reset_parameters_keyed", 5, 5, drawn_by_key()),
    ):
        with unoptimized():
            getattr(net, method)(source)
        assert different(drawn(net), expected) == []
        lite.run_method(method, seed)
        assert torch.equal(lite.run_method("values"), torch.cat([values.flatten() for values in expected.values()]))
