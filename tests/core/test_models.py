"""Does code from tutorials work when its import of ``torch.nn.init`` becomes ``torchinit``?"""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from tests.support.tutorial_models import INPUTS


def weights_init(init: ModuleType) -> Any:
    """Return a ``weights_init`` for ``model.apply``, as tutorials write it."""

    def reset(m: nn.Module) -> None:
        classname = m.__class__.__name__
        if isinstance(m, nn.Conv2d):
            init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            if m.bias is not None:
                init.constant_(m.bias.data, 0.0)
        elif classname.find("BatchNorm") != -1 or isinstance(m, nn.LayerNorm):
            init.normal_(m.weight.data, 1.0, 0.02)
            init.constant_(m.bias.data, 0)
        elif isinstance(m, nn.Linear):
            init.xavier_uniform_(m.weight, gain=init.calculate_gain("relu"))
            init.zeros_(m.bias)
        elif isinstance(m, nn.Embedding):
            init.uniform_(m.weight.data, -1, 1)
        elif isinstance(m, nn.LSTM):
            for name, parameter in m.named_parameters():
                if "weight_hh" in name:
                    init.orthogonal_(parameter)
                elif "weight_ih" in name:
                    init.xavier_uniform_(parameter.data)
                else:
                    init.constant_(parameter.data, 0)
                    parameter.data[parameter.size(0) // 4 : parameter.size(0) // 2].fill_(1)
        elif isinstance(m, nn.MultiheadAttention):
            init.sparse_(m.in_proj_weight, sparsity=0.1)

    return reset


@pytest.mark.parametrize("model", INPUTS, ids=lambda model: model.__name__)
def test_weights_init_draws_the_same_as_upstream(model: type[nn.Module]) -> None:
    ours, theirs = model(), model()
    for module, init in ((ours, torchinit), (theirs, torch.nn.init)):
        torch.manual_seed(3)
        module.apply(weights_init(init))
    theirs_state = theirs.state_dict()
    assert all(torch.equal(value, theirs_state[name]) for name, value in ours.state_dict().items())
    ours(INPUTS[model]).sum().backward()


@pytest.mark.parametrize("name", [name for name in torchinit.__all__ if hasattr(torch.nn.init, name)])
def test_name_can_be_imported_from_torchinit_as_from_upstream(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"from torchinit import {name} as ours\nfrom torch.nn.init import {name} as theirs", namespace)
    assert namespace["ours"].__name__ == namespace["theirs"].__name__


@pytest.mark.parametrize("nonlinearity", ["linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "selu"])
def test_gain_equals_upstreams_in_value_and_type(nonlinearity: str) -> None:
    ours, theirs = torchinit.calculate_gain(nonlinearity), torch.nn.init.calculate_gain(nonlinearity)
    assert (type(ours), ours) == (type(theirs), theirs)


@pytest.mark.parametrize("slope", [None, 0, 1, 2, 0.2, -0.5, 5**0.5, float("inf")])
def test_gain_of_leaky_relu_equals_upstreams(slope: float | None) -> None:
    assert torchinit.calculate_gain("leaky_relu", slope) == torch.nn.init.calculate_gain("leaky_relu", slope)


@pytest.mark.parametrize("shape", [(3, 5), (6, 4, 3, 3), (2, 0, 3), (7, 1, 2)], ids=str)
def test_fans_equal_upstreams(shape: tuple[int, ...]) -> None:
    tensor = torch.empty(shape)
    upstream = torch.nn.init
    assert torchinit._calculate_fan_in_and_fan_out(tensor) == upstream._calculate_fan_in_and_fan_out(tensor)
    for mode in ("fan_in", "FAN_OUT"):
        assert torchinit._calculate_correct_fan(tensor, mode) == upstream._calculate_correct_fan(tensor, mode)
