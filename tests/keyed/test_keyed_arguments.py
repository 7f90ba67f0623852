"""Do keyed functions take what can be meant exactly, under vmap too, and refuse anything else in one sentence?"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functionalize, vmap

from tests.support.keyed_records import CALLS, ROWS, KeyedCall
from torchinit import keyed, recipes

# clamp_ has no batching rule, so torch warns that it is slow.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
KEY = keyed.key(5)
KEYS = keyed.split(KEY, 3)
FIRST_CALLS = [next(call for call in CALLS if call.name == name) for name in ROWS]
every_function = pytest.mark.parametrize("call", FIRST_CALLS, ids=lambda call: call.name)

# Seeds, and the data of fold_in.

NUMBERS = [np.int64(3), np.uint8(3), np.uint64(2**64 - 1), torch.tensor(-3), torch.tensor(7, dtype=torch.uint8), True]


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_integer_of_numpy_or_a_tensor_is_that_integer(number: Any) -> None:
    plain = operator.index(number)
    assert torch.equal(keyed.key(number), keyed.key(plain))
    assert keyed.key(number).dtype == torch.int64
    for key in (KEY, KEYS, KEY.view(torch.uint64)):
        derived = keyed.fold_in(key, number)
        assert derived.dtype == key.dtype
        assert torch.equal(derived.view(torch.int64), keyed.fold_in(key, plain).view(torch.int64))


WRONG_NUMBERS = [
    (None, "NoneType"),
    (1.5, "float"),
    (np.float32(1.0), "float32"),
    (b"a", "bytes"),
    ([1], "list"),
    (torch.tensor([3]), r"a tensor of torch\.int64 and shape \[1\]"),
    (torch.tensor(1.5), r"a tensor of torch\.float32 and shape \[\]"),
    (torch.tensor(True), r"a tensor of torch\.bool and shape \[\]"),
]


@pytest.mark.parametrize(("number", "got"), WRONG_NUMBERS, ids=lambda value: str(value))
def test_anything_else_is_refused(number: Any, got: str) -> None:
    with pytest.raises(TypeError, match=rf"^key needs an integer for a seed, got {got}$"):
        keyed.key(number)
    with pytest.raises(TypeError, match=rf"^fold_in needs an integer or a name, got {got}$"):
        keyed.fold_in(KEY, number)


def test_name_is_no_seed() -> None:
    with pytest.raises(TypeError, match=r"^key needs an integer for a seed, got str$"):
        keyed.key("a")  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_integer_of_more_than_64_bits_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=r"^seed must be in \[-2\*\*63, 2\*\*64 - 1\], got "):
        keyed.key(number)


# Keys.

WRONG_KEYS = [(42, "42"), (None, "NoneType"), ("a", "str"), (1.5, "float"), (np.int64(1), "int64"), ([0, 1], "list")]


@pytest.mark.parametrize(("key", "got"), WRONG_KEYS, ids=lambda value: str(value))
def test_something_else_than_a_key_is_refused_with_the_name_of_the_function(key: Any, got: str) -> None:
    message = rf" needs a key, which keyed\.key\(seed\) makes, got {got}$"
    for call in FIRST_CALLS:
        tensor = torch.zeros(call.shape)
        with pytest.raises(TypeError, match=f"^{call.name}{message}"):
            call(tensor, key)
        assert not tensor.any()
    for name in ("split", "fold_in"):
        with pytest.raises(TypeError, match=f"^{name}{message}"):
            getattr(keyed, name)(key, 1)


def test_recipe_refuses_a_seed_for_a_key() -> None:
    layer = nn.Linear(3, 3)
    before = layer.weight.clone()
    with pytest.raises(TypeError, match=r"^apply_ needs a key, which keyed\.key\(seed\) makes, got 42$"):
        recipes.torch_default().apply_(layer, key=42)  # type: ignore[arg-type]
    assert torch.equal(layer.weight, before)


@every_function
@pytest.mark.parametrize(
    ("tensor", "got"),
    [(nn.Linear(3, 3), "Linear; pass its weight or bias"), (np.zeros((3, 3)), "ndarray"), (None, "NoneType")],
    ids=lambda value: str(value),
)
def test_something_else_than_a_tensor_is_refused(call: KeyedCall, tensor: Any, got: str) -> None:
    with pytest.raises(TypeError, match=rf"^{call.name} needs a tensor, got {got}$"):
        call(tensor, KEY)


# Pieces.


@pytest.mark.parametrize(
    ("size", "begin"),
    [([2**63 - 1, 2**63 - 1], [0, 0]), ([2**32, 2**31], [0, 0]), ([2**62, 2], [2**62 - 3, 0])],
    ids=str,
)
def test_whole_of_more_values_than_64_bits_count_is_refused(size: list[int], begin: list[int]) -> None:
    tensor = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"^full_size must have fewer than 2\*\*63 values, got \["):
        keyed.normal_(tensor, KEY, full_size=size, offset=begin)
    assert not tensor.any()


@pytest.mark.parametrize("begin", [[2**63 - 1, 0], [2**62, 0], [0, 2**63 - 1]], ids=str)
def test_piece_that_begins_too_late_is_refused(begin: list[int]) -> None:
    with pytest.raises(ValueError, match=r"must lie within full_size, got"):
        keyed.normal_(torch.zeros(2, 2), KEY, full_size=[2**62, 2], offset=begin)


def test_complex_whole_counts_twice() -> None:
    last = {"full_size": [2**62 - 1], "offset": [2**62 - 3]}
    assert keyed.normal_(torch.zeros(2), KEY, full_size=[2**63 - 1], offset=[2**63 - 3]).all()
    assert keyed.normal_(torch.zeros(2, dtype=torch.complex64), KEY, **last).all()
    with pytest.raises(ValueError, match="fewer than"):
        keyed.normal_(torch.zeros(2, dtype=torch.complex64), KEY, full_size=[2**62])
    assert keyed.normal_(torch.zeros(0, 2), KEY, full_size=[0, 2**63 - 1]).numel() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=str)
def test_size_of_a_tensor_is_a_full_size(dtype: torch.dtype) -> None:
    whole = keyed.normal_(torch.empty(4, 3, dtype=dtype), KEY)
    piece = keyed.normal_(torch.empty(2, 3, dtype=dtype), KEY, full_size=whole.shape, offset=torch.Size([2, 0]))
    assert torch.equal(piece, whole[2:])


# Lazy views.

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "conjugate": torch.conj,
    "transposed conjugate": lambda w: w.mT.contiguous().mT.conj(),
    "negative": lambda w: w.conj().imag,
    "negative complex": torch._neg_view,
    "negative conjugate": lambda w: torch._neg_view(w).conj(),
}


@every_function
@pytest.mark.parametrize("view", VIEWS)
def test_lazy_view_reads_as_a_plain_tensor_filled_by_the_key(call: KeyedCall, view: str) -> None:
    lazy = VIEWS[view](torch.zeros(call.shape, dtype=torch.complex64))
    plain = torch.zeros_like(lazy).resolve_conj().resolve_neg()
    assert lazy.is_conj() or lazy.is_neg()
    assert not plain.is_conj()
    assert not plain.is_neg()
    try:
        expected = call(plain, KEY)
    except NotImplementedError:  # a truncated normal
        with pytest.raises(NotImplementedError, match="needs a floating-point tensor"):
            call(lazy, KEY)
        return
    assert torch.equal(call(lazy, KEY), expected)


# Transforms.


def _each(call: KeyedCall) -> Tensor:
    return torch.stack([call(torch.empty(call.shape), key) for key in KEYS])


@every_function
def test_batch_is_filled_by_its_keys(call: KeyedCall) -> None:
    run = lambda tensor, key: call(tensor, key)  # noqa: E731
    expected = _each(call)
    assert torch.equal(vmap(run)(torch.empty(3, *call.shape), KEYS), expected)
    assert torch.equal(vmap(vmap(run))(torch.empty(1, 3, *call.shape), KEYS[None])[0], expected)
    assert torch.equal(functionalize(run)(torch.empty(call.shape), KEYS[1]), expected[1])
    assert torch.equal(vmap(lambda tensor: run(tensor, KEYS[2]))(torch.empty(2, *call.shape))[1], expected[2])


@every_function
def test_tensor_made_by_new_empty_of_the_key_is_batched(call: KeyedCall) -> None:
    drawn = vmap(lambda key: call(key.new_empty(call.shape, dtype=torch.float32), key))(KEYS)
    assert torch.equal(drawn, _each(call))


@every_function
def test_tensor_that_vmap_does_not_map_over_is_refused(call: KeyedCall) -> None:
    shared = torch.zeros(call.shape)
    message = rf"^{call.name} under vmap needs a tensor for each key, got one that vmap does not map over; make it by"
    with pytest.raises(RuntimeError, match=message):
        vmap(lambda key: call(torch.empty(call.shape), key))(KEYS)
    with pytest.raises(RuntimeError, match=message):
        vmap(lambda key: call(shared, key))(KEYS)
    with pytest.raises(RuntimeError, match=message):
        vmap(lambda tensor: vmap(lambda key: call(tensor, key))(KEYS))(torch.empty(2, *call.shape))
    assert not shared.any()


def test_keys_are_derived_under_vmap() -> None:
    assert torch.equal(vmap(lambda number: keyed.fold_in(KEY, number))(torch.arange(3)), KEYS)
    assert torch.equal(vmap(keyed.key)(torch.arange(3)), torch.tensor([[0, 0], [1, 0], [2, 0]]))
    each = torch.stack([keyed.fold_in(key, index) for index, key in enumerate(KEYS)])
    assert torch.equal(vmap(keyed.fold_in)(KEYS, torch.arange(3)), each)
    assert torch.equal(vmap(lambda key: keyed.fold_in(key, "a"))(KEYS), keyed.fold_in(KEYS, "a"))
    assert torch.equal(vmap(lambda key: keyed.split(key, 2))(KEYS), torch.stack([keyed.split(key, 2) for key in KEYS]))


def test_bounds_that_the_dtype_cannot_hold_are_refused() -> None:
    for dtype, bound in (
        (torch.float16, 1e5),
        (torch.float32, 1e39),
        (torch.float32, 3e38),
        (torch.bfloat16, 3.395e38),
    ):
        weight = torch.zeros(3, dtype=dtype)
        with pytest.raises(RuntimeError, match=r"uniform_ expects .* dtype holds"):
            keyed.uniform_(weight, KEY, -bound, bound)
        assert not weight.any()
    assert keyed.uniform_(torch.zeros(3, dtype=torch.float64), KEY, -1e39, 1e39).isfinite().all()


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1])
def test_more_than_64_bits_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match=rf"seed must be in .*, got {value}"):
        keyed.key(value)
    with pytest.raises(ValueError, match=rf"data must be in .*, got {value}"):
        keyed.fold_in(KEY, value)
