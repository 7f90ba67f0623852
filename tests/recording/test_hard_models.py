"""Does a recording give the bits of what people build besides layers?

Each model is recorded at a size at which its tensors are real while recording, and at one at which they are fake.
"""

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, parametrizations, prune, vector_to_parameters
from torch.testing._internal.two_tensor import TwoTensor

import torchinit
from tests.support.built import assert_same_tensors
from tests.support.recorded import Made, assert_recorded
from torchinit.recording import RecordError

_SIZES = pytest.mark.parametrize("n", [6, 300])
# The constructors of models; n is the size.
_MAKES: dict[str, Callable[[Any, int], object]] = {}


def _make(function: Callable[[Any, int], object]) -> Callable[[Any, int], object]:
    _MAKES[function.__name__.strip("_")] = function
    return function


@_make
def _tied(m: Any, n: int) -> None:
    m.words, m.head = nn.Embedding(n, n), nn.Linear(n, n, bias=False)
    m.head.weight = m.words.weight


@_make
def _views_of_one_storage(m: Any, n: int) -> None:
    flat = torch.randn(2 * n * n)
    m.a, m.b = nn.Parameter(flat[: n * n].view(n, n)), nn.Parameter(flat[n * n :].view(n, n).t())


@_make
def _deep_copies(m: Any, n: int) -> None:
    m.a = nn.Sequential(nn.Linear(n, n), nn.BatchNorm1d(n))
    flat = torch.randn(2 * n * n)
    flat.note = "kept"
    m.a.register_buffer("flat", flat)
    m.a.register_buffer("part", flat[n * n :].view(n, n).t())
    m.b = copy.deepcopy(m.a)
    m.b.part.add_(1)
    with torch.no_grad():
        m.b[0].weight.zero_()
    assert m.b.flat.note == "kept"


@_make
def _set_data(m: Any, n: int) -> None:
    m.fixed, m.small, m.large = nn.Linear(n, n), nn.Linear(3, 3), nn.Linear(n, n)
    m.fixed.weight.data = torch.eye(n)
    m.fixed.bias.data = torch.rand(n * n)[:n]
    m.small.weight.data = torch.randn(n, n)
    m.large.weight.data = torch.tensor(np.ones((3, 3)))


@_make
def _set(m: Any, n: int) -> None:
    m.a, m.b = nn.Linear(n, n), nn.Linear(2, 2)
    with torch.no_grad():
        m.a.weight.set_(torch.rand(n, n))
        m.b.weight.set_(torch.randn(n * n).untyped_storage(), 0, (n, n))


@_make
def _resize(m: Any, n: int) -> None:
    m.register_buffer("b", torch.empty(0))
    m.b.resize_(n, n).normal_()


@_make
def _empty_out(m: Any, n: int) -> None:
    m.register_buffer("a", torch.rand(n, n, out=torch.empty(0)))
    m.register_buffer("b", torch.mul(m.a, 2.0, out=torch.empty(0)))
    m.register_buffer("c", torch.arange(float(n), out=torch.empty(0)))
    q, r = torch.linalg.qr(m.a, out=(torch.empty(0), torch.empty(0)))
    m.register_buffer("q", q)
    m.register_buffer("r", r)


@_make
def _complex(m: Any, n: int) -> None:
    m.a = nn.Parameter(torch.randn(n, n, dtype=torch.complex64))
    m.b = nn.Parameter(torch.empty(n, n, dtype=torch.complex64))
    with torch.no_grad():
        m.b.real.normal_()
        m.b.imag.uniform_()
    m.register_buffer("c", m.a.detach().conj())


@_make
def _default_dtype(m: Any, n: int) -> None:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        m.a = nn.Linear(n, n)
        m.register_buffer("b", 1 / 10000 ** (torch.arange(0, n, 2) / n))
    finally:
        torch.set_default_dtype(default)
    m.register_buffer("c", torch.arange(n) / 3)


@_make
def _vmap(m: Any, n: int) -> None:
    drawn = torch.vmap(lambda x: x * 2 + torch.rand_like(x), randomness="different")(torch.ones(n, n))
    m.register_buffer("a", drawn)
    m.register_buffer("b", torch.vmap(nn.init.normal_, randomness="different")(torch.empty(3, n, n)))


@_make
def _inference_mode(m: Any, n: int) -> None:
    with torch.inference_mode():
        drawn = torch.rand(n, n)
    m.register_buffer("a", drawn.clone())
    with torch.no_grad():
        m.b = nn.Linear(n, n)


@_make
def _numpy(m: Any, n: int) -> None:
    m.register_buffer("a", torch.from_numpy(np.linspace(0, 1, n * n)))
    m.register_buffer("b", torch.as_tensor(np.ones((n, n))) * 2)
    m.register_buffer("c", torch.tensor([[1.0, 2.0]] * n).mul_(3))
    m.d = nn.Linear(n, n)
    with torch.no_grad():
        m.d.weight.copy_(torch.from_numpy(np.full((n, n), 0.5)))


