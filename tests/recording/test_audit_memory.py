"""Does an audit find tensors that nothing fills, and those that to_empty() loses?"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import torchinit
from tests.support.audited import Build, Part, Rotary, found, line_of, lines
from torchinit.recording import Recording

# Nothing writes it.


def empty() -> Tensor:
    return torch.empty(4, 3)  # the memory


def partly() -> Tensor:
    weight = torch.empty(6, 2)
    nn.init.normal_(weight[:4])
    return weight


def test_a_tensor_that_nothing_writes_is_found() -> None:
    (finding,) = found(lambda: Part(empty))
    assert (finding.kind, finding.place) == ("unwritten", line_of("the memory", __file__))
    assert lines(lambda: Part(empty)) == [
        "fault: weight: nothing writes it, so it holds memory as it came (here); fill it where it is made"
    ]


def test_rows_that_nothing_writes_are_found() -> None:
    assert lines(lambda: Part(partly)) == [
        "fault: weight: nothing writes 4 of its 12 values, which are memory as it came (here); fill it where it is made"
    ]


def test_a_tensor_computed_from_memory_as_it_came_is_found() -> None:
    assert lines(lambda: Part(lambda: torch.empty(4, 3) * 0.02)) == [
        "fault: weight: it is computed from memory as it came, which nothing had written (here); fill it where it is made"
    ]


def in_parts() -> Tensor:
    weight = torch.empty(6, 2)
    nn.init.normal_(weight[:4])
    weight[4:] = 0
    return weight


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(4, 3),
        lambda: torch.zeros_like(torch.empty(4, 3)),
        lambda: torch.empty(4, 3).new_zeros(2),
        lambda: torch.empty(4, 3).fill_(2.0) * 0.02,
        lambda: torch.arange(6.0, out=torch.empty(6)),
        lambda: torch.empty(0, 3),
        in_parts,
    ],
)
def test_a_tensor_with_values_is_not_unwritten(make: Callable[[], Tensor]) -> None:
    assert found(lambda: Part(make)) == []


def test_the_tensors_of_a_model_that_was_there_are_not_unwritten() -> None:
    model = nn.Linear(3, 4)
    recording = torchinit.record(lambda: nn.init.zeros_(model.bias), model=model)
    assert recording.audit() == []


# to_empty() loses it.


def test_a_buffer_that_to_empty_loses_is_found() -> None:
    assert lines(lambda: nn.Sequential(Rotary(), nn.Linear(4, 4), Rotary())) == [
        "fault: {0,2}.inv_freq: to_empty() loses it, and no method of the model restores it (here);"
        " fill it in reset_parameters(), and call that from the constructor"
    ]


class Unregistered(Rotary):
    """Restores its buffer from a tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = torch.tensor([1.0, 2.0, 3.0, 4.0])
        self.init_weights()

    def init_weights(self) -> None:
        self.inv_freq.copy_(self.kept)


class WithTemplate(nn.Module):
    """Restores the buffers of its parts as transformers does."""

    def __init__(self) -> None:
        super().__init__()
        self.rotary = Rotary()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, Rotary):
            module.inv_freq.copy_(module.frequencies())


@pytest.mark.parametrize("build", [lambda: Rotary(restores=True), WithTemplate, Unregistered])
def test_a_buffer_that_the_model_restores_is_not_found(build: Build) -> None:
    assert found(build) == []


class Mask(nn.Module):
    """Resets its mask to another one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(4, 4).tril())

    def reset_parameters(self) -> None:
        self.mask.fill_(1.0)


def test_a_buffer_that_is_restored_with_other_values_is_found() -> None:
    assert lines(Mask) == [
        "fault: mask: the model's own reset gives it other values than its constructor (here);"
        " fill it in reset_parameters(), and call that from the constructor"
    ]


class Refuses(Rotary):
    """Raises in its reset."""

    def init_weights(self) -> None:
        super().init_weights()
        raise RuntimeError("no")


def test_a_reset_that_fails_counts_up_to_there() -> None:
    assert found(lambda: Refuses(restores=True)) == []
    assert [x.kind for x in found(lambda: Refuses(restores=False))] == ["lost"]


def test_a_parametrized_weight_is_lost() -> None:
    names = "parametrizations.weight.original0, parametrizations.weight.original1"
    findings = found(lambda: parametrizations.weight_norm(nn.Linear(3, 4)), "lost")
    assert ", ".join(finding.tensor for finding in findings) == names


def test_without_the_module_what_to_empty_loses_is_not_looked_for() -> None:
    assert Recording(torchinit.record(Rotary).program).audit() == []


def test_a_model_whose_code_seeds_a_generator_is_audited() -> None:
    class Seeded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = torch.Generator().manual_seed(0)
            self.weight = nn.Parameter(torchinit.normal_(torch.empty(3, 4), generator=generator))
            self.register_buffer("table", torch.arange(4.0))

        def reset_parameters(self) -> None:
            self.weight.data.normal_(generator=torch.Generator().manual_seed(0))
            self.table.fill_(1.0)

    assert [(x.kind, x.tensor) for x in found(Seeded)] == [("lost", "table")]


def test_a_model_that_gives_torch_rand_its_own_generator_is_audited() -> None:
    class Drawn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("drawn", torch.rand(3, 4, generator=torch.Generator().manual_seed(0)))
            self.register_buffer("table", torch.arange(4.0))

        def reset_parameters(self) -> None:
            self.drawn.uniform_(generator=torch.Generator().manual_seed(0))
            self.table.fill_(1.0)

    assert [(x.kind, x.tensor) for x in found(Drawn)] == [("lost", "table")]
