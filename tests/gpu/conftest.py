"""Leaves out the tests of this folder where there is no GPU: to collect thousands of tests takes seconds."""

from pathlib import Path

import pytest
import torch

from tests.support.gpu import ON_GPU

_LACKS_GPU = ON_GPU and not torch.cuda.is_available()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore a file, unless it is named on the command line; ``test_gpu.py`` says so in one line."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    is_left_out = _LACKS_GPU and collection_path.match("test_gpu_*.py") and collection_path not in named
    return True if is_left_out else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if _LACKS_GPU:
        pytest.skip(
            "no CUDA device" if item.path.name != "test_gpu.py" else "no CUDA device; no test here is collected"
        )
