"""Is a key's stream the Philox4x32-10 of torch 2.15's torch.func._random, for every piece, layout and path?"""

import itertools
import struct
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import vmap

from tests.support.outcome import ulps
from tests.support.pairwise import pairwise
from tests.support.philox_reference import philox, philox4x32
from tests.support.philox_words import philox_words
from torchinit import keyed
from torchinit.keyed import _fast_paths, fold_in, key, split

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
FILLS = [keyed.uniform_, keyed.normal_]


class Golden(NamedTuple):
    """Draws of torch 2.15.0 on CPU: twelve words, and nine values of each kind as big-endian bits."""

    seed: int
    offset: int
    words: str
    uniform_32: str  # on [-2, 3)
    normal_32: str
    uniform_64: str  # on [-2, 3)
    normal_64: str


GOLDEN = [
    Golden(
        0x0,
        0x0,
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8 f8e4cca4 5cb200db b1a574eb 097eff67 04faa329 51c732a6 241513ad 459135e4",
        "bf9c39ec 3d86de00 be934508 bffdda64 401dffcc 3fbd0224 3f9da44c 3ef5fa08 40394bf4",
        "3f7dbb34 bf6cb6ad bf1e1b9d bef6d1b7 be1d5354 3e392a66 3f54ec97 3e4a2da2 bf97da95",
        "bfe873d298ef2440 3ffb2ebf8382259c bff400651842fddc bff25bb46842817e 40014bf3a638ff50 "
        "3ff4b1312deb06ba 3fe4abcf13564740 bfe29f72ddb9c9ec 40053429ddf8edca",
        "bfbf1bcd549837e1 bff599bbd8a9eda7 bfb4f5b54df97ef2 bfcc81bafe55415e 3ffc6c3bebeb4e58 "
        "4001635ed724a531 bfe183d7dd057c8e bfdb0ac77286d581 3fd602d06234c679",
    ),
    Golden(
        0x2A,
        0x4,
        "539023bc d6cbaeb5 529f4963 3c58227f 5099d809 4b20b5d2 0d41b5e2 0a653407 39b9314c be3e422a 7aabd4bb 2eb8a992",
        "3f50b2ac 3ffd34c4 3f8e3778 be8ea708 3f809c16 bfae3973 bf377296 bcbf7b80 3fcefb3e",
        "3f4b5141 bfa25512 3e09fe3a 3fbfba75 bed1f5cf 3fbb62ef 4016b1ec 3f1d382e bd985e6a",
        "3fe0b2b031fa6988 40071bbc0b6e2b1e 40004e0b9de8e346 bffbb94ae602fdee 3ffefb3fdb9ba568 "
        "bfc361605992c098 4004e49dc2965fa6 bffefcd68bf359b6 bfd8c5e6a8088a10",
        "bfe521ba51ad6fba 3ff57c0a79f7d79e 3ff70c7541342051 3fdf1a4145394201 bffb6143068a1602 "
        "3fcccfed42fa2357 3ff353df04eedea6 3fe8a591225fa08b 3fed24c37ba25f59",
    ),
    Golden(
        0x123456789ABCDEF0,
        0x7,
        "2a23b679 84c69006 0481a097 0ae2270e 8c58db8a 04ef0284 73af9d31 0b712c8d 2f55d421 4b1b2d47 0422cd9b 315566bd",
        "bfa6b7d2 3ff06810 3f0822f4 401ab0d2 be876c9c 402ac324 3fb708fa 3e577b00 bea5b6b8",
        "bff17a2b be637988 402f76b0 3f40119b 3f8b5021 3e079e48 3f9b02b2 3eb2da95 befd4396",
        "bff6b7d0340f97f1 bffbee8664ca9e5d 3ffe24d90c55864a 3fdc23ea726bbd80 3ff692533bc3f132 "
        "bff8fdfc04aa7f28 3ff5ef6ec69fd0ba 3ff477222961accc bfcfdd700299cfc8",
        "3ffe351daa7eda71 3fcad67645546e14 bff0bf59667cda06 3fd4e2e2790c64ce 3ffd3f07fbfa7fa0 "
        "3fc7d520be1abf8c bfec4ccb3737f14d bfd2a1bfcaba0602 3ff146448b4aa937",
    ),
    Golden(
        0xFFFFFFFFFFFFFFFF,
        0xFFFFFFFF,
        "c25672de 7c03af71 c1b7863e 1d02bb96 85af3999 f0ea2a5e 1c58f27c 402bd930 8b1cc081 bb70a852 50957cf5 f23d29ad",
        "be9f8354 bff6c966 3fcacf9c bff92b09 3fb60ffe 4024b4f6 be868728 bf926108 bfb81ebe",
        "bf3d256f 3d947e8c 3f10b624 3ef9ca4f 3f880567 bed32f99 bc107edb 40064411 bdfc9e1f",
        "3ff81f2c3609369a 3ffacf9b4886d4f8 3fd840036925a7b0 3ffe5e36a06d9ef8 4003f0a22a4cd266 "
        "3ff5b866dd98e830 4007f44a7cb268a0 3fa2a09910cca880 3fee55952c3be1cc",
        "3fa0033d34d559fb bfe7bc5b1096f509 3febffb05400c69d 3fe76162a8020bbd bfdbfb9a575a36ac "
        "3ff03a335cbcd857 3ffdf3894e831ecb 3fd984f867707afa 3fa83433cd5dfe47",
    ),
    Golden(
        0x7,
        0x100000003,
        "27ece1ae afd1d392 c37d2005 9cd3c6ff 91ef500c 331dcd3c a7b82976 873bb8d4 2b8f02db b3366121 c11e16e8 ba12adee",
        "40281a1a 40064876 3ee34030 4008b8be 402b2410 bfb57eea 3fcc67a8 bf5563dc 3f4b0e48",
        "bf3ee009 bfe38d68 bf0ee155 bef464b1 3ea8cd06 3f80fa5f bf67bb65 be264f64 bf14bf24",
        "3f8a1a5bc6487600 400468070408b8be 3fd92079ff2a0458 3ffc67a852154e12 3fd61c95001fcb48 "
        "40059ca2e897596a 40074bc40df44d9a 3fc6e8bbb342b8c0 bfd1bb28ad134808",
        "3fc51a6c889c88d1 bffebb41337055db bfe30adc5ec81f0c bfec1413553b1424 3faa6d58ed044041 "
        "bffe1a01962f5fe7 bfda0fed8deb1647 3fc9281cf3e992ab bff5abb4b013c400",
    ),
]
# Seed, block and normal values of torch 2.15.0 that show the half step and its single rounding: the least and greatest
# first word and the least second word of 2^22 blocks, and 64 bits that are a tie.
FRAGILE_32 = [
    (0, 1767245, "bfcec979 c0ad0516 bfa56ed3 3f299bd6"),
    (0, 2407849, "3f25f9f0 36232b6f 3f5f72b8 3e58c4ea"),
    (0, 2470478, "379764b2 ba1cb229 be8ae269 be7e32f0"),
]
FRAGILE_64 = [
    (5, 427762, "3f9fc2e4134e89b8 3f817658dcd99a31"),
    (5, 396304, "bfef0e95b18c8b49 bf98f1d3e351c976"),
    (5, 474346, "3fed0e21bc9695ad bf9ba2bc62f160dc"),
    (0, 1767245, "c00a24e0b3f86848 401266cabeff3fe2"),
]
# seed, offset, data, and both words of fold_in
DERIVED = [
    (0, 0, 0, 0xE169C58D6627E8D5, 0x9B00DBD8BC57AC4C),
    (0, 0, 7, 0xAE45C73A8B31D31, 0x73DDF25EB856E2F8),
    (0, 0, 1000003, 0x1087D23F9592C3F8, 0xEF3A448F7BC9E8F7),
    (42, 0, 0, 0x77F5493B9CEAF053, 0x5742B3D712BF50AD),
    (42, 0, 7, 0x68784C855BBD83B1, 0x2E6B75B7172067AA),
    (42, 0, 1000003, 0xD061AEB28683A7B0, 0x232EEBDC6DC81A3F),
    (42, 5, 0, 0x4B20B5D25099D809, 0xA6534070D41B5E2),
    (42, 5, 7, 0x2C42E4D261722E9D, 0x27DC54017C82F20E),
    (42, 5, 1000003, 0xA79D0EF44D4B7DF3, 0xDDBB46A6571122FC),
]


