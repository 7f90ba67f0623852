"""Does patch_torch swap every function of torch.nn.init in every thread, and restore the originals at its end?"""

import itertools
import sys
import threading
from types import FunctionType, ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from tests.support.layers import LAYERS, differing, seeded
from tests.support.patching import (
    BY_ATTRIBUTE,
    BY_NAME,
    INIT,
    SWAPPED,
    UPSTREAM,
    called,
    leaves_torch_unchanged as leaves_torch_unchanged,
    module_of,
    path,
    swapped,
)
from torchinit._core import patch as _patch
from torchinit._core.patch import Patch, patch_torch

# Swapping.


def test_nothing_is_patched_before_a_call() -> None:
    assert not swapped()
    assert {function.__module__ for function in UPSTREAM.values()} == {"torch.nn.init"}


def test_patch_swaps_every_function_of_upstream_and_adds_none() -> None:
    assert {name for name in torchinit.__all__ if hasattr(INIT, name)} == {n for n in SWAPPED if not n.startswith("_")}
    names = list(vars(INIT))
    with patch_torch():
        assert swapped()
        assert list(vars(INIT)) == names


def test_no_module_of_torch_still_holds_upstreams_functions() -> None:
    with patch_torch():
        held = {
            (name, key)
            for name, module in list(sys.modules.items())
            if name.split(".")[0] == "torch" and isinstance(module, ModuleType)
            for key, value in list(vars(module).items())
            if type(value) is FunctionType and value in [UPSTREAM[name] for name in SWAPPED]
        }
    assert held == set()


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True|Initializing zero-element tensors:UserWarning")
@pytest.mark.parametrize("layer", LAYERS)
def test_layer_calls_only_torchinit_and_draws_the_same(layer: str) -> None:
    made: list[nn.Module] = []
    with patch_torch():
        names = called(lambda: made.append(seeded(LAYERS[layer].make, 1)))
    assert differing(seeded(LAYERS[layer].make, 1), made[0]) == []
    with patch_torch():
        for module in made[0].modules():
            if callable(getattr(module, "reset_parameters", None)):
                names |= called(module.reset_parameters)
    assert not [name for name in names if name.startswith("torch.")]


def test_reset_parameters_of_a_linear_layer_calls_torchinit() -> None:
    layer = nn.Linear(3, 3)
    assert "torch.nn.init.kaiming_uniform_" in called(layer.reset_parameters)
    with patch_torch():
        assert path(torchinit.kaiming_uniform_) in called(layer.reset_parameters)
    assert "torch.nn.init.kaiming_uniform_" in called(layer.reset_parameters)


def test_code_that_calls_by_attribute_gets_torchinits_functions() -> None:
    module, layer, expected = module_of(BY_ATTRIBUTE), nn.Linear(5, 4), torch.empty(4, 5)
    torch.manual_seed(0)
    torchinit.trunc_normal_(expected, std=0.02)
    with patch_torch():
        torch.manual_seed(0)
        assert path(torchinit.trunc_normal_) in called(lambda: module.init_weights(layer))
    assert torch.equal(layer.weight, expected)


@pytest.mark.parametrize("as_dict", [False, True], ids=["module", "dict"])
def test_code_that_imported_by_name_gets_torchinits_functions_if_its_namespace_is_given(as_dict: bool) -> None:
    module, layer = module_of(BY_NAME), nn.Linear(5, 4)
    held = dict(vars(module))
    with patch_torch(vars(module) if as_dict else module):
        assert (module.trunc_normal_, module.clear) == (torchinit.trunc_normal_, torchinit.zeros_)
        names = called(lambda: module.init_weights(layer))
        assert not [name for name in names if name.startswith("torch.")]
        assert path(torchinit.trunc_normal_) in names
    assert list(vars(module)) == list(held)
    assert all(value is held[name] for name, value in vars(module).items())


def test_code_that_imported_by_name_otherwise_keeps_upstreams_functions_over_torchinits_primitives() -> None:
    module, layer = module_of(BY_NAME), nn.Linear(5, 4)
    with patch_torch():
        assert module.trunc_normal_ is UPSTREAM["trunc_normal_"]
        names = called(lambda: module.init_weights(layer))
    assert {"torch.nn.init.trunc_normal_", path(torchinit._no_grad_trunc_normal_)} <= names


def test_code_imported_while_patched_keeps_torchinits_functions() -> None:
    with patch_torch():
        module = module_of(BY_NAME)
        with patch_torch(module):
            assert module.trunc_normal_ is torchinit.trunc_normal_
    assert module.trunc_normal_ is torchinit.trunc_normal_


@pytest.mark.parametrize("bad", ["timm.layers", ["timm"], nn.Linear, None], ids=str)
def test_namespace_that_is_neither_a_module_nor_a_dict_is_refused_and_nothing_patched(bad: Any) -> None:
    namespace = {"init": UPSTREAM["uniform_"]}
    with pytest.raises(TypeError) as caught:
        patch_torch(namespace, bad)
    assert str(caught.value) == f"patch_torch takes modules and dicts, got {type(bad).__name__}"
    assert namespace["init"] is UPSTREAM["uniform_"]
    assert not swapped()


