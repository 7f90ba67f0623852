"""Do the kernels of a CPU, run without a compiler, draw what eager draws?"""

import sys

import pytest
import torch
from torch import Tensor

from torchinit import keyed
from torchinit.keyed import _compiled

# The counter carries into its upper 32 bits within a tensor.
KEY = torch.tensor([42, 2**32 - 3])


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda kernel, **options: kernel)
    monkeypatch.setattr(_compiled, "mark_dynamic", lambda tensor, dim: None)
    monkeypatch.setattr(_compiled, "_kernel", _compiled._kernel.__wrapped__)


def _draw(name: str) -> Tensor:
    # The numbers leave each value a product and a sum to round. A uniform draw of fewer values is eager's.
    return getattr(keyed, name)(torch.empty(256, 128), KEY, 0.3, 0.7)


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_values_are_eagers_in_the_order_of_the_machines_bytes(byteorder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [_draw(name) for name in ("uniform_", "normal_")]
    with keyed.compiled(), monkeypatch.context() as patch:
        patch.setattr(sys, "byteorder", byteorder)
        drawn = [_draw(name) for name in ("uniform_", "normal_")]
    if byteorder != sys.byteorder:
        # The first of two values lies in the upper half of 64 bits, which come first there and last here.
        drawn = [values.view(-1, 2).flip(-1).view(256, 128) for values in drawn]
    assert all(map(torch.equal, drawn, expected))