def _key(seed: int, offset: int) -> Tensor:
    return torch.tensor([seed, offset], dtype=torch.uint64).view(torch.int64)


def _floats(golden: str, dtype: torch.dtype) -> Tensor:
    code = ">d" if dtype == torch.float64 else ">f"
    return torch.tensor([struct.unpack(code, bytes.fromhex(v))[0] for v in golden.split()], dtype=dtype)


@pytest.fixture(autouse=True)
def _pure_operators(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "native" not in request.node.name:
        monkeypatch.setattr(_fast_paths, "fill_uniform_", lambda *arguments: False)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden.seed}-{golden.offset}")
class TestGolden:
    """Compares one case with the golden values."""

    def test_words_are_those_of_torch(self, golden: Golden) -> None:
        words = philox_words(_key(golden.seed, golden.offset), 3)
        assert words.flatten().tolist() == [int(word, 16) for word in golden.words.split()]

    def test_uniform_values_are_those_of_torch_bit_for_bit(self, golden: Golden) -> None:
        for dtype, values in ((torch.float32, golden.uniform_32), (torch.float64, golden.uniform_64)):
            drawn = keyed.uniform_(torch.empty(9, dtype=dtype), _key(golden.seed, golden.offset), -2.0, 3.0)
            assert torch.equal(drawn, _floats(values, dtype))

    def test_normal_values_are_those_of_torch_within_4_ulp(self, golden: Golden) -> None:
        for dtype, values in ((torch.float32, golden.normal_32), (torch.float64, golden.normal_64)):
            drawn = keyed.normal_(torch.empty(9, dtype=dtype), _key(golden.seed, golden.offset))
            assert ulps(drawn, _floats(values, dtype)) <= 4


