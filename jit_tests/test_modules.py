"""Do modules whose reset_parameters calls torchinit survive script, save, load and a fresh process?"""

import io
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.jit.mobile import _load_for_lite_interpreter

import torchinit
from jit_tests.scripting import run_quietly
from tests.support.record import Record
from tests.support.records import CALLS, RECORDS, call_id
from tests.support.tutorial_models import INPUTS

MODELS = pytest.mark.parametrize("model", INPUTS, ids=lambda model: model.__name__)


def _scripted(model: type[nn.Module]) -> Any:
    return run_quietly(torch.jit.script, model())


def _reloaded(module: Any) -> Any:
    file = io.BytesIO()
    run_quietly(torch.jit.save, module, file)
    file.seek(0)
    return run_quietly(torch.jit.load, file)


def _reset(module: Any, generator: torch.Generator | None = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(11)
    module.reset_parameters(generator) if generator else module.reset_parameters()
    return dict(module.named_parameters())


@MODELS
@pytest.mark.parametrize("with_generator", [False, True], ids=["global", "generator"])
def test_reset_parameters_equals_eager_when_scripted_and_when_loaded(
    model: type[nn.Module], with_generator: bool
) -> None:
    torch.manual_seed(0)
    eager = model()
    before = {name: parameter.detach().clone() for name, parameter in eager.named_parameters()}
    compiled = _scripted(model)
    generators = [torch.Generator().manual_seed(5) if with_generator else None for _ in range(4)]
    expected = {n: p.detach().clone() for n, p in _reset(eager, generators[0]).items()}
    changed = [name for name in expected if not torch.equal(before[name], expected[name])]
    assert changed
    loaded = _reloaded(compiled)
    for module, generator in ((compiled, generators[1]), (loaded, generators[2]), (_reloaded(loaded), generators[3])):
        actual = _reset(module, generator)
        assert all(torch.equal(actual[name], expected[name]) for name in changed)
        assert all(parameter.requires_grad and parameter.is_leaf for parameter in actual.values())


@MODELS
def test_reset_model_still_runs_and_trains(model: type[nn.Module]) -> None:
    module = _reloaded(_scripted(model))
    _reset(module)
    module(INPUTS[model]).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@MODELS
def test_reset_parameters_in_the_lite_interpreter_gives_the_same_model(model: type[nn.Module], tmp_path: Path) -> None:
    compiled = _scripted(model).eval()
    run_quietly(compiled._save_for_lite_interpreter, str(tmp_path / "model.ptl"))
    lite = _load_for_lite_interpreter(str(tmp_path / "model.ptl"))
    x = INPUTS[model]
    initial = compiled(x)
    torch.manual_seed(11)
    lite.run_method("reset_parameters", None)
    _reset(compiled)
    assert torch.equal(lite(x), compiled(x))
    assert not torch.equal(lite(x), initial)


def test_loaded_files_reset_where_torchinit_cannot_be_imported(tmp_path: Path) -> None:
    for model in INPUTS:
        compiled = _scripted(model)
        run_quietly(torch.jit.save, compiled, str(tmp_path / f"{model.__name__}.pt"))
        expected = {name: parameter.detach() for name, parameter in _reset(compiled).items()}
        torch.save(expected, tmp_path / f"{model.__name__}.expected")
    code = """
import sys
sys.modules["torchinit"] = None
import torch
for model in sys.argv[1:]:
    module = torch.jit.load(f"{model}.pt")
    initial = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    torch.manual_seed(11)
    module.reset_parameters()
    expected = torch.load(f"{model}.expected")
    assert any(not torch.equal(parameter, initial[name]) for name, parameter in module.named_parameters()), model
    assert all(torch.equal(parameter, expected[name]) for name, parameter in module.named_parameters()), model
    print(model)
"""
    names = [model.__name__ for model in INPUTS]
    command = [sys.executable, "-c", code, *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.split() == names, done.stderr


@pytest.mark.parametrize(("record", "arguments"), CALLS, ids=call_id)
def test_traced_initializer_is_recorded_and_replays_on_a_parameter(record: Record, arguments: dict[str, Any]) -> None:
    def fill(weight: torch.Tensor) -> torch.Tensor:
        return record.function(weight, **arguments)

    traced = run_quietly(torch.jit.trace, fill, torch.empty(record.shape), check_trace=False)
    weight = nn.Parameter(torch.zeros(record.shape))
    torch.manual_seed(2)
    traced(weight)
    torch.manual_seed(2)
    assert torch.equal(weight, fill(torch.empty(record.shape)))


@pytest.mark.parametrize("name", ["uniform_", "normal_", "constant_", "ones_", "zeros_", "eye_"])
def test_trace_of_a_fill_on_a_parameter_shows_no_warning(name: str) -> None:
    record = next(record for record in RECORDS if record.name == name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", "`torch.jit")
        weight = nn.Parameter(torch.zeros(record.shape))
        torch.jit.trace(lambda w: record.function(w, **record.calls[0]), weight, check_trace=False)


def test_trace_of_a_large_trunc_normal_replays_at_another_size() -> None:
    traced = run_quietly(torch.jit.trace, torchinit.trunc_normal_, torch.empty(2000, 1000), check_trace=False)
    torch.manual_seed(2)
    replayed = traced(torch.empty(1000, 1000))
    torch.manual_seed(2)
    assert torch.equal(replayed, torchinit.trunc_normal_(torch.empty(1000, 1000)))
