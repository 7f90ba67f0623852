"""Starts every test from the same random state, with little for the garbage collector to do and long files first."""

import gc
import itertools
import os

import pytest

_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin the share of each worker with files that compile: no worker then waits for a long test at the end.

    Under ``--dist worksteal`` the shares are the list cut into as many equal parts as there are workers.
    """
    if _WORKERS == 1:
        return
    files = [list(tests) for _, tests in itertools.groupby(items, lambda item: item.path)]
    long = [tests for tests in files if tests[0].path.parent.name == "jit_tests"]
    others = [item for tests in files if tests not in long for item in tests]
    share = len(items) // _WORKERS
    items.clear()
    for worker in range(_WORKERS):
        items += [item for tests in long[worker::_WORKERS] for item in tests]
        end = max(0, share * (worker + 1) - len(items))
        items += others[:end] if worker < _WORKERS - 1 else others
        del others[:end]


def pytest_runtest_setup(item: pytest.Item) -> None:
    import torch

    torch.default_generator.manual_seed(0)


def pytest_collection_finish() -> None:
    import torch

    # NB: torch.manual_seed formats a stack for each kind of device on each call, to seed that device when it starts.
    for device in (torch.cuda, torch.xpu, torch.mtia):
        if not device.is_available():
            device.manual_seed_all = lambda seed: None
    # The objects of torch and of the collected tests live to the end: keep the garbage collector off them.
    gc.collect()
    gc.freeze()
