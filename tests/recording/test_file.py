"""Does a saved recording replay like the original?"""

import dataclasses
import enum
import os
import random
from pathlib import Path

import pytest
import torch
from torch import nn

import torchinit
from tests.support.built import assert_same_tensors, built
from tests.support.saved_models import FLOATS, MODELS, Tables
from torchinit.recording import RecordError, Recording, _file, _operators, load
from torchinit.recording._operators import ALLOWED, is_allowed
from torchinit.recording._program import Operation, Program, Ref
from torchinit.recording._replay import find_operator


@pytest.mark.parametrize("name", MODELS)
def test_loaded_recording_gives_the_bits_of_building(name: str, tmp_path: Path) -> None:
    expected, state = built(MODELS[name])
    torchinit.record(MODELS[name]).save(tmp_path / "model.init")
    generator = torch.Generator().manual_seed(0)
    model = load(tmp_path / "model.init").materialize_(MODELS[name](), generator=generator)
    assert_same_tensors(model, expected)
    assert torch.equal(generator.get_state(), state)


def _fields(operation: Operation) -> dict[str, str]:
    # A NaN differs from itself, so compare texts.
    return {field.name: repr(getattr(operation, field.name)) for field in dataclasses.fields(operation)}


@pytest.mark.parametrize("name", MODELS)
def test_loaded_program_is_the_saved_one(name: str) -> None:
    program = torchinit.record(MODELS[name]).program
    again = _file.deserialize(_file.serialize(program))
    assert [*map(_fields, again.operations)] == [*map(_fields, program.operations)]
    for part in {field.name for field in dataclasses.fields(program)} - {"operations", "constants"}:
        assert getattr(again, part) == getattr(program, part)
    assert again.constants.keys() == program.constants.keys()
    assert all(torch.equal(again.constants[number], program.constants[number]) for number in program.constants)
    assert _file.serialize(again) == _file.serialize(program)


@pytest.mark.parametrize("name", MODELS)
def test_loaded_recording_says_and_draws_by_key_the_same(name: str) -> None:
    recording = torchinit.record(MODELS[name])
    again = Recording(_file.deserialize(_file.serialize(recording.program)))
    assert str(again) == str(recording)
    assert again.to_json() == recording.to_json()
    key = torchinit.keyed.key(3)
    assert_same_tensors(again.materialize_(MODELS[name](), key=key), recording.materialize_(MODELS[name](), key=key))


class Careless(nn.Module):
    """A number of Python's, and memory as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((2,), random.random()))
        self.register_buffer("memory", torch.empty(3))


def test_loaded_recording_is_audited_like_the_saved_one(tmp_path: Path) -> None:
    recording = torchinit.record(Careless)
    recording.save(tmp_path / "model.init")
    program = load(tmp_path / "model.init").program
    assert program.outside == recording.program.outside != ()
    assert program.allocated == recording.program.allocated != {}
    # To find what to_empty() loses, an audit runs the model's code, which a file does not have.
    kinds = [finding for finding in recording.audit() if finding.kind != "lost"]
    assert load(tmp_path / "model.init").audit() == kinds != []


def test_recording_of_a_method_is_saved_with_what_was_given(tmp_path: Path) -> None:
    model = nn.BatchNorm1d(3)
    recording = torchinit.record(model.reset_parameters, model=model)
    recording.save(tmp_path / "norm.init")
    assert load(tmp_path / "norm.init").program.given == recording.program.given != frozenset()


def test_loaded_recording_builds_no_module(tmp_path: Path) -> None:
    torchinit.record(Tables).save(tmp_path / "model.init")
    with pytest.raises(RuntimeError, match=r"build\(\) needs the module, which only the recording has that record"):
        load(tmp_path / "model.init").build(seed=0)


class Mode(str, enum.Enum):
    """A word of a library's own type."""

    FAN_IN = "fan_in"


def kaiming_normal_(tensor: torch.Tensor, mode: str) -> None:
    nn.init.zeros_(tensor)


def test_save_names_an_argument_that_is_no_plain_value(tmp_path: Path) -> None:
    def build() -> nn.Module:
        layer = nn.Linear(3, 4)
        kaiming_normal_(layer.weight, Mode.FAN_IN)
        return layer

    with pytest.raises(RecordError, match=r"got <Mode.FAN_IN: 'fan_in'> of kaiming_normal_"):
        torchinit.record(build).save(tmp_path / "model.init")
    assert not (tmp_path / "model.init").exists()


