"""Does every call on a GPU draw from that device's generator alone, and refuse what the CPU refuses?

``tests/core/test_parity.py`` compares the functions of ``torch.nn.init`` with it on a GPU too.
"""

import math
from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from tests.support.gpu import DEVICE, FLOATS, ON_GPU, blank, device_generator
from tests.support.layers import LAYERS, differing
from tests.support.outcome import observe
from tests.support.record import Record, Refusal
from tests.support.records import RECORDS, REFUSALS, call_id
from torchinit import recipes
from torchinit.diagnostics import signal, statistics

CURRENT = [record for record in RECORDS if record.name == record.current_name]
DRAWING = [record for record in CURRENT if record.takes_generator]
CALLS = [(record, call) for record in DRAWING for call in record.calls + record.unmatched]
WRITING = [record for record in CURRENT if not record.takes_generator]

needs_two_devices = pytest.mark.skipif(not ON_GPU, reason="needs two devices")


def _states() -> list[bytes]:
    """Return the states of the global generators of the CPU and of the device."""
    states = [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if ON_GPU else [])]
    return [bytes(state.tolist()) for state in states]


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
@pytest.mark.parametrize("with_generator", [False, True], ids=["global", "generator"])
def test_a_seed_repeats_the_values_and_the_state(
    record: Record, arguments: dict[str, Any], with_generator: bool
) -> None:
    for dtype in FLOATS:
        first, second = (
            observe(record.function, blank(record.shape, dtype), arguments, with_generator) for _ in range(2)
        )
        assert first.error is None
        assert not first.differences(second)


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_only_the_given_generator_is_drawn_from(record: Record, arguments: dict[str, Any]) -> None:
    states = _states()
    weight = record.function(blank(record.shape), **arguments, generator=device_generator(5))
    assert not weight.isnan().any()
    assert _states() == states


@needs_two_devices
@pytest.mark.parametrize("record", [record for record in DRAWING if record.name != "sparse_"], ids=call_id)
def test_a_draw_without_a_generator_leaves_the_cpus_state(record: Record) -> None:
    state = torch.get_rng_state()
    record.function(blank(record.shape), **record.calls[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("record", WRITING, ids=call_id)
def test_values_that_are_not_drawn_are_the_cpus(record: Record) -> None:
    for dtype in (*FLOATS, torch.complex64):
        for arguments in record.calls:
            expected = record.function(torch.full(record.shape, 7.0, dtype=dtype), **arguments)
            drawn = record.function(torch.full(record.shape, 7.0, dtype=dtype, device=DEVICE), **arguments)
            assert torch.equal(drawn.cpu(), expected), (dtype, arguments)


# The mean of a standard normal beyond 3 is phi(3) / Q(3).
@pytest.mark.parametrize(
    ("arguments", "mean"),
    [({"a": -math.inf, "b": math.inf}, 0.0), ({"a": 3.0, "b": 10.0}, 3.2831), ({"std": 0.02}, 0.0)],
    ids=["unbounded", "tail", "narrow"],
)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_million_truncated_normal_values_are_finite_and_within_their_bounds(
    arguments: dict[str, float], mean: float, dtype: torch.dtype
) -> None:
    weight = torchinit.trunc_normal_(blank((1100, 1000), dtype), **arguments, generator=device_generator(1))
    assert weight.isfinite().all()
    assert float(weight.min()) >= arguments.get("a", -2.0)
    assert float(weight.max()) <= arguments.get("b", 2.0)
    # Ten deviations of the mean of a million values.
    assert float(weight.double().mean()) == pytest.approx(mean, abs=0.01)


@pytest.mark.parametrize(("record", "refusal"), REFUSALS, ids=call_id)
def test_refusals_are_the_cpus_word_for_word_and_change_nothing(record: Record, refusal: Refusal) -> None:
    expected = observe(record.function, refusal.tensor(), refusal.arguments)
    before = observe(lambda tensor: tensor, refusal.tensor().to(DEVICE), {})
    refused = observe(record.function, refusal.tensor().to(DEVICE), refusal.arguments)
    assert refused.error is not None
    assert refused.error == expected.error
    assert refused.memory == before.memory
    assert refused.global_state == before.global_state


@needs_two_devices
@pytest.mark.parametrize("record", DRAWING, ids=call_id)
def test_generator_of_another_device_is_refused_before_a_write(record: Record) -> None:
    for tensor_on, generator_on in ((DEVICE, "cpu"), ("cpu", DEVICE)):
        weight = torch.full(record.shape, 7.0, device=tensor_on)
        generator = torch.Generator(generator_on).manual_seed(5)
        state = generator.get_state()

        def said(function: Any, weight: Any = weight, generator: Any = generator) -> str:
            with pytest.raises(RuntimeError, match="device type for generator but found") as caught:
                function(weight, **record.calls[0], generator=generator)
            return str(caught.value).splitlines()[0]

        own = said(record.function)
        assert (weight == 7.0).all()
        assert torch.equal(generator.get_state(), state)
        if record.upstream:
            assert own == said(getattr(torch.nn.init, record.name))


@needs_two_devices
def test_recipe_refuses_a_generator_of_another_device_by_the_parameters_name() -> None:
    layer = nn.Linear(3, 2).to(DEVICE)
    before = layer.weight.clone()
    with pytest.raises(RuntimeError, match=r"parameters' device, got one on cpu for weight on cuda:0$"):
        recipes.torch_default().apply_(layer, torch.Generator())
    assert torch.equal(layer.weight, before)


def _reset(model: nn.Module) -> nn.Module:
    """Seed the device, and let every layer of the model reset itself."""
    torch.manual_seed(3)
    for module in model.modules():
        for name in ("reset_parameters", "_reset_parameters"):
            getattr(module, name, lambda: None)()
    return model


@pytest.mark.parametrize("name", LAYERS)
def test_patched_layers_reset_themselves_with_the_same_bits(name: str) -> None:
    expected = _reset(LAYERS[name].make().to(DEVICE))
    model = LAYERS[name].make().to(DEVICE)
    with torchinit.patch_torch():
        _reset(model)
    assert differing(model, expected) == []


@pytest.mark.parametrize("name", LAYERS)
def test_default_recipe_equals_constructing_the_layer_on_the_device(name: str) -> None:
    torch.manual_seed(7)
    with torch.device(DEVICE):
        fresh = LAYERS[name].make()
    model = recipes.torch_default().apply_(LAYERS[name].make().to(DEVICE), device_generator(7))
    assert differing(model, fresh) == []


def test_diagnostics_of_a_model_on_the_device_are_the_cpus_and_leave_no_trace() -> None:
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))
    inputs = torch.randn(16, 32)
    expected, numbers = signal(model, inputs), statistics(model)
    model.to(DEVICE)
    states = _states()
    rows = signal(model, inputs.to(DEVICE))
    assert _states() == states
    assert [row.layer for row in rows] == [row.layer for row in expected]
    for row, other in zip(rows, expected, strict=True):
        # A GPU may multiply matrices in TF32, of 11 bits.
        assert row.activation == pytest.approx(other.activation, rel=2e-3)
        assert row.weight == pytest.approx(other.weight, rel=1e-5)
    for one, two in zip(statistics(model), numbers, strict=True):
        assert one.name == two.name
        assert one.std == pytest.approx(two.std, rel=1e-5)
