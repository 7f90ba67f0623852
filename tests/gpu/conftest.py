"""Skips the tests of this folder where there is no GPU."""

import pytest
import torch

from tests.support.gpu import ON_GPU


def pytest_runtest_setup(item: pytest.Item) -> None:
    if ON_GPU and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
