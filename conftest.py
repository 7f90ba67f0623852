"""Starts every test from the same random state."""

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    import torch

    # NB: torch.manual_seed also queues a formatted stack for CUDA on each call, until CUDA starts.
    torch.default_generator.manual_seed(0)
