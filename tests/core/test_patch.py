"""Does patch_torch swap what it says, for everyone and no longer than asked, and put exactly the originals back?"""

import copy
import io
import itertools
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import torchinit
from tests.support import transformers_models
from tests.support.layers import LAYERS, differing, seeded
from torchinit._core import patch as _patch
from torchinit._core.patch import Patch, patch_torch

INIT = torch.nn.init
NAMESPACES = (INIT, nn.modules.activation, nn.modules.transformer)
# Upstream's functions, taken before any test patches.
UPSTREAM = {name: value for name, value in vars(INIT).items() if isinstance(value, FunctionType)}
SWAPPED = sorted(set(UPSTREAM) - {"_make_deprecate"})


@pytest.fixture(autouse=True)
def _leaves_torch_as_it_was() -> Iterator[None]:
    def held() -> list[list[tuple[str, int]]]:
        # A warning leaves a registry behind.
        names = [[name for name in vars(namespace) if name != "__warningregistry__"] for namespace in NAMESPACES]
        return [[(name, id(vars(n)[name])) for name in names[i]] for i, n in enumerate(NAMESPACES)]

    before = held()
    yield
    assert held() == before
    assert _patch._swaps == {}


def swapped() -> bool:
    """Tell whether torch.nn.init holds torchinit's functions; all of them or none."""
    (answer,) = {getattr(INIT, name) is getattr(torchinit, name) for name in SWAPPED}
    if not answer:
        assert all(getattr(INIT, name) is UPSTREAM[name] for name in SWAPPED)
    return answer


def path(function: Any) -> str:
    return f"{function.__module__}.{function.__name__}"


def called(run: Callable[[], object]) -> set[str]:
    """Name the functions of torch.nn.init and of torchinit that run while ``run`` does."""
    names = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and (module == "torch.nn.init" or module.startswith("torchinit.")):
            names.add(f"{module}.{frame.f_code.co_name}")

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return names


def module_of(source: str) -> ModuleType:
    module = ModuleType("model")
    exec(source, vars(module))
    return module


# What is swapped.


def test_nothing_is_patched_before_a_call() -> None:
    assert not swapped()
    assert {function.__module__ for function in UPSTREAM.values()} == {"torch.nn.init"}


def test_every_function_of_upstream_is_torchinits_and_none_is_added() -> None:
    assert {name for name in torchinit.__all__ if hasattr(INIT, name)} == {n for n in SWAPPED if not n.startswith("_")}
    names = list(vars(INIT))
    with patch_torch():
        assert swapped()
        assert list(vars(INIT)) == names


def test_no_module_of_torch_goes_on_holding_upstreams_functions() -> None:
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
def test_layer_calls_torchinit_alone_and_draws_the_same(layer: str) -> None:
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


# As timm writes it, and as others do.
BY_ATTRIBUTE = """
from torch import nn
def init_weights(module):
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
"""
BY_NAME = """
from torch.nn.init import _calculate_fan_in_and_fan_out, trunc_normal_, zeros_ as clear
TABLE = {"unhashable": []}
def init_weights(module):
    fan_in, _ = _calculate_fan_in_and_fan_out(module.weight)
    trunc_normal_(module.weight, std=0.02)
    clear(module.bias)
"""


def test_code_that_calls_by_attribute_gets_torchinits_functions() -> None:
    module, layer, expected = module_of(BY_ATTRIBUTE), nn.Linear(5, 4), torch.empty(4, 5)
    torch.manual_seed(0)
    torchinit.trunc_normal_(expected, std=0.02)
    with patch_torch():
        torch.manual_seed(0)
        assert path(torchinit.trunc_normal_) in called(lambda: module.init_weights(layer))
    assert torch.equal(layer.weight, expected)


@pytest.mark.parametrize("as_dict", [False, True], ids=["module", "dict"])
def test_code_that_imported_by_name_gets_torchinits_functions_where_its_namespace_is_given(as_dict: bool) -> None:
    module, layer = module_of(BY_NAME), nn.Linear(5, 4)
    held = dict(vars(module))
    with patch_torch(vars(module) if as_dict else module):
        assert (module.trunc_normal_, module.clear) == (torchinit.trunc_normal_, torchinit.zeros_)
        names = called(lambda: module.init_weights(layer))
        assert not [name for name in names if name.startswith("torch.")]
        assert path(torchinit.trunc_normal_) in names
    assert list(vars(module)) == list(held)
    assert all(value is held[name] for name, value in vars(module).items())


