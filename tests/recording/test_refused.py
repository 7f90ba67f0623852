"""Is code that cannot be recorded refused with the user's line, and does it change nothing?"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import torchinit
from tests.support.recorded import Made
from torchinit.recording import RecordError

_READS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda w: w.sum().item(),
    "item of one": lambda w: (w[:1, :1] * 2).item(),
    "tolist": lambda w: w.tolist(),
    "bool": lambda w: bool(w[0, 0] > 0),
    "float": lambda w: float(w[0, 0]),
    "index": lambda w: range(3)[torch.randint(0, 2, ())],
    "format": lambda w: f"{w.mean():.3f}",
    "numpy": lambda w: w.numpy(),
    "asarray": lambda w: np.asarray(w),
    "sin": lambda w: np.sin(w),
    "dlpack": lambda w: torch.from_dlpack(w),
    "equal": lambda w: torch.equal(w, w + 1),
    "allclose": lambda w: torch.allclose(w, w + 1),
    "nonzero": lambda w: w.nonzero(),
    "mask": lambda w: w[w > 0],
    "unique": lambda w: torch.unique(w),
    "repeat_interleave": lambda w: torch.repeat_interleave(torch.randint(0, 3, (9,))),
    "permutation": lambda w: torch.randperm(9).tolist(),
}


@pytest.mark.parametrize("n", [6, 300])
@pytest.mark.parametrize("name", _READS)
def test_reading_a_draw_is_refused_with_the_line(name: str, n: int) -> None:
    read = _READS[name]
    with pytest.raises(RecordError, match="has no value of a drawn or large tensor") as error:
        torchinit.record(lambda: Made(lambda m: read(nn.Linear(n, n).weight.detach())))
    assert f"{__file__}:{read.__code__.co_firstlineno};" in str(error.value)


def test_a_square_orthogonal_parametrization_asks_for_a_drawn_value() -> None:
    with pytest.raises(RecordError, match="got allclose"):
        torchinit.record(lambda: parametrizations.orthogonal(nn.Linear(4, 4)))


@pytest.mark.parametrize("write", [Tensor.zero_, Tensor.normal_])
def test_writing_to_a_tensor_from_before_is_refused(write: Callable[[Tensor], Tensor]) -> None:
    before = torch.ones(3)
    with pytest.raises(RecordError, match=r"may write only to tensors of its model.*test_refused.py"):
        torchinit.record(lambda: Made(lambda m: write(before)))
    assert torch.equal(before, torch.ones(3))


def test_a_result_in_an_empty_tensor_from_before_is_refused() -> None:
    before = torch.empty(0)
    with pytest.raises(RecordError, match=r"may write only to tensors of its model.*test_refused.py"):
        torchinit.record(lambda: Made(lambda m: torch.rand(3, out=before)))
    assert before.shape == (0,)


def test_other_memory_for_a_tensor_of_the_model_from_before_is_refused() -> None:
    layer = nn.Linear(3, 4)
    weight, before = layer.weight, layer.weight.detach().clone()
    with pytest.raises(RecordError, match=r"got data = on another at .*test_refused.py"):
        torchinit.record(lambda: setattr(weight, "data", torch.zeros(4, 3)), model=layer)
    assert torch.equal(weight, before)


def test_a_sparse_tensor_is_refused() -> None:
    table = torch.eye(3).to_sparse()
    with pytest.raises(RecordError, match="holds plain strided tensors, got one of layout"):
        torchinit.record(lambda: Made(lambda m: m.register_buffer("table", table)))


def test_a_deep_copy_of_a_computed_tensor_is_refused_as_in_torch() -> None:
    with pytest.raises(RuntimeError, match="copies only tensors that no operator with a gradient made"):
        torchinit.record(lambda: Made(lambda m: copy.deepcopy(nn.Linear(3, 3).weight * 2)))


def test_an_error_of_the_code_itself_is_raised_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="300") as error:
        torchinit.record(lambda: Made(lambda m: torch.rand(300, 300) @ torch.rand(200, 300)))
    assert not isinstance(error.value, RecordError)


def test_a_generator_that_has_drawn_is_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    torch.rand(3, generator=generator)
    state = generator.get_state()
    with pytest.raises(RecordError, match="must be seeded in the recorded code"):
        torchinit.record(lambda: Made(lambda m: torch.rand(3, generator=generator)))
    assert torch.equal(generator.get_state(), state)


def test_restoring_a_state_of_an_own_generator_is_refused() -> None:
    def make(m: Any) -> None:
        generator = torch.Generator().manual_seed(0)
        torch.rand(3, generator=generator)
        state = generator.get_state()
        torch.rand(3, generator=generator)
        generator.set_state(state)
        torch.rand(3, generator=generator)

    with pytest.raises(RecordError, match="in another state"):
        torchinit.record(lambda: Made(make))


def test_restoring_a_state_from_before_is_refused() -> None:
    state = torch.get_rng_state()
    with pytest.raises(RecordError, match="may only restore a state of the default generator that it has saved"):
        torchinit.record(lambda: Made(lambda m: torch.set_rng_state(state)))


@pytest.mark.parametrize("keep", [True, False])
def test_writing_through_numpy_is_refused(keep: bool) -> None:
    def make(m: Any) -> None:
        table = torch.zeros(5)
        if keep:
            m.array = table.numpy()
            m.array[:] = 3
        else:
            table.numpy()[:] = 3
            m.register_buffer("scaled", table * 2)
        m.register_buffer("table", table)

    with pytest.raises(RecordError, match="numpy must not write to a tensor's memory"):
        torchinit.record(lambda: Made(make))


@torch.library.custom_op("torchinit_tests::without_a_fake", mutates_args=())
def _without_a_fake(x: Tensor) -> Tensor:
    return x * 2


def test_a_custom_operator_without_a_fake_implementation_is_named() -> None:
    with pytest.raises(RecordError, match=r"got torchinit_tests\.without_a_fake\.default at"):
        torchinit.record(lambda: Made(lambda m: _without_a_fake(nn.Linear(3, 3).weight.detach())))


def test_a_recording_within_a_recording_is_refused() -> None:
    with pytest.raises(RecordError, match="a recording must end before the next begins"):
        torchinit.record(lambda: Made(lambda m: torchinit.record(lambda: nn.Linear(3, 3))))


def test_build_must_return_a_module() -> None:
    with pytest.raises(TypeError, match=r"must return a .*Module, got int"):
        torchinit.record(lambda: 3)
