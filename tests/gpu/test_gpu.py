"""Is there a GPU? If not, this is the only test of the folder that is collected, and it is skipped."""

import torch

from tests.support.gpu import DEVICE


def test_a_tensor_lies_on_the_device() -> None:
    assert torch.ones(3, device=DEVICE).sum().item() == 3.0