def test_namespace_that_cannot_be_written_to_leaves_nothing_patched() -> None:
    class Frozen(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            raise RuntimeError("frozen")

    namespace = {"init": UPSTREAM["uniform_"]}
    with pytest.raises(RuntimeError, match="frozen"):
        patch_torch(namespace, Frozen(init=UPSTREAM["uniform_"]))
    assert namespace["init"] is UPSTREAM["uniform_"]
    assert not swapped()


def test_namespace_that_grows_while_patched_is_swapped() -> None:
    class Growing(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            self.update({key: value, f"seen {len(self)}": None})

    namespace = Growing(one=UPSTREAM["uniform_"], other=UPSTREAM["normal_"])
    with patch_torch(namespace):
        assert (namespace["one"], namespace["other"]) == (torchinit.uniform_, torchinit.normal_)
    assert (namespace["one"], namespace["other"]) == (UPSTREAM["uniform_"], UPSTREAM["normal_"])


# Restoring.


def test_block_restores_at_its_end() -> None:
    with patch_torch() as patch:
        assert isinstance(patch, Patch)
        assert swapped()
    assert not swapped()


def test_block_that_raises_restores_and_propagates_the_error() -> None:
    with pytest.raises(KeyError, match="mine"), patch_torch():
        raise KeyError("mine")
    assert not swapped()


def test_call_patches_until_restored_and_a_second_restore_does_nothing() -> None:
    patch = patch_torch()
    assert swapped()
    patch.restore()
    assert not swapped()
    patch.restore()
    other = patch_torch()
    patch.restore()
    assert swapped()
    other.restore()
    assert not swapped()


def test_patch_restored_within_its_block_ends_there() -> None:
    with patch_torch() as outer:
        with patch_torch() as inner:
            inner.restore()
            assert swapped()
        assert swapped()
        outer.restore()
        assert not swapped()
    assert not swapped()


def test_patch_can_be_entered_only_once() -> None:
    patch = patch_torch()
    with patch:
        with pytest.raises(RuntimeError, match="called anew for every with"), patch:
            pass
        assert swapped()
    restored = patch_torch()
    restored.restore()
    for other in (patch, restored):
        with pytest.raises(RuntimeError, match="called anew for every with"), other:
            pass
    assert not swapped()


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))], ids=str)
def test_patches_of_different_namespaces_are_undone_in_any_order(order: tuple[int, ...]) -> None:
    namespaces: list[dict[str, Any]] = [{str(i): UPSTREAM["eye_"], "other": UPSTREAM["dirac_"]} for i in range(2)]
    given = ([], [namespaces[0]], [namespaces[0], namespaces[1], namespaces[1]])
    patches = {i: patch_torch(*given[i]) for i in range(3)}
    for i in order:
        patches.pop(i).restore()
        assert swapped() is bool(patches)
        for j, namespace in enumerate(namespaces):
            active = any(namespace in given[k] for k in patches)
            assert namespace[str(j)] is (torchinit.eye_ if active else UPSTREAM["eye_"])
            assert namespace["other"] is (torchinit.dirac_ if active else UPSTREAM["dirac_"])


def test_module_and_its_dict_are_one_namespace() -> None:
    module = module_of(BY_NAME)
    outer, inner = patch_torch(module), patch_torch(vars(module), INIT)
    outer.restore()
    assert module.trunc_normal_ is torchinit.trunc_normal_
    inner.restore()
    assert module.trunc_normal_ is UPSTREAM["trunc_normal_"]


def test_threads_that_overlap_see_the_patch_until_the_last_leaves() -> None:
    entered, leave, left = (threading.Event() for _ in range(3))
    seen: list[bool] = []

    def other() -> None:
        with patch_torch():
            entered.set()
            leave.wait(900)
            seen.append(swapped())
        left.set()

    thread = threading.Thread(target=other)
    with patch_torch():
        thread.start()
        assert entered.wait(900)
    assert swapped()
    leave.set()
    assert left.wait(900)
    thread.join()
    assert seen == [True]
    assert not swapped()


def test_patch_is_restored_from_another_thread() -> None:
    patch = patch_torch()
    thread = threading.Thread(target=patch.restore)
    thread.start()
    thread.join()
    assert not swapped()


def test_patching_and_restoring_wait_for_another_thread() -> None:
    patches: list[Patch] = []
    for step in (lambda: patches.append(patch_torch()), lambda: patches.pop().restore()):
        thread = threading.Thread(target=step)
        before = swapped()
        with _patch._lock:
            thread.start()
            thread.join(0.05)
            assert thread.is_alive()
            assert swapped() is before
        thread.join()
        assert swapped() is not before


def test_many_threads_that_enter_and_leave_at_once_always_see_the_patch() -> None:
    namespace = {"init": UPSTREAM["sparse_"]}
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for i in range(30):
                with patch_torch(*[namespace] * ((seed + i) % 3)), patch_torch(namespace):
                    assert swapped()
                    assert namespace["init"] is torchinit.sparse_
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert namespace["init"] is UPSTREAM["sparse_"]
    assert not swapped()
