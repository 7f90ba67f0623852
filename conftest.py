"""Starts every test from the same random state, with little for the garbage collector to do."""

import gc

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    import torch

    # NB: torch.manual_seed also queues a formatted stack for CUDA on each call, until CUDA starts.
    torch.default_generator.manual_seed(0)


def pytest_collection_finish() -> None:
    # The objects of torch and of the collected tests live to the end: keep the garbage collector off them.
    gc.collect()
    gc.freeze()
