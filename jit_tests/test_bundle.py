"""Is the source of the bundles, run as plain Python, what the functions do?"""

import inspect
from typing import Any

import pytest
import torch

import torchinit
from tests.support.keyed_records import CALLS as KEYED_CALLS
from tests.support.records import CALLS, call_id
from tools.codegen.deployed import PREFIX, deployed
from tools.codegen.functions import TABLE
from torchinit import keyed
from torchinit.deploy._bundle import Bundle, MobileBundle

KEY = keyed.key(3)
OTHERS: dict[str, tuple[Any, ...]] = {
    "calculate_gain": ("leaky_relu", 0.2),
    "fans": ([6, 4, 3], 2, True),
    "depth_scaled_std": (0.02, 12),
    "_calculate_fan_in_and_fan_out": (torch.empty(3, 4),),
    "_calculate_correct_fan": (torch.empty(3, 4), "fan_out"),
}
KEYS: dict[str, tuple[Any, ...]] = {
    "key": (5,),
    "split": (KEY, 3),
    "fold_in": (KEY, 7),
    "fold_in_name": (KEY, "a.weight"),
}


@pytest.mark.parametrize(("record", "arguments"), [(r, a) for r, a in CALLS if r.name == r.current_name], ids=call_id)
def test_method_fills_as_its_function(record: Any, arguments: dict[str, Any]) -> None:
    drawn = []
    for call in (record.function, getattr(Bundle(), record.name), getattr(MobileBundle(), record.name)):
        seeded = {"seed": 4} if "seed" in inspect.signature(call).parameters else {}
        if record.takes_generator and not seeded:
            seeded = {"generator": torch.Generator().manual_seed(4)}
        weight = torch.zeros(record.shape)
        assert call(weight, **arguments, **seeded) is weight
        drawn.append(weight)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("call", KEYED_CALLS, ids=str)
def test_keyed_method_fills_as_its_function(call: Any) -> None:
    expected = call(torch.zeros(call.shape), KEY)
    for bundle in (Bundle(), MobileBundle()):
        assert torch.equal(
            getattr(bundle, PREFIX + call.name)(torch.zeros(call.shape), KEY, **call.arguments), expected
        )


def test_methods_that_fill_nothing_return_what_their_functions_do() -> None:
    for bundle in (Bundle(), MobileBundle()):
        for name, arguments in OTHERS.items():
            assert getattr(bundle, name)(*arguments) == getattr(torchinit, name)(*arguments)
        for name, arguments in KEYS.items():
            expected = getattr(keyed, name.removesuffix("_name"))(*arguments)
            assert torch.equal(getattr(bundle, name)(*arguments), expected)
    tried = {*OTHERS, *KEYS, *(r.name for r, _ in CALLS), *(PREFIX + call.name for call in KEYED_CALLS)}
    assert {function.name for function in deployed(TABLE)} <= tried


def test_seed_of_a_tensor_without_data_makes_no_generator() -> None:
    meta = torch.empty(3, device="meta")
    assert MobileBundle().uniform_(meta, seed=4) is meta