@pytest.mark.parametrize(("seed", "block", "values"), FRAGILE_32 + FRAGILE_64)
def test_the_uniform_values_behind_normal_ones_lie_in_the_middle_of_their_step(
    seed: int, block: int, values: str
) -> None:
    dtype = torch.float64 if (seed, block, values) in FRAGILE_64 else torch.float32
    expected = _floats(values, dtype)
    assert ulps(keyed.normal_(torch.empty_like(expected), _key(seed, block)), expected) <= 4


# Random123's kat_vectors: counter, key, words.
@pytest.mark.parametrize(
    ("counter", "halves", "words"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_the_reference_gives_the_known_answers_of_random123(counter: list[int], halves: list[int], words: str) -> None:
    assert philox4x32(counter, halves) == [int(word, 16) for word in words.split()]


def test_words_are_the_references_for_any_seed_and_any_counter_of_64_bits() -> None:
    generator = np.random.default_rng(0)
    edges = [0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]
    pairs = list(itertools.product(edges, edges)) + generator.integers(0, 2**64, (300, 2), np.uint64).tolist()
    keys = torch.stack([_key(seed, offset) for seed, offset in pairs])
    # Two blocks, so that the counter wraps; all keys at once, then some alone.
    for bits, words in zip(keys, philox_words(keys, 2).unbind(-1), strict=True):
        assert words.tolist() == [philox(bits, 0), philox(bits, 1)], bits
    for bits in keys[:81:7]:
        assert philox_words(bits, 2).tolist() == [philox(bits, 0), philox(bits, 1)], bits


@pytest.mark.skipif(not hasattr(torch.ops.aten, "_philox_randint_"), reason="torch has no stateless kernels to ask")
def test_a_million_values_are_those_of_the_installed_torch() -> None:
    for bits in (key(5), _key(2**64 - 3, 2**32 - 1000)):
        native = bits.view(torch.uint64)
        for dtype in (torch.float32, torch.float64):
            values = torch.empty(1_000_001, dtype=dtype)
            expected = torch.ops.aten._philox_uniform_(values.clone(), native, -0.1, 0.7)
            assert torch.equal(keyed.uniform_(values, bits, -0.1, 0.7), expected)
            assert ulps(keyed.normal_(values, bits), torch.ops.aten._philox_normal_(values.clone(), native)) <= 4
        assert torch.equal(split(native, 5), torch.ops.aten._philox_key_split(native, 5))


@pytest.mark.skipif(not hasattr(torch.ops.aten, "_philox_randint_"), reason="torch has no stateless kernels to use")
def test_native_kernel_serves_plain_tensors_only_and_changes_no_uniform_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = _key(3, 2**64 - 5)  # the counter wraps
    # Target, full size, offset, and whether the native kernel can fill it.
    cases = [
        (torch.empty(300, 7), [300, 7], [0, 0], True),
        (torch.empty(9, dtype=torch.float64), [9], [0], True),
        (torch.empty(()), [], [], True),
        (torch.empty(7, 300).t(), [300, 7], [0, 0], False),
        (torch.empty(40, dtype=torch.bfloat16), [40], [0], False),
        # Rows aligned to a block, rows that are not, and columns.
        (torch.empty(100, 7), [300, 7], [8, 0], True),
        (torch.empty(100, 7, dtype=torch.float64), [300, 7], [6, 0], True),
        (torch.empty(100, 7), [300, 7], [9, 0], False),
        (torch.empty(300, 4), [300, 8], [0, 4], False),
    ]
    for target, full_size, offset, able in cases:
        assert _fast_paths.fill_uniform_(target, bits, [-1.0, 2.0], full_size, offset) == able
        native = keyed.uniform_(target, bits, -1.0, 2.0, full_size, offset).clone()
        with monkeypatch.context() as patch:
            patch.setattr(_fast_paths, "_KERNEL_MATCHES", {torch.device("cpu"): False})
            assert torch.equal(keyed.uniform_(target, bits, -1.0, 2.0, full_size, offset), native)


def _fused(bits: Tensor, count: int, low: float, high: float) -> Tensor:
    low_32, high_32 = torch.tensor([low, high])
    return (keyed.uniform_(torch.empty(count), bits).double() * (high_32 - low_32).double() + low_32.double()).float()


def test_native_kernel_of_another_stream_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(torch.ops.aten, "_philox_randint_"):
        assert _fast_paths._kernel_matches(torch.device("cpu"))
    fake = type("Kernels", (), {})()
    # torch 2.13 on CUDA: the offset counts words.
    fake._philox_uniform_ = lambda w, k, low, high: keyed.uniform_(w, fold_in(k.view(torch.int64), 1), low, high)
    monkeypatch.setattr(_fast_paths, "fill_uniform_", lambda *arguments: False)
    monkeypatch.setattr(torch.ops, "aten", fake)
    assert not _fast_paths._kernel_matches(torch.device("cpu"))
    # A kernel that fuses multiplication and addition.
    fake._philox_uniform_ = lambda w, k, low, high: w.copy_(_fused(k.view(torch.int64), w.numel(), low, high))
    assert not _fast_paths._kernel_matches(torch.device("cpu"))
    fake._philox_uniform_ = lambda w, k, low, high: keyed.uniform_(w, k.view(torch.int64), low, high)
    assert _fast_paths._kernel_matches(torch.device("cpu"))


@pytest.mark.parametrize(("seed", "offset", "data", "first", "second"), DERIVED)
def test_derived_keys_are_those_of_torch(seed: int, offset: int, data: int, first: int, second: int) -> None:
    derived = fold_in(_key(seed, offset), data)
    assert torch.equal(derived, _key(first, second))
    if data < 8:
        assert torch.equal(split(_key(seed, offset), 8)[data], derived)


def test_a_batch_of_keys_is_split_and_folded_key_by_key() -> None:
    batch = split(key(3), 6).view(2, 3, 2)
    assert split(batch, 4).shape == (4, 2, 3, 2)
    assert torch.equal(split(batch, 4)[2, 1, 0], split(batch[1, 0], 4)[2])
    assert split(batch, 0).shape == (0, 2, 3, 2)
    assert split(key(3), 0).shape == (0, 2)
    assert torch.equal(fold_in(batch, 9)[0, 2], fold_in(batch[0, 2], 9))


def test_seeds_and_data_of_64_bits_are_taken_as_they_are() -> None:
    assert torch.equal(key(2**64 - 1), key(-1))
    assert torch.equal(fold_in(key(1), 2**64 - 5), fold_in(key(1), -5))
    for wrong in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match=r"must be in"):
            key(wrong)
        with pytest.raises(ValueError, match=r"must be in"):
            fold_in(key(1), wrong)


def test_a_uint64_key_draws_the_same_and_stays_uint64() -> None:
    signed, unsigned = key(2**64 - 9), key(2**64 - 9).view(torch.uint64)
    assert split(unsigned).dtype == fold_in(unsigned, 3).dtype == torch.uint64
    assert torch.equal(split(unsigned).view(torch.int64), split(signed))
    assert torch.equal(keyed.uniform_(torch.empty(9), unsigned), keyed.uniform_(torch.empty(9), signed))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("full", [(9, 7, 5), (8, 4, 4), (3, 1, 2), (6, 3, 1), (40,)], ids=str)
def test_every_piece_equals_that_part_of_the_whole(fill, dtype, full) -> None:  # type: ignore[no-untyped-def]
    bits = _key(11, 2**32 - 2)
    whole = fill(torch.empty(full, dtype=dtype), bits)
    assert torch.equal(whole.flatten(), fill(torch.empty(whole.numel(), dtype=dtype), bits))
    generator = np.random.default_rng(0)
    for _ in range(25):
        offset = [int(generator.integers(0, size)) for size in full]
        shape = [int(generator.integers(1, size - at + 1)) for size, at in zip(full, offset)]
        part = fill(torch.empty(shape, dtype=dtype), bits, full_size=list(full), offset=offset)
        box = tuple(slice(at, at + size) for at, size in zip(offset, shape))
        assert torch.equal(part, whole[box]), (shape, offset)


@pytest.mark.parametrize("fill", FILLS)
def test_a_sixteen_bit_value_is_the_float32_one_rounded_once(fill) -> None:  # type: ignore[no-untyped-def]
    values = fill(torch.empty(10_000), key(1), -0.3, 0.9)
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(fill(torch.empty(10_000, dtype=dtype), key(1), -0.3, 0.9), values.to(dtype))


@pytest.mark.parametrize("fill", FILLS)
def test_strides_do_not_matter(fill) -> None:  # type: ignore[no-untyped-def]
    for shape in ((700, 900), (4, 3, 50, 6)):
        whole = fill(torch.empty(shape), key(2))
        transposed = torch.empty(shape[::-1]).permute(*range(len(shape))[::-1])
        assert torch.equal(fill(transposed, key(2)), whole)
        spaced = torch.zeros([2 * size for size in shape])
        view = spaced[tuple(slice(None, None, 2) for _ in shape)]
        assert torch.equal(fill(view, key(2)), whole)
        assert int((spaced != 0).sum()) <= whole.numel()


@pytest.mark.parametrize("fill", FILLS)
def test_rows_of_a_larger_tensor_are_those_of_a_smaller_one(fill) -> None:  # type: ignore[no-untyped-def]
    assert torch.equal(fill(torch.empty(50, 33), key(2))[:20], fill(torch.empty(20, 33), key(2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fill", "dtype", "full_size"),
    # More values than a tile, and a row that is longer than one.
    pairwise(FILLS, (torch.float32, torch.float64), ((400, 1003), (2, 400_003))),
    # Workers must collect equal names.
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_neither_tiles_nor_threads_matter(fill, dtype, full_size) -> None:  # type: ignore[no-untyped-def]
    whole, drawn = list(full_size), []
    rows, columns = full_size
    threads = torch.get_num_threads()
    try:
        # A large piece is filled tile by tile, a small one at once. Columns take another path than rows.
        for count in (1, 2):
            torch.set_num_threads(count)
            drawn.append(fill(torch.empty(whole, dtype=dtype), key(4)))
            drawn.append(fill(torch.empty(rows, columns - 2, dtype=dtype), key(4), full_size=whole, offset=[0, 1]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(drawn[0], drawn[2])
    assert all(torch.equal(values, drawn[0][:, 1:-1]) for values in (drawn[1], drawn[3]))
    for row, column in ((0, 0), (rows - 1, columns - 99), (rows // 2, columns // 3)):
        part = fill(torch.empty(1, 99, dtype=dtype), key(4), full_size=whole, offset=[row, column])
        assert torch.equal(part[0], drawn[0][row, column : column + 99])


@pytest.mark.parametrize("fill", FILLS)
def test_an_ensemble_by_vmap_equals_the_loop(fill) -> None:  # type: ignore[no-untyped-def]
    keys = split(key(8), 5)
    loop = torch.stack([fill(torch.empty(7, 9), each, 0.5, 2.0) for each in keys])
    assert torch.equal(vmap(lambda w, k: fill(w, k, 0.5, 2.0))(torch.empty(5, 7, 9), keys), loop)
    part = vmap(lambda w, k: fill(w, k, 0.5, 2.0, [7, 9], [2, 1]))(torch.empty(5, 4, 3), keys)
    assert torch.equal(part, loop[:, 2:6, 1:4])
    assert torch.equal(vmap(lambda k: fold_in(k, 3))(keys), fold_in(keys, 3))


def test_a_small_piece_of_a_vast_tensor_costs_no_more_than_the_piece() -> None:
    full = [2**20, 2**20, 2**20]
    part = keyed.uniform_(torch.empty(2, 3, 5), key(1), full_size=full, offset=[2**19, 77, 2**20 - 5])
    start = (2**19 * 2**20 + 77) * 2**20 + 2**20 - 5
    word = philox4x32([start // 4 % 2**32, start // 4 >> 32, 0, 0], [1, 0])[start % 4]
    assert part[0, 0, 0].item() == word % 2**24 / 2**24


def test_fill_touches_no_generator_and_no_graph() -> None:
    weight = torch.nn.Parameter(torch.empty(3, 4))
    state = torch.get_rng_state()
    assert keyed.normal_(weight, key(1)) is weight
    assert weight.grad_fn is None
    assert torch.equal(torch.get_rng_state(), state)
    assert keyed.uniform_(torch.empty(0, 3), key(1)).shape == (0, 3)
    assert keyed.uniform_(torch.empty(()), key(1)) == keyed.uniform_(torch.empty(1), key(1))


def test_wrong_key_or_piece_is_refused_before_a_write() -> None:
    weight = torch.full((2, 3), 7.0)
    for wrong in (torch.zeros(2), torch.zeros(3, dtype=torch.int64), torch.zeros(2, dtype=torch.int32), split(key(1))):
        with pytest.raises(ValueError, match=r"key"):
            keyed.uniform_(weight, wrong)
    for full_size, offset in (([2], None), ([2, 3], [0]), ([2, 3], [1, 0]), ([9, 9], [-1, 0]), ([1, 3], None)):
        with pytest.raises(ValueError, match=r"full_size"):
            keyed.uniform_(weight, key(1), 0.0, 1.0, full_size, offset)
    with pytest.raises(ValueError, match=r"n must not be negative"):
        split(key(1), -1)
    assert torch.equal(weight, torch.full((2, 3), 7.0))


def test_key_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a key must have values, got one on the meta device$"):
        keyed.uniform_(torch.empty(3), torch.empty(2, dtype=torch.int64, device="meta"))
