"""Lets every test begin with the same random state, whatever ran before it in its process."""

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    import torch

    # NB: torch.manual_seed keeps a formatted stack a call for a CUDA that is not there yet.
    torch.default_generator.manual_seed(0)
