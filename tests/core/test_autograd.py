"""Is each fill a no-grad write that autograd still notices?"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import torchinit
from tests.support.layouts import FLOATING
from tests.support.oracle import oracle
from tests.support.outcome import Outcome, observe
from tests.support.record import Record
from tests.support.records import CALLS, RECORDS, call_id


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
def test_fake_tensor_is_returned_and_draws_the_same_as_upstream(record: Record, arguments: dict) -> None:
    def under_fake_mode(function: Callable[..., Tensor], dtype: torch.dtype, with_generator: bool) -> Outcome:
        mode = FakeTensorMode()

        def call(tensor: Tensor, **arguments: object) -> Tensor:
            with mode:
                return function(tensor, **arguments)

        with mode:
            tensor = torch.empty(record.shape, dtype=dtype)
        return observe(call, tensor, arguments, with_generator)

    for dtype, with_generator in zip(FLOATING, itertools.cycle((False, record.takes_generator)), strict=False):
        outcome = under_fake_mode(record.function, dtype, with_generator)
        assert outcome.error is None
        assert outcome.returned_itself
        # Upstream's rejection sampler cannot run on a fake tensor, and its sparse_ ignores its generator.
        if (
            record.upstream
            and record.current_name != "trunc_normal_"
            and not (record.current_name == "sparse_" and with_generator)
        ):
            assert not outcome.differences(under_fake_mode(oracle(record), dtype, with_generator))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # clamp_ has no batching rule
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_ensemble_of_vmap_is_filled_member_by_member(record: Record, arguments: dict, seed: int) -> None:
    members = torch.full((3, *record.shape), 7.0)
    torch.manual_seed(seed)
    torch.vmap(lambda w: record.function(w, **arguments), randomness="different")(members)
    assert not (members == 7.0).any()
    assert torch.isfinite(members).all()
    generator = {"generator": torch.Generator().manual_seed(0)} if record.takes_generator else {}
    one = record.function(torch.full(record.shape, 7.0), **arguments, **generator)
    other = record.function(torch.full(record.shape, 7.0), **arguments, **generator)
    if torch.equal(one, other):
        assert all(torch.equal(member, one) for member in members)
    else:
        assert not torch.equal(members[0], members[1])
        assert not torch.equal(members[1], members[2])


def test_forward_mode_tangent_is_kept() -> None:
    # detach() keeps the tangent; upstream's no_grad zeroes it too.
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(torch.ones(3), torch.ones(3))
        torchinit.zeros_(dual)
        primal, tangent = torch.autograd.forward_ad.unpack_dual(dual)
    assert not primal.any()
    assert tangent is not None
    assert tangent.all()


def test_sparse_tensor_is_zeroed() -> None:
    tensor = torch.eye(3).to_sparse()
    assert torchinit.zeros_(tensor) is tensor
    assert not tensor.to_dense().any()


@pytest.mark.parametrize("record", RECORDS, ids=call_id)
def test_backward_sees_the_old_weight_where_mutation_is_allowed(record: Record) -> None:
    weight = torch.nn.Parameter(torch.ones(record.shape))
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        loss = (weight * weight).sum()
        record.function(weight, **record.calls[0])
        loss.backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.full(record.shape, 2.0))
    assert not torch.equal(weight, torch.ones(record.shape)) or record.current_name == "ones_"


@pytest.mark.parametrize("record", RECORDS, ids=call_id)
def test_functional_call_fills_the_weight_that_it_was_given(record: Record) -> None:
    class Refill(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full(record.shape, 7.0))

        def forward(self) -> Tensor:
            return record.function(self.weight, **record.calls[0])

    module, given = Refill(), torch.full(record.shape, 5.0)
    torch.manual_seed(1)
    assert torch.func.functional_call(module, {"weight": given}, ()) is given
    torch.manual_seed(1)
    assert torch.equal(given, record.function(torch.full(record.shape, 5.0), **record.calls[0]))
    assert bool((module.weight == 7.0).all())


@pytest.mark.parametrize("record", RECORDS, ids=call_id)
def test_gradient_transform_treats_a_refilled_weight_as_a_constant(record: Record) -> None:
    def loss(x: Tensor) -> Tensor:
        return (record.function(torch.empty(record.shape), **record.calls[0]) * x).sum()

    torch.manual_seed(1)
    gradient = torch.func.grad(loss)(torch.ones(record.shape))
    torch.manual_seed(1)
    assert torch.equal(gradient, record.function(torch.empty(record.shape), **record.calls[0]))


@pytest.mark.parametrize("record", [record for record in RECORDS if record.takes_generator], ids=call_id)
def test_eight_threads_with_own_generators_draw_the_same_as_one_thread(record: Record) -> None:
    def fill(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        shape = (72, 70, *record.shape[2:])
        weights = [record.function(torch.zeros(shape), **record.calls[0], generator=generator) for _ in range(5)]
        return torch.stack(weights)

    alone = [fill(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(fill, range(8)))
    assert all(torch.equal(one, other) for one, other in zip(alone, together))
    assert not torch.equal(alone[0], alone[1])
