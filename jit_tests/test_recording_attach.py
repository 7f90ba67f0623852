"""Does a file with an attached recording fill itself as the model's own code does, in Python and on mobile?"""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

import torchinit
from jit_tests.scripting import on_mobile, reloaded, run_quietly, unoptimized
from tests.support.built import tensors_of
from tests.support.recorded_models import TRACED, ResNet
from torchinit import keyed
from torchinit.recording import Recording

SEED = 7
SCRIPTED: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "lstm": (lambda: nn.LSTM(3, 4, 2, bidirectional=True), (torch.zeros(5, 2, 3),)),
    "transformer": (lambda: nn.Transformer(8, 2, 2, 2, 16, dropout=0.0), (torch.ones(3, 2, 8), torch.ones(4, 2, 8))),
}
FAST = ("lstm", "transformer", "everything", "resnet", "bert", "mamba")
# Optimizing the methods by key of all models would take half a minute; these draw uniform and normal values in loops.
OPTIMIZED = ("lstm", "resnet")
NAMES = [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in {**SCRIPTED, **TRACED}]


def _generator(seed: int = SEED) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _script(model: nn.Module) -> torch.jit.ScriptModule:
    return run_quietly(torch.jit.script, model)


def _trace(model: nn.Module, *inputs: Tensor) -> torch.jit.ScriptModule:
    return run_quietly(torch.jit.trace, model.eval(), inputs, check_trace=False, strict=False)


@functools.cache
def _recorded(name: str) -> tuple[Recording, torch.jit.ScriptModule]:
    build, inputs = {**SCRIPTED, **TRACED}[name]
    model = run_quietly(build).eval()
    file = _script(model) if name in SCRIPTED else _trace(model, *inputs)
    return run_quietly(torchinit.record, build), file


def _deployed(name: str) -> tuple[nn.Module, Recording, torch.jit.ScriptModule]:
    """Return a model with other values than its file, its recording and its file, to which a test must not write."""
    return run_quietly({**SCRIPTED, **TRACED}[name][0]).eval(), *_recorded(name)


def _bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _assert_same(actual: nn.Module, expected: nn.Module) -> None:
    own, others = tensors_of(actual), tensors_of(expected)
    assert list(own)
    assert set(own) == set(others)
    assert [name for name in own if _bits(own[name]) != _bits(others[name])] == []


def _origin(method: str, seed: int) -> dict[str, Any]:
    return {"key": keyed.key(seed)} if method == "reset_parameters_keyed" else {"seed": seed}


@pytest.mark.parametrize("name", NAMES)
def test_attached_methods_give_the_bits_of_materialize(name: str) -> None:
    model, recording, file = _deployed(name)
    net = reloaded(recording.attach(file))
    expected, actual = _generator(), _generator()
    recording.materialize_(model, generator=expected)
    for _ in range(3):  # later runs use the optimised graph
        actual.set_state(_generator().get_state())
        net.reset_parameters(actual)
        _assert_same(net, model)
    assert torch.equal(actual.get_state(), expected.get_state())
    state = torch.get_rng_state()
    recording.materialize_(model, key=keyed.key(SEED))
    with torch.jit.optimized_execution(name in OPTIMIZED):
        for _ in range(2):
            net.reset_parameters_keyed(SEED)
            _assert_same(net, model)
    assert torch.equal(torch.get_rng_state(), state)
    assert not hasattr(file, "reset_parameters")


def test_without_a_generator_the_default_one_draws() -> None:
    model, recording, file = _deployed("everything")
    net = recording.attach(file)
    torch.manual_seed(3)
    net.reset_parameters()
    after = torch.get_rng_state()
    recording.materialize_(model, seed=3)
    _assert_same(net, model)
    torch.manual_seed(3)
    recording.materialize_(model)
    assert torch.equal(after, torch.get_rng_state())


@pytest.mark.parametrize("name", ["everything", "transformer", pytest.param("mamba", marks=pytest.mark.slow)])
def test_mobile_interpreter_gives_the_same_from_a_seed_and_a_key(name: str) -> None:
    model, recording, file = _deployed(name)
    inputs = {**SCRIPTED, **TRACED}[name][1]
    net = recording.attach(file, mobile=True)
    lite, net = on_mobile(net), reloaded(net)
    for method, seed in (("reset_parameters", SEED), ("reset_parameters_keyed", -SEED)):
        lite.run_method(method, seed)
        with unoptimized():
            getattr(net, method)(seed)
        actual, expected = (tree_flatten(run(*inputs))[0] for run in (lite, net))
        assert [_bits(one) == _bits(other) for one, other in zip(actual, expected, strict=True)] == [True] * len(actual)
        recording.materialize_(model, **_origin(method, seed))
        _assert_same(net, model)


