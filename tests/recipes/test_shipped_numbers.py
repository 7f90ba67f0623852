"""Do shipped recipes take their numbers, find the heads of CleanRL's agents, and wait until they are asked for?"""

import math
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from torchinit import recipes
from torchinit.recipes import RecipeError
from torchinit.recipes._shipped import SHIPPED


class _CleanRL(nn.Module):
    """The agent of CleanRL's ppo.py, or of its ppo_continuous_action.py."""

    def __init__(self, continuous: bool) -> None:
        super().__init__()

        def mlp(out: int) -> nn.Module:
            return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, out))

        self.critic = mlp(1)
        setattr(self, "actor_mean" if continuous else "actor", mlp(3))
        if continuous:
            self.actor_logstd = nn.Parameter(torch.ones(1, 3))


@pytest.mark.parametrize("continuous", [False, True])
def test_orthogonal_rl_finds_the_heads_of_cleanrls_agents_by_itself(continuous: bool) -> None:
    model = _CleanRL(continuous)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipes.orthogonal_rl().apply_(model)
    gains = {
        name: torch.linalg.matrix_norm(p, 2).item() for name, p in model.named_parameters() if name.endswith("weight")
    }
    policy = "actor_mean" if continuous else "actor"
    for name, gain in gains.items():
        head = {f"{policy}.4.weight": 0.01, "critic.4.weight": 1.0}.get(name, math.sqrt(2))
        assert gain == pytest.approx(head, rel=1e-4), name
    assert not any(p.any() for name, p in model.named_parameters() if "bias" in name or "logstd" in name)


NUMBERS = {"xavier": "gain", "vit": "std", "gpt2": "std", "llama": "std", "dcgan": "std"}


@pytest.mark.parametrize("name", NUMBERS)
def test_recipe_takes_its_number(name: str) -> None:
    given = {NUMBERS[name]: 0.3}
    assert SHIPPED[name](**given) == recipes.load(name, **given) != recipes.load(name)
    assert recipes.load(name, **given).constants == given


def test_number_scales_what_the_recipe_draws() -> None:
    linear = nn.Linear(4, 4, bias=False)
    assert recipes.llama(std=0.006).plan(linear).rows[0].std == 0.006
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert recipes.gpt2(std=0.006).plan(linear).rows[0].std == 0.006
        assert recipes.vit(std=0.006).plan(linear).rows[0].std == pytest.approx(0.006)
        assert recipes.dcgan(std=0.1).plan(nn.BatchNorm2d(3)).rows[0].std == 0.1
        assert recipes.orthogonal_rl(gain=2.0).plan(linear).rows[0].std == 1.0
    assert recipes.xavier(gain=3.0).plan(linear).rows[0].std == pytest.approx(1.5)
    with pytest.raises(
        RecipeError, match=r"^llama\.toml:12: rule 1: normal_: normal expects std >= 0\.0, but found std -1$"
    ):
        recipes.llama(std=-1)


def test_importing_the_package_reads_no_recipe() -> None:
    code = "import torchinit.recipes._shipped as s; assert s.shipped.cache_info().currsize == 0; s.llama()"
    subprocess.run([sys.executable, "-OO", "-c", code], check=True)