def test_saving_and_loading_draw_nothing(tmp_path: Path) -> None:
    recording = torchinit.record(Tables)
    before = torch.get_rng_state()
    recording.save(tmp_path / "model.init")
    load(tmp_path / "model.init")
    assert torch.equal(torch.get_rng_state(), before)


def test_floats_are_saved_exactly() -> None:
    values = [*FLOATS, -float("nan"), 3, True, None, "fan_in", 2**64 - 1, 1.5 - 0.1j, complex("nan"), [[1, 2.0], []]]
    ref = Ref(0, torch.float32, (1,), (1,))
    calls = [torchinit.recording._program.Call("normal_", "lib", {"values": values}, {}, ref)]
    again = _file.deserialize(_file.serialize(Program((), (), tuple(calls), {0: 4}, {}))).calls[0].args["values"]
    assert repr(again) == repr(values)
    assert torch.tensor(again[8]).signbit()
    assert not torch.tensor(again[7]).signbit()


def test_float_of_numpy_is_saved_as_a_float(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    torchinit.record(lambda: _Filled(numpy.float64(0.1))).save(tmp_path / "model.init")
    assert load(tmp_path / "model.init").materialize_(_Filled(0.0)).w.tolist() == [torch.tensor(0.1).item()] * 2


class _Filled(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.empty(2))
        nn.init.constant_(self.w, value)


def test_file_is_written_over_another_only_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = torchinit.record(lambda: nn.Linear(2, 2))
    path = tmp_path / "model.init"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"^an existing file is overwritten only with overwrite=True, got .*"):
        recording.save(path)
    assert path.read_text() == "mine"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", _full)
        with pytest.raises(OSError, match="No space left"):
            recording.save(path, overwrite=True)
    assert path.read_text() == "mine"
    recording.save(path, overwrite=True)
    assert load(path).program.entries == recording.program.entries
    with pytest.raises(ValueError, match=r"must end in \.init, got .*model\.json"):
        recording.save(tmp_path / "model.json")
    with pytest.raises(FileNotFoundError):
        recording.save(tmp_path / "none" / "model.init")
    assert [each.name for each in tmp_path.iterdir()] == ["model.init"]


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


@torch.library.custom_op("torchinit_tests::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twice.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Custom(nn.Module):
    """A parameter that an operator of its own makes, or one that it makes for nothing."""

    def __init__(self, used: bool) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
        made = twice(self.w.detach())
        if used:
            self.w = nn.Parameter(made)


def test_save_names_an_operator_that_is_not_allowed(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=rf"torchinit_tests\.twice\.default at {__file__}:\d+; "):
        torchinit.record(lambda: Custom(True)).save(tmp_path / "model.init")
    assert not (tmp_path / "model.init").exists()


def test_operator_that_no_tensor_needs_is_left_out(tmp_path: Path) -> None:
    torchinit.record(lambda: Custom(False)).save(tmp_path / "model.init")
    assert "twice" not in (tmp_path / "model.init").read_text()
    assert_same_tensors(load(tmp_path / "model.init").materialize_(Custom(False)), Custom(False))


def test_operators_of_the_list_only_compute() -> None:
    known = [name for name in ALLOWED if hasattr(getattr(torch.ops.aten, name.split(".")[1]), name.split(".")[2])]
    # Other releases of torch lack a few.
    assert len(known) > 0.95 * len(ALLOWED)
    for name in known:
        schema = find_operator(name)._schema
        types = " ".join(str(argument.type) for argument in schema.arguments)
        assert name.startswith("aten.")
        assert not any(word in types for word in ("Storage", "Stream", "Any", "__torch__")), name
        assert not {"out", "filename"} & {argument.name for argument in schema.arguments}, name
        assert not any(word in name for word in ("from_file", "save", "resize", "set_data", "as_strided")), name


def test_operator_of_the_list_that_this_torch_lacks_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_operators, "ALLOWED", {"aten.of_another_torch.default", "aten.mul.Tensor"})
    assert not is_allowed("aten.of_another_torch.default")
    assert is_allowed("aten.mul.Tensor")