def test_loop_is_as_long_for_many_layers_as_for_few() -> None:
    graphs = []
    for blocks in (2, 12):
        build = lambda blocks=blocks: ResNet(blocks)  # noqa: E731
        net = torchinit.record(build).attach(_trace(build(), torch.zeros(1, 3, 32, 32)))
        graphs.append([net._c._get_method(name).graph for name in ("reset_parameters", "reset_parameters_keyed")])
    for few, many in zip(*graphs):
        kinds = ["prim::Loop", "prim::If", "aten::normal_", "aten::uniform_"]
        assert [len(few.findAllNodes(k)) for k in kinds] == [len(many.findAllNodes(k)) for k in kinds]


def test_values_that_depend_on_no_draw_are_stored_once() -> None:
    _, recording, file = _deployed("everything")
    tables = recording.attach(file)._torchinit_recorded[1]
    masks = [table for table in tables if table.dtype == torch.bool]
    assert [table.tolist() for table in masks] == [[i >= j for i in range(5) for j in range(5)]]


class Tables(nn.Module):
    """Buffers of one value, which need no table."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(300, 400))
        for index, buffer in enumerate([torch.zeros(9, dtype=torch.int64), torch.ones(9, dtype=torch.bool)]):
            self.register_buffer(str(index), buffer)
        self.register_buffer("nan", torch.full((3,), float("nan")))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


def test_one_value_is_no_table() -> None:
    net = torchinit.record(Tables).attach(_trace(Tables(), torch.zeros(1)))
    assert net._torchinit_recorded[1] == []
    net.weight.detach().fill_(5)
    net.reset_parameters()
    _assert_same(net, Tables())


def test_file_of_another_dtype_and_memory_format_gets_the_rounded_values() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Embedding(8, 9))

    recording = torchinit.record(build)
    other = build().to(memory_format=torch.channels_last)
    files = [_script(copy.deepcopy(other)), _script(other.to(torch.bfloat16)), recording.attach(_script(build()))]
    for file, dtype in zip(files, (torch.float32, torch.bfloat16, torch.bfloat16)):
        net = reloaded(file if hasattr(file, "reset_parameters") else recording.attach(file)).to(dtype)
        net.reset_parameters(_generator())
        _assert_same(net, recording.materialize_(build(), seed=SEED).to(dtype))
        with unoptimized():
            net.reset_parameters_keyed(SEED)
        _assert_same(net, recording.materialize_(build(), key=keyed.key(SEED)).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_recorded_reset_keeps_what_it_does_not_write(dtype: torch.dtype) -> None:
    model = nn.Linear(3, 4)

    def reset() -> None:
        with torch.no_grad():
            model.weight[1:3].normal_()
            model.weight.mul_(2.0)

    recording = torchinit.record(reset, model=model)
    expected = nn.Linear(3, 4)
    expected.load_state_dict(model.state_dict())
    net = recording.attach(_script(copy.deepcopy(model).to(dtype)))
    recording.materialize_(expected, generator=_generator())
    net.reset_parameters(_generator())
    _assert_same(net, expected.to(dtype))
    assert torch.equal(net.weight[0], 2 * model.weight[0])


def test_recorded_reset_without_a_draw_computes_from_the_values_of_the_file() -> None:
    model = nn.Linear(3, 4)

    def reset() -> None:
        with torch.no_grad():
            model.weight.mul_(2.0)
            model.bias[:1] = 1.0

    net = reloaded(torchinit.record(reset, model=model).attach(_script(nn.Linear(3, 4))))
    for fill in (lambda: net.reset_parameters(_generator()), lambda: net.reset_parameters_keyed(SEED)):
        weight, bias = net.weight.detach().clone(), net.bias.detach().clone()
        fill()
        assert torch.equal(net.weight, 2 * weight)
        assert torch.equal(net.bias, torch.cat([torch.ones(1), bias[1:]]))


class Partial(nn.Module):
    """A table of which its code writes a part."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))
        self.register_buffer("table", torch.empty(4))
        self.table[:2] = 1.0


def test_memory_that_the_code_leaves_as_it_came_is_left_in_a_file_too() -> None:
    file = Partial()
    file.table[2:] = 5.0
    net = reloaded(torchinit.record(Partial).attach(_script(file)))
    for fill in (lambda: net.reset_parameters(_generator()), lambda: net.reset_parameters_keyed(SEED)):
        net.table[:2] = 3.0
        fill()
        assert net.table.tolist() == [1.0, 1.0, 5.0, 5.0]


