"""Does a replay keep to what was recorded, whatever the defaults of the process?"""

import pytest
import torch
from torch import nn

import torchinit
from tests.support.built import assert_same_tensors, built
from torchinit.recording import RecordError
from torchinit.recording._program import Operation, Program, Ref
from torchinit.recording._replay import Memory, replay


def test_result_that_is_none_has_its_place() -> None:
    ones, grad = Ref(0, torch.float32, (2, 2, 1), (2, 1, 1)), Ref(1, torch.float32, (2,), (1,))
    convolution = (ones, ones, ones, [2], [1], [0], [1], False, [0], 1, [False, False, True])
    operations = (
        Operation("aten.ones.default", ([2, 2, 1],), fresh=(ones,)),
        Operation("aten.convolution_backward.default", convolution, fresh=(None, None, grad)),
    )
    made = {}

    def deliver(number: int, memory: Memory) -> None:
        made[number] = memory.tensor(grad).clone()

    replay(Program(operations, (), (), {0: 16, 1: 8}, {}), [1], deliver)
    assert made[1].tolist() == [2.0, 2.0]


class Drawn(nn.Module):
    """A parameter that torch draws in the default dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.rand(3))


def test_another_default_dtype_does_not_matter() -> None:
    recording, model = torchinit.record(Drawn), Drawn()
    torch.set_default_dtype(torch.float64)
    try:
        recording.materialize_(model, seed=0)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_tensors(model, built(Drawn)[0])


def test_operator_that_makes_another_tensor_is_refused() -> None:
    wrong = Operation("aten.ones.default", ([3],), {"dtype": torch.float64}, fresh=(Ref(0, torch.float32, (3,), (1,)),))
    with pytest.raises(RecordError, match=r"must make .* torch\.float32 \[3\], got torch\.float64 \[3\]"):
        replay(Program((wrong,), (), (), {0: 12}, {}), [0], lambda *_: None)


def test_another_default_device_does_not_matter() -> None:
    recording, model = torchinit.record(Drawn), Drawn()
    with torch.device("meta"):
        recording.materialize_(model, seed=0)
    assert_same_tensors(model, built(Drawn)[0])


class Counts(nn.Module):
    """A buffer of integers as wide as floats."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", torch.arange(4, dtype=torch.int32))


def test_numbers_of_another_kind_are_converted() -> None:
    model = Counts()
    model.counts = model.counts.float()
    torchinit.record(Counts).materialize_(model, seed=0)
    assert model.counts.tolist() == [0.0, 1.0, 2.0, 3.0]


class Halves(nn.Module):
    """A parameter that is the first half of its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(6)[:3])


def test_memory_beside_a_parameter_is_left_alone() -> None:
    model, memory = Halves(), torch.full((6,), 7.0)
    model.weight = nn.Parameter(memory[:3])
    torchinit.record(Halves).materialize_(model, seed=0)
    assert memory[3:].tolist() == [7.0, 7.0, 7.0]
    assert_same_tensors(model, built(Halves)[0])