def test_code_that_imported_by_name_keeps_upstreams_functions_otherwise_with_torchinits_steps() -> None:
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


def test_namespace_that_grows_meanwhile_is_swapped() -> None:
    class Growing(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            self.update({key: value, f"seen {len(self)}": None})

    namespace = Growing(one=UPSTREAM["uniform_"], other=UPSTREAM["normal_"])
    with patch_torch(namespace):
        assert (namespace["one"], namespace["other"]) == (torchinit.uniform_, torchinit.normal_)
    assert (namespace["one"], namespace["other"]) == (UPSTREAM["uniform_"], UPSTREAM["normal_"])


# How it ends.


def test_block_puts_back_at_its_end() -> None:
    with patch_torch() as patch:
        assert isinstance(patch, Patch)
        assert swapped()
    assert not swapped()


def test_block_that_raises_puts_back_and_lets_the_error_out() -> None:
    with pytest.raises(KeyError, match="mine"), patch_torch():
        raise KeyError("mine")
    assert not swapped()


def test_function_patches_until_it_is_restored_and_again_does_nothing() -> None:
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


def test_patch_is_entered_once() -> None:
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


def test_patching_and_restoring_wait_for_what_another_thread_has_begun() -> None:
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


# Other people's patches.


def test_mock_made_before_is_swapped_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def mock(tensor: Tensor) -> Tensor:
        return tensor

    with monkeypatch.context() as patching:
        patching.setattr(INIT, "uniform_", mock)
        with patch_torch():
            assert swapped()
        assert INIT.uniform_ is mock
    assert not swapped()


def test_mock_made_within_holds_there_and_is_swapped_by_a_further_patch(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_patch_made_over_a_mock_outlives_one_made_under_it() -> None:
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


def test_name_that_somebody_took_away_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patching:
        held = dict(vars(INIT))
        patching.delattr(INIT, "sparse_")
        with patch_torch():
            assert not hasattr(INIT, "sparse_")
            assert INIT.uniform_ is torchinit.uniform_
        assert not hasattr(INIT, "sparse_")
    for name in held:  # in its place again
        vars(INIT)[name] = vars(INIT).pop(name)


def test_guard_of_transformers_within_a_patch_leaves_the_patch() -> None:
    initialization = pytest.importorskip("transformers.initialization")
    with patch_torch():
        with initialization.guard_torch_init_functions():
            assert INIT.uniform_ is initialization.uniform_
            with patch_torch():
                assert swapped()
            assert INIT.uniform_ is initialization.uniform_
        assert swapped()


# transformers.


def test_model_of_transformers_calls_torchinit_where_its_dict_is_given() -> None:
    functions = pytest.importorskip("transformers.initialization").TORCH_INIT_FUNCTIONS
    held = list(functions.items())
    transformers_models.vit()  # imports what it needs
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
    # torchinit's no-grad door alone is a detach; the third run took the first graph.
    assert ["detach" in targets for targets in runs] == [False, True]


def kaiming_by_attribute(x: Tensor) -> Tensor:
    return torch.nn.init.kaiming_uniform_(x, nonlinearity="relu")


def uniform_by_attribute(x: Tensor) -> Tensor:
    return torch.nn.init.uniform_(x, 2.0, 3.0)


def test_function_is_scripted_with_torchinits_functions_and_stays_so() -> None:
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


def test_function_scripted_before_stays_upstreams() -> None:
    before = str(torch.jit.script(uniform_by_attribute).inlined_graph)
    with patch_torch():
        assert str(torch.jit.script(uniform_by_attribute).inlined_graph) == before
    assert "detach" not in before


def test_model_made_while_patched_is_pickled_and_copied_as_ever() -> None:
    with patch_torch():
        model = nn.Sequential(nn.Linear(3, 4), nn.TransformerEncoderLayer(4, 2, 8))
        within = pickle.dumps(model)
        copied = copy.deepcopy(model)
    assert b"torchinit" not in within
    for other in (copied, pickle.loads(within), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        state = other.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_pickle_refuses_a_kept_function_of_upstreams_while_patched() -> None:
    kept = UPSTREAM["uniform_"]
    with patch_torch():
        with pytest.raises(pickle.PicklingError, match="not the same object"):
            pickle.dumps(kept)
        assert pickle.loads(pickle.dumps(INIT.uniform_)) is torchinit.uniform_
    assert pickle.loads(pickle.dumps(kept)) is kept