class Seeds(nn.Module):
    """Seeds the default generator, and goes back to a state that it has left."""

    def __init__(self, early: bool = True) -> None:
        super().__init__()
        self.before = nn.Parameter(torch.randn(3))
        torch.manual_seed(2**64 - 5)
        self.seeded = nn.Parameter(torch.randn(3))
        state = torch.get_rng_state()
        if not early:
            self.drawn = nn.Parameter(torch.randn(3))
        for seed in (5, 6):
            torch.manual_seed(seed)
            self.register_parameter(f"seed{seed}", nn.Parameter(torch.randn(3)))
        torch.set_rng_state(state)
        self.after = nn.Parameter(torch.randn(3))
        torch.manual_seed(8)
        self.last = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_seeds_of_the_model_are_set_and_states_come_back() -> None:
    recording = torchinit.record(Seeds)
    net, model = recording.attach(_script(Seeds())), Seeds()
    expected, actual = _generator(), _generator()
    recording.materialize_(model, generator=expected)
    net.reset_parameters(actual)
    _assert_same(net, model)
    assert torch.equal(actual.get_state(), expected.get_state())
    net.reset_parameters()
    assert torch.equal(net.last, model.last)
    assert torch.equal(torch.get_rng_state(), expected.get_state())


def test_return_to_a_state_that_was_drawn_from_is_refused() -> None:
    def build() -> nn.Module:
        return Seeds(early=False)

    with pytest.raises(RuntimeError, match=r"has not drawn from since, got set_rng_state at .*\.py:\d+; seed after"):
        torchinit.record(build).attach(_script(build()))


class Multinomial(nn.Module):
    """Draws what no key gives."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("drawn", torch.multinomial(torch.ones(9), 4))
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_draw_that_no_key_gives_leaves_the_other_method() -> None:
    recording = torchinit.record(Multinomial)
    net = reloaded(recording.attach(_script(Multinomial())))
    net.reset_parameters(_generator())
    _assert_same(net, recording.materialize_(Multinomial(), seed=SEED))
    with pytest.raises(torch.jit.Error, match=r"multinomial at .*; materialize from a seed"):
        net.reset_parameters_keyed(SEED)


def test_module_frozen_after_attaching_still_resets_itself() -> None:
    recording = torchinit.record(lambda: ResNet(1))
    net = reloaded(recording.attach(_script(ResNet(1)))).eval()
    methods = ["reset_parameters", "reset_parameters_keyed"]
    frozen = run_quietly(torch.jit.freeze, net, preserved_attrs=methods)
    x = torch.ones(1, 3, 8, 8)
    for method, argument in zip(methods, (_generator, lambda: SEED)):
        with torch.no_grad(), torch.jit.optimized_execution(method == "reset_parameters"):
            for _ in range(2):
                getattr(frozen, method)(argument())
            getattr(net, method)(argument())
        assert torch.equal(frozen(x), net(x))


def test_tied_tensor_is_written_once() -> None:
    model, recording, file = _deployed("everything")
    net = reloaded(recording.attach(file))
    assert net.tied.weight.data_ptr() == net.tie.weight.data_ptr()
    version = net.tied.weight._version
    net.reset_parameters(_generator())
    recording.materialize_(model, seed=SEED)
    assert torch.equal(net.tie.weight, model.tie.weight)
    assert net.tied.weight._version == version + 1


def test_buffer_that_the_file_lacks_is_skipped() -> None:
    class Positions(nn.Module):
        def __init__(self, registered: bool = True) -> None:
            super().__init__()
            self.head = nn.Linear(3, 3)
            positions = torch.rand(3)
            if registered:
                self.register_buffer("positions", positions, persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x)

    recording = torchinit.record(Positions)
    net = recording.attach(_trace(Positions(registered=False), torch.zeros(3)))
    net.reset_parameters(_generator())
    expected = recording.materialize_(Positions(), seed=SEED)
    assert torch.equal(net.head.weight, expected.head.weight)
    net.reset_parameters_keyed(SEED)


def test_methods_take_a_generator_or_on_mobile_a_seed() -> None:
    recording, file = torchinit.record(lambda: nn.Linear(2, 2)), _script(nn.Linear(2, 2))
    schemas = [str(recording.attach(file, mobile).reset_parameters.schema) for mobile in (False, True)]
    assert schemas[0].endswith("self, Generator? generator=None) -> NoneType")
    assert schemas[1].endswith("self, int? seed=None) -> NoneType")
