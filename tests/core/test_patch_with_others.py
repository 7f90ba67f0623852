"""Does patch_torch work with mocks, transformers, overrides, compilers and pickle?"""

import copy
import io
import itertools
import pickle
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import torchinit
from tests.support import transformers_models
from tests.support.patching import (
    INIT,
    UPSTREAM,
    called,
    leaves_torch_unchanged as leaves_torch_unchanged,
    path,
    swapped,
)
from torchinit._core.patch import patch_torch

# Other people's patches.


def test_earlier_mock_is_swapped_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    def mock(tensor: Tensor) -> Tensor:
        return tensor

    with monkeypatch.context() as patching:
        patching.setattr(INIT, "uniform_", mock)
        with patch_torch():
            assert swapped()
        assert INIT.uniform_ is mock
    assert not swapped()


def test_mock_made_while_patched_holds_and_is_swapped_by_another_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    def mock(tensor: Tensor) -> Tensor:
        return tensor

    with patch_torch():
        with monkeypatch.context() as patching:
            patching.setattr(INIT, "uniform_", mock)
            assert INIT.uniform_ is mock
            with patch_torch(), patch_torch():
                assert swapped()
            assert INIT.uniform_ is mock
        assert swapped()
    assert not swapped()


def test_patch_made_after_a_mock_outlives_a_patch_made_before_it() -> None:
    def mock(tensor: Tensor) -> Tensor:
        return tensor

    under = patch_torch()
    INIT.uniform_ = mock
    over = patch_torch()
    under.restore()
    assert swapped()
    over.restore()
    assert INIT.uniform_ is mock
    INIT.uniform_ = UPSTREAM["uniform_"]


def test_deleted_name_stays_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patching:
        held = dict(vars(INIT))
        patching.delattr(INIT, "sparse_")
        with patch_torch():
            assert not hasattr(INIT, "sparse_")
            assert INIT.uniform_ is torchinit.uniform_
        assert not hasattr(INIT, "sparse_")
    for name in held:  # restore the order
        vars(INIT)[name] = vars(INIT).pop(name)


def test_guard_of_transformers_keeps_the_patch_around_it() -> None:
    initialization = pytest.importorskip("transformers.initialization")
    with patch_torch():
        with initialization.guard_torch_init_functions():
            assert INIT.uniform_ is initialization.uniform_
            with patch_torch():
                assert swapped()
            assert INIT.uniform_ is initialization.uniform_
        assert swapped()


# transformers.


def test_model_of_transformers_calls_torchinit_if_its_dict_is_given() -> None:
    functions = pytest.importorskip("transformers.initialization").TORCH_INIT_FUNCTIONS
    held = list(functions.items())
    transformers_models.vit()  # import its modules before patching
    with patch_torch(functions):
        names = called(transformers_models.vit)
    assert path(torchinit.trunc_normal_) in names
    assert not [name for name in names if name.startswith("torch.")]
    assert list(functions.items()) == held
    names = called(transformers_models.vit)
    assert "torch.nn.init.trunc_normal_" in names
    assert not [name for name in names if name.startswith("torchinit.")]


# Overrides.


def test_layer_is_made_on_the_meta_device_by_context() -> None:
    with patch_torch(), torch.device("meta"):
        layer = nn.Linear(3, 3)
        INIT.trunc_normal_(layer.weight)
    assert layer.weight.is_meta
    with torch.device("meta"), patch_torch():
        assert nn.Linear(3, 3).weight.is_meta


CALLS: dict[str, tuple[Any, ...]] = {"uniform_": (), "normal_": (), "constant_": (0.5,), "kaiming_uniform_": ()}


@pytest.mark.parametrize("everywhere", [False, True], ids=["torch", "all modules"])
@pytest.mark.parametrize("name", CALLS)
def test_mode_receives_upstreams_function_and_draws_the_same(name: str, everywhere: bool) -> None:
    class Recording(TorchFunctionMode):
        seen: list[Any]

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen.append(func)
            return func(*args, **(kwargs or {}))

    expected = getattr(torchinit, name)(torch.empty(4, 3), *CALLS[name], **seeded_generator(name))
    everything = [module for module in list(sys.modules.values()) if type(module) is ModuleType]
    with patch_torch(*everything if everywhere else ()), Recording() as mode:
        mode.seen = []
        drawn = getattr(INIT, name)(torch.empty(4, 3), *CALLS[name], **seeded_generator(name))
    assert UPSTREAM[name] in mode.seen
    assert getattr(torchinit, name) not in mode.seen
    assert torch.equal(drawn, expected)


def seeded_generator(name: str) -> dict[str, torch.Generator]:
    return {} if name == "constant_" else {"generator": torch.Generator().manual_seed(0)}


