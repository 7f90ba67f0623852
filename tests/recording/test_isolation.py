"""Does recording leave the model, other threads, a fork, and the process as they were?"""

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchinit
from tests.support.built import assert_same_tensors, tensors_of
from torchinit.recording import RecordError

_SIZES = pytest.mark.parametrize("n", [4, 300])


class Resettable(nn.Module):
    """A tie, a view, a buffer, and weights that a plain list holds too."""

    def __init__(self, n: int, device: str = "cpu") -> None:
        super().__init__()
        self.a, self.b = nn.Linear(n, n, device=device), nn.Linear(n, n, bias=False, device=device)
        self.b.weight = self.a.weight
        self.lstm = nn.LSTM(n, n, device=device)
        self.register_buffer("table", torch.ones(n, n, device=device))
        self.row = nn.Parameter(self.table[0])

    def reset(self) -> None:
        self.a.reset_parameters()
        with torch.no_grad():
            for weight in self.lstm._flat_weights:
                weight.uniform_(-0.1, 0.1)
            self.lstm._flat_weights[2].zero_()
            self.table.copy_(torch.eye(len(self.table)))
            self.row.normal_()
            self.a.bias.zero_()

    def replace(self) -> None:
        self.a.weight.data = torch.randn_like(self.a.weight)
        self.lstm.weight_ih_l0 = nn.Parameter(torch.randn_like(self.lstm.weight_ih_l0))

    def fail(self) -> None:
        self.reset()
        raise KeyError("as a test")


def _snapshot(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (tensor, tensor.detach().clone()) for name, tensor in tensors_of(model).items()}


def _assert_untouched(model: nn.Module, before: dict[str, tuple[Tensor, Tensor]]) -> None:
    after = tensors_of(model)
    assert list(after) == list(before)
    for name, (tensor, values) in before.items():
        assert after[name] is tensor
        assert torch.equal(tensor, values), name


@_SIZES
def test_a_reset_has_the_bits_of_running_it_and_leaves_the_model_untouched(n: int) -> None:
    model = Resettable(n)
    before = _snapshot(model)
    recording = torchinit.record(model.reset, model=model)
    _assert_untouched(model, before)
    expected = Resettable(n)
    torch.manual_seed(0)
    expected.reset()
    state, generator = torch.get_rng_state(), torch.Generator().manual_seed(0)
    assert_same_tensors(recording.materialize_(Resettable(n), generator=generator), expected)
    assert torch.equal(generator.get_state(), state)


@_SIZES
def test_a_reset_of_a_model_on_the_meta_device_has_values(n: int) -> None:
    model = Resettable(n, "meta")
    recording = torchinit.record(model.reset, model=model)
    assert all(tensor.is_meta for tensor in tensors_of(model).values())
    expected = Resettable(n)
    torch.manual_seed(0)
    expected.reset()
    filled = recording.materialize_(Resettable(n), seed=0)
    assert torch.equal(filled.lstm.weight_ih_l0, expected.lstm.weight_ih_l0)
    assert torch.equal(filled.a.weight, expected.a.weight)


@_SIZES
@pytest.mark.parametrize("name", ["fail", "replace"])
def test_the_model_is_untouched_whatever_its_code_does(name: str, n: int) -> None:
    model = Resettable(n)
    before = _snapshot(model)
    try:
        torchinit.record(getattr(model, name), model=model)
    except KeyError:
        assert name == "fail"
    _assert_untouched(model, before)


@_SIZES
def test_a_reset_that_writes_outside_its_model_is_refused(n: int) -> None:
    model, outside = Resettable(n), torch.ones(3)
    before = _snapshot(model)
    for write in (outside.zero_, outside.normal_, lambda: outside.add_(model.row[0])):
        with pytest.raises(RecordError, match="may write only to tensors of its model"):
            torchinit.record(write, model=model)
    _assert_untouched(model, before)
    assert torch.equal(outside, torch.ones(3))


def test_an_error_leaves_no_mode_no_patch_and_no_fake_tensor() -> None:
    def build() -> nn.Module:
        nn.Linear(300, 300)
        torch.manual_seed(3)
        raise KeyError("as a test")

    state, normal, generator = torch.get_rng_state(), nn.init.normal_, torch.random.default_generator
    with pytest.raises(KeyError):
        torchinit.record(build)
    assert torch.equal(torch.get_rng_state(), state)
    assert nn.init.normal_ is normal
    assert torch.random.default_generator is generator
    assert torch._C._len_torch_dispatch_stack() == torch._C._len_torch_function_stack() == 0
    assert type(nn.Linear(300, 300).weight) is nn.Parameter
    torchinit.record(lambda: nn.Linear(3, 3))


def _built() -> tuple[Any, Any]:
    """Build a model as usual, with a seed of its own."""
    torch.manual_seed(1)
    model = nn.Linear(300, 300)
    nn.init.normal_(model.bias)
    return model.weight.detach(), torch.get_rng_state()


def _while_recording(work: Callable[[], object]) -> torchinit.recording.Recording:
    """Do something in this thread while another one is in the middle of a recording; return the recording."""
    begun, done, recordings = threading.Event(), threading.Event(), []

    def build() -> nn.Module:
        first = nn.Linear(300, 300)
        begun.set()
        assert done.wait(60)
        torch.manual_seed(5)
        return nn.Sequential(first, nn.Linear(300, 300))

    thread = threading.Thread(target=lambda: recordings.append(torchinit.record(build)))
    thread.start()
    assert begun.wait(60)
    try:
        work()
    finally:
        done.set()
        thread.join()
    return recordings[0]


def test_another_thread_builds_as_usual_and_is_not_recorded() -> None:
    expected, seen = _built(), []
    recording = _while_recording(lambda: seen.append(_built()))
    assert torch.equal(seen[0][0], expected[0])
    assert torch.equal(seen[0][1], expected[1])
    assert [operation.operator for operation in recording.program.operations] == [
        *["uniform_"] * 2,
        "seed",
        *["uniform_"] * 2,
    ]


def test_recordings_of_two_threads_overlap() -> None:
    recordings = []

    def record() -> None:
        recordings.append(torchinit.record(lambda: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))))

    generator = torch.random.default_generator
    other = _while_recording(record)
    assert len(recordings[0].program.operations) == 4
    assert len(other.program.operations) == 5
    assert torch.random.default_generator is generator


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_builds_as_usual() -> None:
    expected, codes = _built(), []

    def fork() -> None:
        child = os.fork()
        if child == 0:
            try:
                weight, state = _built()
                equal = torch.equal(weight, expected[0]) and torch.equal(state, expected[1])
                os._exit(0 if equal and len(torchinit.record(lambda: nn.Linear(3, 3)).program.operations) == 2 else 1)
            except BaseException:
                os._exit(2)
        codes.append(os.waitpid(child, 0)[1])

    _while_recording(fork)
    assert codes == [0]
