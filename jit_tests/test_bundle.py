"""Does each method of the bundles call its function with the right arguments and defaults?"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from expecttest import assert_expected_inline

import torchinit
from jit_tests.scripting import reloaded, unoptimized
from tests.support.keyed_records import CALLS as KEYED_CALLS
from tests.support.records import CALLS, call_id
from tools.codegen.deployed import PREFIX, deployed, interface
from tools.codegen.functions import TABLE
from torchinit import keyed
from torchinit._core import torchscript
from torchinit.deploy import _bundle, bundle, mobile_bundle

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


@pytest.fixture(scope="module")
def bundles() -> Iterator[tuple[Any, Any]]:
    with unoptimized():
        yield reloaded(bundle()), reloaded(mobile_bundle())


@pytest.mark.parametrize(("record", "arguments"), [(r, a) for r, a in CALLS if r.name == r.current_name], ids=call_id)
def test_method_fills_like_its_function(record: Any, arguments: dict[str, Any], bundles: tuple[Any, Any]) -> None:
    drawn = []
    for call, mobile in zip((record.function, *(getattr(b, record.name) for b in bundles)), (False, False, True)):
        seeded: dict[str, Any] = {}
        if record.takes_generator:
            seeded = {"seed": 4} if mobile else {"generator": torch.Generator().manual_seed(4)}
        weight = torch.zeros(record.shape)
        assert call(weight, **arguments, **seeded) is weight
        drawn.append(weight)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("call", KEYED_CALLS, ids=str)
def test_keyed_method_fills_like_its_function(call: Any, bundles: tuple[Any, Any]) -> None:
    expected = call(torch.zeros(call.shape), KEY)
    for module in bundles:
        method = getattr(module, PREFIX + call.name)
        assert torch.equal(method(torch.zeros(call.shape), KEY, **call.arguments), expected)


def test_methods_that_fill_nothing_return_the_same_as_their_functions(bundles: tuple[Any, Any]) -> None:
    for module in bundles:
        for name, arguments in OTHERS.items():
            assert getattr(module, name)(*arguments) == getattr(torchinit, name)(*arguments)
        for name, arguments in KEYS.items():
            expected = getattr(keyed, name.removesuffix("_name"))(*arguments)
            assert torch.equal(getattr(module, name)(*arguments), expected)
    tried = {*OTHERS, *KEYS, *(r.name for r, _ in CALLS), *(PREFIX + call.name for call in KEYED_CALLS)}
    assert {function.name for function in deployed(TABLE)} <= tried


def test_methods_follow_the_registrys_order_and_the_digests_agree(bundles: tuple[Any, Any]) -> None:
    # The header calls methods by index and compares the digest.
    assert list(_bundle.methods()) == [function.name for function in deployed(TABLE)]
    assert _bundle.interface() == interface(TABLE)
    assert {module.interface for module in bundles} == {interface(TABLE)}


def test_source_of_a_method() -> None:
    assert_expected_inline(
        _bundle.source("normal_", torchinit.normal_) + _bundle.source("normal_", torchinit.normal_, mobile=True),
        """\
def normal_(self, tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None):
    return normal_(tensor, mean, std, generator)
def normal_(self, tensor: Tensor, mean: float = 0.0, std: float = 1.0, seed: int | None = None):
    return normal_(tensor, mean, std, seeded(tensor, seed))
""",
    )


def test_second_bundle_has_the_methods_of_the_first(bundles: tuple[Any, Any]) -> None:
    again = bundle()
    assert again is not bundles[0]
    assert torch.equal(again.ones_(torch.empty(2)), torch.ones(2))


def test_seed_makes_a_generator_except_for_a_tensor_without_data(bundles: tuple[Any, Any]) -> None:
    weight, meta = torch.empty(3), torch.empty(3, device="meta")
    generator = torchscript.seeded(weight, 4)
    assert generator is not None
    assert generator.initial_seed() == 4
    assert torchscript.seeded(weight, None) is None
    assert torchscript.seeded(meta, 4) is None
    assert bundles[1].uniform_(meta, seed=4) is meta
