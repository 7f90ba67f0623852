"""Is the write a no-grad write that autograd still notices, on every record?"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import torchinit
from tests.observe import Outcome, observe
from tests.oracle import oracle
from tests.records import CALLS, RECORDS, Record, call_id


@pytest.mark.parametrize("record", RECORDS, ids=call_id)
def test_backward_notices_that_a_saved_weight_was_refilled(record: Record) -> None:
    weight = torch.nn.Parameter(torch.ones(record.shape))
    loss = (weight * weight).sum()
    record.function(weight, **record.calls[0])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("record", RECORDS, ids=call_id)
def test_refilled_parameter_trains(record: Record) -> None:
    weight = torch.nn.Parameter(torch.ones(record.shape))
    record.function(weight, **record.calls[0])
    (weight * 2).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.full(record.shape, 2.0))


@pytest.mark.parametrize("make", [lambda w: w[:2], lambda w: w.view(-1)[3:], lambda w: w.T], ids=["rows", "flat", "T"])
def test_view_of_a_parameter_is_written_in_place(make: Callable[[Tensor], Tensor]) -> None:
    weight = torch.nn.Parameter(torch.zeros(5, 7))
    view = make(weight)
    torchinit.ones_(view)
    assert torch.equal(view, torch.ones_like(view))
    assert weight.sum().item() == view.numel()


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_fake_tensor_comes_back_and_draws_what_upstream_draws(record: Record, arguments: dict) -> None:
    def under_fake_mode(function: Callable[..., Tensor]) -> Outcome:
        mode = FakeTensorMode()

        def call(tensor: Tensor, **arguments: object) -> Tensor:
            with mode:
                return function(tensor, **arguments)

        with mode:
            tensor = torch.empty(record.shape)
        return observe(call, tensor, arguments)

    outcome = under_fake_mode(record.function)
    assert outcome.error is None
    assert outcome.returned_itself
    if record.current_name != "trunc_normal_":  # upstream's rejection sampler cannot run on a fake tensor
        assert not outcome.differences(under_fake_mode(oracle(record)))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # clamp_ has no batching rule
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_ensemble_of_vmap_is_filled_member_by_member(record: Record, arguments: dict, seed: int) -> None:
    members = torch.full((3, *record.shape), 7.0)
    torch.manual_seed(seed)
    torch.vmap(lambda w: record.function(w, **arguments), randomness="different")(members)
    reference = record.function(torch.full(record.shape, 7.0), **arguments)
    assert not (members == 7.0).any()
    assert torch.isfinite(members).all()
    if record.takes_generator and reference.unique().numel() > 5:
        assert not torch.equal(members[0], members[1])
    else:
        assert all(torch.equal(member, reference) for member in members) or record.takes_generator
