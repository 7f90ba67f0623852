"""Does an audit find draws that are wasted or copied, and values that torch does not decide?"""

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.audited import Build, Part, found, line_of, lines

# Draws that are thrown away.


def redrawn() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4, bias=False))
    for layer in model:
        nn.init.normal_(layer.weight)  # the second draw
    return model


def test_draws_that_are_overwritten_are_found_with_their_share() -> None:
    (finding,) = found(redrawn, "overwritten")
    assert finding.place == line_of("the second draw", __file__)
    # 64 of 64 + 8 + 64.
    assert lines(redrawn, "overwritten") == [
        "fact: {0,1}.weight: 64 values are drawn and thrown away, 47.1 % of all that are drawn (here); build the layers"
        " with torch.nn.utils.skip_init, or fill the model by key, which draws only what stays"
    ]


def test_draws_for_no_tensor_of_the_model_are_found() -> None:
    def build() -> nn.Module:
        nn.Linear(3, 3, bias=False)  # the lost layer
        return nn.Linear(9, 1, bias=False)

    (finding,) = found(build, "overwritten")
    assert finding.place == line_of("the lost layer", __file__)
    assert (finding.tensor, finding.what) == (
        "no tensor of the model",
        "9 values are drawn and thrown away, 50 % of all that are drawn",
    )


def test_small_shares_are_one_finding() -> None:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(1, 2, bias=False), nn.Linear(100, 100))
        nn.init.zeros_(model[0].weight)
        nn.init.zeros_(model[1].weight)
        return model

    (finding,) = found(build, "overwritten")
    assert (finding.tensor, finding.place) == ("{0,1}.weight", "")
    assert finding.what == "4 values are drawn and thrown away, less than 0.1 % of all that are drawn"


def test_draws_that_stay_are_not_found() -> None:
    def build() -> nn.Module:
        layer = nn.utils.skip_init(nn.Linear, 4, 8, bias=False)
        nn.init.normal_(layer.weight)
        return layer

    assert found(build, "overwritten") == []


# Copies of a draw.


def twice(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, copy.deepcopy(layer))


def test_copies_of_a_draw_are_found() -> None:
    assert lines(lambda: twice(nn.Linear(3, 4)), "copied") == [
        "fact: {0,1}.weight, {0,1}.bias: they have equal values, since they are copies of one draw, and are not tied"
        " (here); build each layer anew if they are to differ"
    ]


def tied() -> nn.Module:
    first = nn.Linear(3, 3)
    second = nn.Linear(3, 3)
    second.weight = first.weight
    return nn.Sequential(first, second)


def copied_then_drawn() -> nn.Module:
    model = twice(nn.Linear(3, 4, bias=False))
    for layer in model:
        layer.reset_parameters()
    return model


def scaled_copy() -> nn.Module:
    model = twice(nn.Linear(3, 4, bias=False))
    with torch.no_grad():
        model[1].weight.mul_(2)
    return model


@pytest.mark.parametrize("build", [tied, copied_then_drawn, scaled_copy, lambda: twice(nn.LayerNorm(3))])
def test_tied_redrawn_changed_and_constant_tensors_are_no_copies(build: Build) -> None:
    assert found(build, "copied") == []


# From outside torch.


def noisy() -> Tensor:
    return torch.tensor([random.random() for _ in range(3)])


def test_a_draw_from_outside_is_found() -> None:
    assert lines(lambda: Part(noisy), "outside") == [
        "fault: random.random gives other values each time the model is built (here);"
        " draw with torch, so that a seed or a key decides the values"
    ]


def test_a_file_that_is_read_is_a_fact(tmp_path: Any) -> None:
    torch.save(torch.ones(3), tmp_path / "table.pt")
    (finding,) = found(lambda: Part(lambda: torch.load(tmp_path / "table.pt")), "outside")
    assert (finding.severity, finding.what) == ("fact", f"reads the file {tmp_path / 'table.pt'}")


def test_tensors_that_differ_between_two_recordings_are_found() -> None:
    numbers = iter(range(9))

    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 4))
        nn.init.normal_(model[1].weight, std=0.02 + next(numbers))  # the other number
        return model

    (finding,) = found(build, "outside", again=build)
    assert (finding.tensor, finding.place) == ("1.weight", line_of("the other number", __file__))
    assert finding.what == "two recordings of the same code fill it in different ways"


@pytest.mark.parametrize(
    "make",
    [lambda n: torch.tensor([1.0, n]), lambda n: torch.rand(n + 1), lambda n: torch.manual_seed(n) and torch.rand(3)],
)
def test_other_constants_sizes_and_seeds_differ(make: Callable[[int], Tensor]) -> None:
    assert [x.tensor for x in found(lambda: Part(lambda: make(1)), "outside", lambda: Part(lambda: make(2)))] == [
        "weight"
    ]
    assert found(lambda: Part(lambda: make(1)), "outside", lambda: Part(lambda: make(1))) == []