@_make
def _own_generator(m: Any, n: int) -> None:
    generator = torch.Generator().manual_seed(3)
    m.register_buffer("a", torch.rand(n, n, generator=generator))
    m.register_buffer("b", torch.rand(n, n, generator=generator))
    m.c = nn.Linear(n, n)
    # The same seed again, and another.
    m.register_buffer("d", torch.rand(n, n, generator=generator.manual_seed(3)))
    m.register_buffer("e", torch.empty(n, n).normal_(generator=generator.manual_seed(4)))


@_make
def _seeds(m: Any, n: int) -> None:
    m.a = nn.Linear(n, n)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        m.b = nn.Linear(n, n)
    m.c = nn.Linear(n, n)
    torch.manual_seed(9)
    m.d = nn.Linear(n, n)


@_make
def _tables(m: Any, n: int) -> None:
    rates = [x.item() for x in torch.linspace(0, 0.1, 5)]
    mask = torch.full((5, 5), -1e9).triu(1)
    steps = torch.arange(0, 100_000, 1000).tolist()
    kinds = torch.unique(torch.tensor([1, 2, 2])).tolist()
    places = torch.nonzero(torch.ones(3, 3).tril()).tolist()
    x = torch.zeros(4)
    x[1] = 2
    assert bool(mask[0, 1] < 0)
    assert torch.empty(3).fill_(2).sum().item() == 6
    m.register_buffer("a", torch.tensor([*rates, *steps, *kinds, *x.tolist()]))
    m.register_buffer("b", torch.as_tensor(places) + mask.numpy().size)


@_make
def _pruned(m: Any, n: int) -> None:
    m.a = prune.random_unstructured(nn.Linear(n, n), "weight", amount=0.3)