@pytest.mark.parametrize("name", CALLS)
def test_subclass_receives_upstreams_function(name: str) -> None:
    class Overriding(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is UPSTREAM[name]:
                return "overridden"
            return super().__torch_function__(func, types, args, kwargs or {})

    with patch_torch():
        assert getattr(INIT, name)(torch.empty(4, 3).as_subclass(Overriding), *CALLS[name]) == "overridden"


# Compilers, scripts and files.


def trunc_normal_by_attribute(x: Tensor) -> Tensor:
    return nn.init.trunc_normal_(torch.empty_like(x), std=0.02)


def test_compiled_function_follows_the_patch() -> None:
    torch.compiler.reset()

    def doubled(x: Tensor) -> Tensor:
        return nn.init.constant_(torch.empty_like(x), 0.5) * 2

    x = torch.zeros(4, 3)
    compiled = torch.compile(trunc_normal_by_attribute, fullgraph=True, backend="aot_eager")
    with patch_torch():
        torch.manual_seed(0)
        drawn = compiled(x)
    torch.manual_seed(0)
    assert torch.equal(drawn, torchinit.trunc_normal_(torch.empty(4, 3), std=0.02))

    runs: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        runs.append(str([node.target for node in graph.graph.nodes]))
        return graph

    compiled = torch.compile(doubled, fullgraph=True, backend=backend)
    assert torch.equal(compiled(x), torch.ones(4, 3))
    with patch_torch():
        assert torch.equal(compiled(x), torch.ones(4, 3))
    assert torch.equal(compiled(x), torch.ones(4, 3))
    # Only torchinit's graph holds a detach; the third call reuses the first graph.
    assert ["detach" in targets for targets in runs] == [False, True]


def kaiming_by_attribute(x: Tensor) -> Tensor:
    return torch.nn.init.kaiming_uniform_(x, nonlinearity="relu")


def uniform_by_attribute(x: Tensor) -> Tensor:
    return torch.nn.init.uniform_(x, 2.0, 3.0)


def test_function_scripted_while_patched_keeps_torchinits_functions() -> None:
    with pytest.raises(RuntimeError):
        torch.jit.script(kaiming_by_attribute)
    with patch_torch():
        scripted = torch.jit.script(kaiming_by_attribute)
    generator_state = torch.manual_seed(0).get_state()
    drawn = scripted(torch.empty(4, 3))
    torch.set_rng_state(generator_state)
    assert torch.equal(drawn, torchinit.kaiming_uniform_(torch.empty(4, 3), nonlinearity="relu"))
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    assert "detach" in str(torch.jit.load(io.BytesIO(buffer.getvalue())).inlined_graph)


def test_function_scripted_before_keeps_upstreams_functions() -> None:
    before = str(torch.jit.script(uniform_by_attribute).inlined_graph)
    with patch_torch():
        assert str(torch.jit.script(uniform_by_attribute).inlined_graph) == before
    assert "detach" not in before


def test_model_made_while_patched_can_be_pickled_and_copied() -> None:
    with patch_torch():
        model = nn.Sequential(nn.Linear(3, 4), nn.TransformerEncoderLayer(4, 2, 8))
        within = pickle.dumps(model)
        copied = copy.deepcopy(model)
    assert b"torchinit" not in within
    for other in (copied, pickle.loads(within), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        state = other.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_pickle_refuses_upstreams_functions_while_patched() -> None:
    kept = UPSTREAM["uniform_"]
    with patch_torch():
        with pytest.raises(pickle.PicklingError, match="not the same object"):
            pickle.dumps(kept)
        assert pickle.loads(pickle.dumps(INIT.uniform_)) is torchinit.uniform_
    assert pickle.loads(pickle.dumps(kept)) is kept


# Patches that end out of order.


def _other_patch() -> Iterator[None]:
    """Put a function that does nothing in place, as other libraries do while they load a model, and end on next()."""
    held = INIT.uniform_
    INIT.uniform_ = lambda tensor, *args: tensor
    yield
    INIT.uniform_ = held
    yield


def test_patch_that_ends_after_one_made_before_it_leaves_layers_initialized() -> None:
    other = _other_patch()
    next(other)
    patch = patch_torch()
    next(other)
    assert INIT.uniform_ is UPSTREAM["uniform_"]
    patch.restore()
    assert not swapped()


def test_patch_that_ends_before_one_made_after_it_leaves_that_in_place() -> None:
    patch, other = patch_torch(), _other_patch()
    next(other)
    mock = INIT.uniform_
    patch.restore()
    assert INIT.uniform_ is mock
    next(other)
    assert INIT.uniform_ is torchinit.uniform_
    INIT.uniform_ = UPSTREAM["uniform_"]


def test_value_that_code_sets_while_patched_stays() -> None:
    namespace = {"init": UPSTREAM["eye_"]}
    with patch_torch(namespace):
        namespace["init"] = UPSTREAM["zeros_"]
    assert namespace["init"] is UPSTREAM["zeros_"]


def test_name_that_code_deletes_while_patched_stays_deleted() -> None:
    namespace = {"init": UPSTREAM["eye_"]}
    with patch_torch(namespace):
        del namespace["init"]
    assert namespace == {}


def _orders(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """List the orders in which these patches begin and end: the first time that a name stands, it begins."""
    return sorted(set(itertools.permutations(names * 2)))


@pytest.mark.parametrize("order", _orders(("other", "ours")), ids="-".join)
def test_no_order_of_two_patches_leaves_a_function_that_does_nothing(order: tuple[str, ...]) -> None:
    running: dict[str, Any] = {}
    for name in order:
        if name in running:
            next(running[name]) if name == "other" else running[name].restore()
        else:
            running[name] = _other_patch() if name == "other" else patch_torch()
            if name == "other":
                next(running[name])
    assert INIT.uniform_ in (UPSTREAM["uniform_"], torchinit.uniform_)
    INIT.uniform_ = UPSTREAM["uniform_"]


def test_patches_around_another_ones_patch_restore_upstream_in_any_order_that_nests() -> None:
    for inner_first in (True, False):
        outer, other = patch_torch(), _other_patch()
        next(other)
        inner = patch_torch()
        for patch in (inner, outer) if inner_first else (outer, inner):
            patch.restore()
        if inner_first:
            assert INIT.uniform_ is UPSTREAM["uniform_"]
        next(other)
        INIT.uniform_ = UPSTREAM["uniform_"]
        assert not swapped()


def test_patch_ends_in_one_thread_while_another_threads_patch_stays() -> None:
    other, patch = _other_patch(), None

    def begin() -> None:
        nonlocal patch
        patch = patch_torch()

    next(other)
    for step in (begin, lambda: next(other), lambda: patch.restore()):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert not swapped()
    layer = nn.Linear(4, 4)
    assert layer.weight.std() > 0.0
