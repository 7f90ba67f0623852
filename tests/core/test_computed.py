"""Is a write to a weight that a parametrization computes warned of, and nothing else?"""

import warnings
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

import torchinit
from torchinit import keyed

PARAMETRIZED = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old weight_norm": weight_norm,
    "old spectral_norm": spectral_norm,
}


def _layer(name: str) -> nn.Linear:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = PARAMETRIZED[name](nn.Linear(4, 4))
        layer(torch.zeros(1, 4))
    return layer


@pytest.mark.parametrize("name", PARAMETRIZED)
def test_a_write_to_a_parametrized_weight_is_warned_of(name: str) -> None:
    layer = _layer(name)
    with pytest.warns(UserWarning, match=r"^zeros_ writes to a weight that a parametrization has computed") as caught:
        torchinit.zeros_(layer.weight)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="^xavier_uniform_ writes"):
        torchinit.xavier_uniform_(layer.weight[:2])


def test_every_initializer_warns_in_its_own_name() -> None:
    layer = _layer("weight_norm")
    for name in ("uniform_", "normal_", "constant_", "orthogonal_", "eye_", "sparse_", "trunc_normal_", "ones_"):
        args = {"constant_": (0.5,), "sparse_": (0.1,)}.get(name, ())
        with pytest.warns(UserWarning, match=f"^{name} writes"):
            getattr(torchinit, name)(layer.weight, *args)
    with pytest.warns(UserWarning, match="^normal_ writes"):
        keyed.normal_(layer.weight, keyed.key(0))


SOUND: dict[str, Callable[[nn.Linear], Tensor]] = {
    "a parameter": lambda layer: layer.weight,
    "rows of a parameter": lambda layer: layer.weight[1:],
    "its data": lambda layer: layer.weight.data,
    "a detached view": lambda layer: layer.weight.detach(),
    "a copy": lambda layer: layer.weight.clone(),
    "what a layer computes": lambda layer: layer(torch.ones(4, 4)),
    "what a parametrized layer computes": lambda _: _layer("weight_norm")(torch.ones(4, 4)),
    "an original": lambda _: _layer("weight_norm").parametrizations.weight.original1,
    "a product with an original": lambda layer: layer.weight @ _layer("weight_norm").weight,
}


def test_chunks_of_a_parameter_are_filled_one_after_the_other() -> None:
    weight = nn.Parameter(torch.zeros(6, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in weight.chunk(3):
            torchinit.ones_(part)
        with torch.no_grad():
            parts = weight.split(2)
        for part in parts:
            torchinit.uniform_(part, 2.0, 3.0)
    assert weight.min() >= 2.0


def test_chunks_of_a_parametrized_weight_are_warned_of() -> None:
    for part in _layer("weight_norm").weight.chunk(2):
        with pytest.warns(UserWarning, match="^ones_ writes"):
            torchinit.ones_(part)


@pytest.mark.parametrize("name", SOUND)
def test_other_tensors_are_not(name: str) -> None:
    tensor = SOUND[name](nn.Linear(4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torchinit.normal_(tensor)


def test_a_copy_costs_no_scan_of_all_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.get_referrers", mock.Mock(side_effect=AssertionError("must not be called")))
    torchinit.normal_(nn.Linear(4, 4).weight.clone())
    torchinit.normal_(nn.Linear(4, 4).weight.double())