def _emptied(n: int) -> nn.Module:
    """Build as torchtitan does: on the meta device, then with memory, then with values."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(n, n), nn.Linear(n, n))
    model.to_empty(device="cpu")
    for layer in model:
        nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    return model


def _through_a_vector(n: int) -> nn.Module:
    layer = nn.Linear(n, n)
    vector_to_parameters(parameters_to_vector(layer.parameters()) * 2, layer.parameters())
    return layer


def _dry_run(n: int) -> nn.Module:
    model = nn.Sequential(nn.LazyLinear(n), nn.LazyBatchNorm1d())
    model(torch.zeros(2, n))
    return model


_BUILDS: dict[str, Callable[[int], nn.Module]] = {
    "meta, to_empty, init_weights": _emptied,
    "vector_to_parameters": _through_a_vector,
    "lazy": lambda n: nn.Sequential(nn.LazyLinear(n), nn.Linear(3, n)),
    "lazy, after a dry run": _dry_run,
    "weight_norm": lambda n: parametrizations.weight_norm(nn.Linear(n, n)),
    "old weight_norm": lambda n: nn.utils.weight_norm(nn.Linear(n, n)),
    "spectral_norm": lambda n: parametrizations.spectral_norm(nn.Linear(n, n)),
    "old spectral_norm": lambda n: nn.utils.spectral_norm(nn.Linear(n, n)),
    "orthogonal": lambda n: parametrizations.orthogonal(nn.Linear(n, n // 2)),
    "channels_last": lambda n: nn.Conv2d(n, 8, 3).to(memory_format=torch.channels_last),
    "half": lambda n: nn.Linear(n, n).half().bfloat16(),
    "bfloat16": lambda n: nn.Linear(n, n, dtype=torch.bfloat16),
    "compiled": lambda n: nn.Sequential(torch.compile(nn.Linear(n, n)), nn.Linear(3, 3)),
}


@pytest.mark.filterwarnings("ignore")
@_SIZES
@pytest.mark.parametrize("name", _BUILDS)
def test_a_built_model_has_the_bits_of_building_it(name: str, n: int) -> None:
    assert_recorded(lambda: _BUILDS[name](n))


@_SIZES
@pytest.mark.parametrize("name", _MAKES)
def test_a_constructor_has_the_bits_of_running_it(name: str, n: int) -> None:
    assert_recorded(lambda: Made(lambda module: _MAKES[name](module, n)))


@_SIZES
def test_build_keeps_views_of_one_storage(n: int) -> None:
    _, model, _ = assert_recorded(lambda: Made(lambda module: _views_of_one_storage(module, n)))
    assert model.a.untyped_storage().data_ptr() == model.b.untyped_storage().data_ptr()


@_SIZES
def test_build_fills_tensors_that_are_neither_parameters_nor_buffers(n: int) -> None:
    def make(m: Any) -> None:
        m.layer = nn.Linear(n, n)
        m.drawn, m.all = torch.randn(n, n), [torch.arange(n), {"x": torch.ones(n, n) * 3, "y": torch.rand(3)}]

    _, model, expected = assert_recorded(lambda: Made(make))
    assert type(model.drawn) is Tensor
    assert torch.equal(model.drawn, expected.drawn)
    assert torch.equal(model.all[0], expected.all[0])
    assert all(torch.equal(model.all[1][name], expected.all[1][name]) for name in "xy")


@_SIZES
def test_a_model_for_a_gpu_has_the_bits_of_building_it_on_a_cpu(n: int) -> None:
    def build(device: str) -> nn.Module:
        return nn.Sequential(
            nn.Linear(n, n, device=device),
            nn.Linear(n, 3).to(device),
            getattr(nn.Linear(n, 3), device)(),
        )

    model = torchinit.record(lambda: build("cuda")).build(seed=0)
    torch.manual_seed(0)
    assert_same_tensors(model, build("cpu"))


@_SIZES
def test_build_keeps_attributes_of_tensors(n: int) -> None:
    def make(m: Any) -> None:
        m.layer = nn.Linear(n, n)
        m.layer.weight.no_decay = True
        m.register_buffer("table", torch.rand(n, n))
        m.table.note = "kept"

    model = torchinit.record(lambda: Made(make)).build()
    assert model.table.note == "kept"
    assert model.layer.weight.no_decay
    assert vars(model.layer.weight) == {"no_decay": True}


@torch.library.custom_op("torchinit_tests::noisy", mutates_args=())
def _noisy(x: Tensor) -> Tensor:
    return x + torch.rand_like(x)


@_noisy.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def test_a_custom_operator_is_recorded_and_draws_nothing_while_it_is() -> None:
    recording, _, _ = assert_recorded(lambda: Made(lambda m: m.register_buffer("a", _noisy(torch.ones(5)))))
    assert recording.program.operations[-1].random


def test_a_large_result_of_small_arguments_is_fake() -> None:
    def make(m: Any) -> None:
        row = torch.arange(60_000.0)
        for large in (torch.outer(row, row), torch.eye(60_000), row.repeat(100_000)):
            assert type(large) is not Tensor

    torchinit.record(lambda: Made(make))


@pytest.mark.parametrize("count", [4, 1 << 17])
def test_a_tensor_from_before_may_be_used(count: int) -> None:
    table = torch.arange(float(count))
    recording, _, _ = assert_recorded(lambda: Made(lambda m: m.register_buffer("doubled", table * 2.0)))
    assert [x.operator for x in recording.program.operations] == ["mul"]


def test_nothing_is_computed_from_a_large_tensor_from_before() -> None:
    table = torch.zeros((1 << 20) + 1)
    with pytest.raises(RecordError, match="got item"):
        torchinit.record(lambda: Made(lambda m: table.sum().item()))


def test_a_wrapper_of_tensors_is_recorded_by_the_tensors_in_it() -> None:
    def make(m: Any) -> None:
        wrapper = TwoTensor(torch.rand(3), torch.ones(3)) * 2.0
        m.register_buffer("a", wrapper.a)
        m.register_buffer("b", wrapper.b)

    assert_recorded(lambda: Made(make))


def test_operators_may_write_to_a_tensor_that_numpy_sees() -> None:
    def make(m: Any) -> None:
        table = torch.zeros(5)
        m.array = table.numpy()
        table.add_(2.0)
        m.register_buffer("table", table)
        m.register_buffer("doubled", table * 2.0)

    assert_recorded(lambda: Made(make))


def test_pinned_memory_is_recorded_without_a_gpu() -> None:
    make = torchinit.record(lambda: Made(lambda m: m.register_buffer("x", torch.ones(3, pin_memory=True))))
    assert torch.equal(make.build().x, torch.ones(3))


def test_build_copies_a_tensor_from_before_that_no_operator_used() -> None:
    table = torch.arange(3.0)
    model = torchinit.record(lambda: Made(lambda m: setattr(m, "table", table))).build()
    assert torch.equal(model.table, table)
    assert model.table.data_ptr() != table.data_ptr()


class _Shared(nn.Linear):
    def __deepcopy__(self, memo: object) -> "_Shared":
        return self


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda m: setattr(m, "lock", threading.Lock()), "TypeError: cannot pickle"),
        (lambda m: setattr(m, "layer", _Shared(300, 300)), "one that keeps layer.weight as it is"),
    ],
)
def test_build_refuses_a_model_that_is_not_copied(make: Callable[[Any], object], got: str) -> None:
    recording = torchinit.record(lambda: Made(make))
    with pytest.raises(RuntimeError, match=rf"build\(\) needs a model that copy.deepcopy copies, got {got}"):
        recording.build(seed=0)
