"""Do formulas give the distributions of what is drawn?"""

import pytest
import torch
from torch import nn

import torchinit
from torchinit.diagnostics import statistics
from torchinit.diagnostics._distribution import distribution
from torchinit.diagnostics._fills import moments_of_all, of_plan
from torchinit.diagnostics._moments import measure
from torchinit.recipes import Recipe, Rule


@pytest.mark.parametrize("cut", [1.0, 1.5, 3.0])
def test_a_normal_distribution_is_recognized_wherever_it_is_cut(cut: float) -> None:
    values = torch.empty(1 << 16, dtype=torch.float64)
    torchinit.trunc_normal_(values, 0.5, 2.0, 0.5 - 2.0 * cut, 0.5 + 2.0 * cut, torch.Generator().manual_seed(0))
    moments = measure(values)
    assert moments is not None
    found = distribution(values, moments)
    assert found.name == "truncated normal"
    ends = torch.tensor([found.low, found.mean, found.high], dtype=torch.float64)
    assert found.cdf(ends).tolist() == pytest.approx([0.0, 0.5, 1.0], abs=0.01)
    # The share between one standard deviation on both sides, of all that is not cut off.
    inside = found.cdf(torch.tensor([found.mean - 1.0, found.mean + 1.0], dtype=torch.float64))
    share = ((values - found.mean).abs() <= 1.0).double().mean().item()
    assert (inside[1] - inside[0]).item() == pytest.approx(share, abs=0.01)


def test_moments_of_a_plain_fill_are_those_of_its_formula_and_of_others_those_of_a_draw() -> None:
    layer = nn.Linear(64, 64)
    plan = Recipe([Rule("normal_", name="weight", args={"std": 0.02}), Rule("zeros_")]).plan(layer)
    weight = moments_of_all(of_plan(plan)[0]["weight"])
    assert (weight.mean, weight.std) == (0.0, 0.02)
    plan = Recipe([Rule("orthogonal_", name="weight"), Rule("zeros_")]).plan(layer)
    weight = moments_of_all(of_plan(plan)[0]["weight"])
    assert weight.std == pytest.approx(1 / 8, rel=0.01)
    assert weight.mean != 0.0
    assert not torchinit.diagnostics.compare(statistics(plan_applied(layer)), plan)


def plan_applied(layer: nn.Module) -> nn.Module:
    return Recipe([Rule("orthogonal_", name="weight"), Rule("zeros_")]).apply_(layer, torch.Generator().manual_seed(1))
