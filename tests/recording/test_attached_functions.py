"""Do the functions that an attached method calls do the same in eager code, where they can be looked at?"""

import pytest
import torch
from torch import nn

from torchinit import keyed
from torchinit._core.attached import expression, unwrap_optional
from torchinit.recording._scripted import derived, opened, placed, refused, seed_again, viewed


def test_opened_storage_is_the_tensors_own_memory_if_that_is_laid_out_as_recorded() -> None:
    weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    own = opened(weight, 6, torch.float32, [3, 1])
    assert own.data_ptr() == weight.data_ptr()
    assert not own.requires_grad
    for dtype, stride in ((torch.float64, [3, 1]), (torch.float32, [1, 2])):
        other = opened(weight, 6, dtype, stride)
        assert other.data_ptr() != weight.data_ptr()
        assert torch.equal(other.as_strided((2, 3), stride).float(), weight)


def test_view_counts_from_where_the_storage_begins() -> None:
    storage = torch.arange(10.0)[2:]
    assert viewed(storage, False, 1, [2, 2], [2, 1]).tolist() == [[3, 4], [5, 6]]
    assert viewed(torch.tensor([1 + 2j]), True, 0, [1], [1]).tolist() == [1 - 2j]


def test_values_are_copied_unless_they_are_in_place() -> None:
    weight = nn.Parameter(torch.zeros(2, 3))
    assert placed(weight, weight.detach().as_strided((2, 3), (3, 1))) is weight
    assert weight._version == 0
    assert placed(weight, torch.ones(2, 3, dtype=torch.float64)).tolist() == [[1, 1, 1]] * 2
    assert weight._version == 1


def test_given_generator_or_the_default_one_is_seeded() -> None:
    generator = torch.Generator()
    with torch.random.fork_rng(devices=[]):
        seed_again(None, 3)
        seed_again(generator, 3)
        assert torch.equal(generator.get_state(), torch.get_rng_state())


def test_first_draw_has_the_key_of_the_name_and_a_later_one_of_its_number() -> None:
    named = keyed.fold_in(keyed.key(0), "weight")
    assert torch.equal(derived(keyed.key(0), "weight", 0), named)
    assert torch.equal(derived(keyed.key(0), "weight", 2), keyed.fold_in(named, 2))


def test_refused_raises_its_message() -> None:
    with pytest.raises(RuntimeError, match="as it says"):
        refused("as it says")


def test_expression_unwraps_a_parameter_that_may_be_none() -> None:
    weight, names = nn.Linear(2, 3), {"unwrap_optional": unwrap_optional}
    assert eval(expression("0.bias"), {**names, "self": nn.Sequential(weight)}) is weight.bias
    with pytest.raises(AssertionError):
        eval(expression("bias"), {**names, "self": nn.Linear(2, 3, bias=False)})
