"""Does a compiled initializer draw eager's values on a GPU?"""

import functools
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor
from torch.testing import assert_close

import torchinit
from tests.support.gpu import DEVICE, blank, tolerance
from tests.support.keyed_records import CALLS, KeyedCall
from torchinit import keyed

KEY = torch.tensor([42, 2**32 - 3])
SHAPE = (513, 65)


def _call(name: str, **arguments: Any) -> KeyedCall:
    record = next(call.record for call in CALLS if call.name == name)
    return KeyedCall(record, arguments)


def _compiled(call: KeyedCall, dtype: torch.dtype, key: Tensor) -> Tensor:
    torch.compiler.reset()
    return torch.compile(call, fullgraph=True)(blank(SHAPE, dtype), key)


@pytest.mark.parametrize("where", ["cpu", "device"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_uniform_values_are_eagers(dtype: torch.dtype, where: str) -> None:
    call, key = _call("uniform_"), KEY if where == "cpu" else KEY.to(DEVICE)
    assert torch.equal(_compiled(call, dtype, key), call(blank(SHAPE, dtype), key))


BOUNDED = [_call("uniform_", a=-2.0, b=3.0), _call("kaiming_uniform_")]


@pytest.mark.parametrize("call", BOUNDED, ids=str)
def test_uniform_values_within_bounds_are_eagers_to_a_rounding(call: KeyedCall) -> None:
    # Triton fuses the multiplication and the addition: seen on an H200.
    expected = call(blank(SHAPE), KEY)
    step = float(expected.abs().max()) * torch.finfo(torch.float32).eps
    assert_close(_compiled(call, torch.float32, KEY.to(DEVICE)), expected, rtol=0.0, atol=step)


@pytest.mark.parametrize("call", BOUNDED, ids=str)
def test_uniform_values_within_bounds_are_eagers_if_inductor_rounds_as_eager(call: KeyedCall) -> None:
    # Inductor then fuses no multiplication with an addition.
    with torch._inductor.config.patch(emulate_precision_casts=True):
        assert torch.equal(_compiled(call, torch.float32, KEY.to(DEVICE)), call(blank(SHAPE), KEY))


@pytest.mark.parametrize("call", [_call("normal_"), _call("sparse_", sparsity=0.4), _call("orthogonal_")], ids=str)
def test_other_keyed_values_are_eagers_within_4_ulp(call: KeyedCall) -> None:
    expected = call(blank(SHAPE), KEY)
    assert_close(_compiled(call, torch.float32, KEY.to(DEVICE)), expected, **tolerance(call, torch.float32))


def test_truncated_normal_values_are_eagers_to_a_rounding_of_their_uniform_numbers() -> None:
    call = _call("trunc_normal_")
    # Two roundings of a number below 1; the slope of the inversion is at most 10 within 2 standard deviations.
    step = 10 * torch.finfo(torch.float32).eps
    assert_close(_compiled(call, torch.float32, KEY.to(DEVICE)), call(blank(SHAPE), KEY), rtol=0.0, atol=step)


SEEDED: dict[str, Any] = {
    "uniform_": functools.partial(torchinit.uniform_, a=-2.0, b=3.0),
    "kaiming_uniform_": torchinit.kaiming_uniform_,
    "xavier_normal_": torchinit.xavier_normal_,
    "orthogonal_": torchinit.orthogonal_,
    "eye_": torchinit.eye_,
    "identity_": functools.partial(torchinit.identity_, gain=0.3),
}


@torch._inductor.config.patch(fallback_random=True)
@pytest.mark.parametrize("name", SEEDED)
def test_seeded_values_are_eagers(name: str) -> None:
    torch.compiler.reset()
    drawn = []
    for function in (SEEDED[name], torch.compile(SEEDED[name], fullgraph=True)):
        torch.manual_seed(4)
        drawn.append(function(torch.full(SHAPE, 7.0, device=DEVICE)))
    assert torch.equal(*drawn)


@torch._inductor.config.patch(fallback_random=True)
def test_seeded_truncated_normal_values_are_eagers_within_4_ulp() -> None:
    torch.compiler.reset()
    drawn = []
    for function in (torchinit.trunc_normal_, torch.compile(torchinit.trunc_normal_, fullgraph=True)):
        torch.manual_seed(4)
        drawn.append(function(blank(SHAPE)))
    assert_close(*drawn, **tolerance(_call("trunc_normal_"), torch.float32))


def test_compiled_keys_are_eagers() -> None:
    def derive(key: Tensor) -> Tensor:
        return torch.cat([keyed.split(key, 3), keyed.fold_in(key, "a.weight").unsqueeze(0)])

    torch.compiler.reset()
    assert torch.equal(torch.compile(derive, fullgraph=True)(KEY.to(DEVICE)).cpu(), derive(KEY))
