"""Is a model that cannot run forward and backward refused in one line?"""

import re

import pytest
import torch
from torch import Tensor, nn

from tests.support.signal_models import Cells, Query, loaded
from torchinit.diagnostics import signal


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.Linear(4, 3), (torch.ones(2, 8),),
         "forward must run on the inputs, got float32 2x8: RuntimeError: "),
        (nn.Linear(4, 3), (torch.ones(2, 4, dtype=torch.int64), 3),
         "forward must run on the inputs, got int64 2x4, int: "),
        (nn.ReLU(), (torch.ones(3),), "a probe needs a module with floating parameters, got ReLU without any"),
        (nn.Linear(4, 3, device="meta"), (torch.ones(3, 4),),
         "a probe needs parameters with values, got some on the meta device"),
    ],
)  # fmt: skip
def test_model_without_a_signal_is_refused_in_one_line(model: nn.Module, inputs: tuple, message: str) -> None:
    for module in (model, torch.jit.script(model)):
        with pytest.raises(RuntimeError, match=f"^{re.escape(message)}") as caught:
            signal(module, *inputs)
        assert "\n" not in str(caught.value)
        assert "interpreter" not in str(caught.value)


class Raising(nn.Module):
    """Raises unless its input has three dimensions; returns integers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 3:
            raise ValueError(f"three dimensions please, not {x.dim()}")
        return self.linear(x).argmax(-1)


def test_an_error_of_the_model_is_named_in_one_line() -> None:
    scripted = torch.jit.script(Raising())
    said = "forward must run on the inputs, got float32 2x2: (builtins.)?ValueError: three dimensions please, not 2"
    for module in (Raising(), scripted, loaded(scripted)):
        with pytest.raises(RuntimeError, match=f"^{said}$"):
            signal(module, torch.ones(2, 2))
        with pytest.raises(
            RuntimeError, match=r"^forward must return a floating tensor that depends .*, got int64 1x2$"
        ):
            signal(module, torch.ones(1, 2, 2))
    with pytest.raises(
        RuntimeError, match=r"^forward must run .*got nothing: RuntimeError: forward\(\) is missing value"
    ):
        signal(scripted)


def test_disabled_gradients_are_refused() -> None:
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"^a probe needs gradients, got them disabled"):
        signal(nn.Linear(2, 2), torch.ones(2, 2))


class Broken(nn.Module):
    """Overwrites a tensor that its backward needs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x).exp()
        return y * y.zero_()


def test_a_model_without_a_backward_is_refused_in_one_line() -> None:
    with pytest.raises(RuntimeError, match=r"^backward must run on the model, got RuntimeError: one of the variables"):
        signal(Broken(), torch.ones(2, 2))


def test_progress_never_goes_beyond_its_total() -> None:
    told = []
    signal(Cells(), torch.ones(5, 2, 3), progress=lambda *step: told.append(step))
    assert [phase for phase, _, _ in told] == ["forward"] * 5 + ["backward"] * 5
    assert told[-1][2] == 10
    assert all(done <= total for done, (_, _, total) in enumerate(told, start=1))
    told.clear()
    signal(Query(), torch.ones(5, 4), progress=lambda *step: told.append(step))
    # Of the four layers, query and projection count as one, and idle never runs.
    assert [total for _, _, total in told] == [8, 8, 4, 4]
