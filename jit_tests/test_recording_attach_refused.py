"""Is a recording that a TorchScript file cannot run, or a file that it does not fit, refused?"""

import pytest
import torch
from torch import Tensor, nn

import torchinit
from jit_tests.scripting import run_quietly


def _script(model: nn.Module) -> torch.jit.ScriptModule:
    return run_quietly(torch.jit.script, model)


class Returns(nn.Module):
    """Ends with the state of a seed that it had left."""

    def __init__(self) -> None:
        super().__init__()
        first = torch.get_rng_state()
        torch.manual_seed(5)
        second = torch.get_rng_state()
        torch.set_rng_state(first)
        torch.set_rng_state(second)
        self.weight = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_state_that_the_callers_generator_cannot_get_is_refused() -> None:
    with pytest.raises(RuntimeError, match="got a seed that a later get_rng_state keeps; seed after get_rng_state"):
        torchinit.record(Returns).attach(_script(Returns()))


class Reinterpreted(nn.Module):
    """Reads the bits of a draw as integers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bits", torch.randn(3).view(torch.int32))
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_storage_of_two_dtypes_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"one dtype only, got torch.int32 and torch.float32 at .*\.py:\d+"):
        torchinit.record(Reinterpreted).attach(_script(Reinterpreted()))


def test_other_names_and_shapes_are_refused() -> None:
    recording = torchinit.record(lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)))
    renamed = nn.Sequential()
    renamed.add_module("0", nn.Linear(2, 3))
    renamed.add_module("head", nn.BatchNorm1d(2))
    with pytest.raises(ValueError, match="must have the recording's tensors") as raised:
        recording.attach(_script(renamed))
    assert str(raised.value) == (
        "a module must have the recording's tensors, got other names: the module lacks 1.bias, 1.weight; the recording"
        " lacks head.bias, head.num_batches_tracked, head.running_mean, head.running_var, head.weight; record the very"
        " module that was scripted or traced, with what wraps it"
    )
    with pytest.raises(ValueError, match=r"and 29 more; the recording lacks bias, .* weight; record the very module"):
        torchinit.record(lambda: nn.Transformer(4, 2, 1, 1, 8, batch_first=True)).attach(_script(nn.BatchNorm1d(2)))
    integers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    integers[1].bias = nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)
    with pytest.raises(ValueError, match=r"must hold torch.float32, as recorded, got torch.int64 for 1.bias"):
        recording.attach(_script(integers))
    with pytest.raises(ValueError, match=r"must have the recorded shape \[3, 2\], got \[4, 2\] for 0.weight"):
        recording.attach(_script(nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2))))


def test_module_that_is_frozen_has_the_method_or_is_no_torchscript_is_refused() -> None:
    recording = torchinit.record(lambda: nn.Linear(2, 2))
    net = recording.attach(_script(nn.Linear(2, 2)))
    with pytest.raises(RuntimeError, match="must not have a reset_parameters yet, got Linear, which has one"):
        recording.attach(net)
    frozen = run_quietly(torch.jit.freeze, _script(nn.Linear(2, 2)).eval())
    with pytest.raises(RuntimeError, match="must have parameters, got Linear without any; a frozen module"):
        recording.attach(frozen)
    with pytest.raises(TypeError, match="to a TorchScript module only, got Linear; script or trace it first"):
        recording.attach(nn.Linear(2, 2))  # type: ignore[arg-type]


def test_operator_that_takes_no_generator_is_refused() -> None:
    class Dropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ops.aten.native_dropout(torch.randn(4), 0.5, True)[0])

        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(RuntimeError, match=r"take a generator, got aten.native_dropout at .*\.py:\d+"):
        torchinit.record(Dropped).attach(_script(Dropped()))
