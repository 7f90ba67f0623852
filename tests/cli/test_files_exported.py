"""Are the weights of torch.export and AOTInductor archives read, without their programs?"""

import io
import json
import random
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing._internal.two_tensor import TwoTensor

from tests.support.model_files import Net, load, refusal
from torchinit.cli._files import load_torchscript, read


class Varied(Net):
    """Weights with strides, another dtype and no elements, and a buffer of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.turned = nn.Parameter(torch.arange(12.0).reshape(3, 4).t())
        self.short = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
        self.none = nn.Parameter(torch.empty(0, 3))
        self.register_buffer("table", torch.arange(6, dtype=torch.int16).reshape(2, 3))
        self.register_buffer("temporary", torch.ones(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        sums = self.table.sum() + self.temporary + self.short + self.none.sum()
        return super().forward(x) @ self.turned.t()[:, :3] + sums


def _exported(model: nn.Module) -> bytes:
    contents = io.BytesIO()
    with warnings.catch_warnings():
        # torch warns about a transposed weight.
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(model.eval(), (torch.ones(1, 3),)), contents)
    return contents.getvalue()


@cache
def _exported_net() -> bytes:
    return _exported(Net())


def _saved(thing: Any) -> bytes:
    contents = io.BytesIO()
    torch.save(thing, contents)
    return contents.getvalue()


def _zip(path: Path, records: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in records.items():
            archive.writestr(name, contents)
    return path


def _records(contents: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _inductor(model: nn.Module) -> dict[str, bytes]:
    """Write what AOTInductor packages with package_constants_on_disk_format="pickle_weights"."""
    state = model.state_dict()
    about = {name: (f"weight_{i}", list(t.shape), list(t.stride()), 0) for i, (name, t) in enumerate(state.items())}
    return {
        "top/data/aotinductor/model/library.wrapper.so": b"\x7fELF",
        **{f"top/data/weights/weight_{i}": _saved(tensor.clone()) for i, tensor in enumerate(state.values())},
        "top/data/aotinductor/model/weights_config.json": json.dumps(about).encode(),
        "top/archive_format": b"pt2",
    }


OLDER: dict[str, Callable[[nn.Module], dict[str, bytes]]] = {
    "torch 2.8": lambda model: {"top/archive_format": b"pt2", "top/data/weights/model.pt": _saved(model.state_dict())},
    "torch 2.6": lambda model: {
        "serialized_exported_program.json": b"{}",
        "serialized_state_dict.pt": _saved(model.state_dict()),
        "serialized_constants.pt": b"",
    },
    "torch 2.1": lambda model: {
        "serialized_exported_program.json": b"{}",
        "serialized_state_dict.json": _saved(model.state_dict()),
    },
    "AOTInductor": _inductor,
}


def _assert_equal(path: Path, model: nn.Module) -> None:
    found, state = read(path), model.state_dict()
    assert isinstance(found, dict)
    assert found.keys() == state.keys()
    for name, tensor in found.items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, state[name])
        assert tensor.stride() == state[name].stride()


def test_weights_of_an_exported_program_are_read(tmp_path: Path) -> None:
    model = Varied()
    (tmp_path / "net").write_bytes(_exported(model))
    _assert_equal(tmp_path / "net", model)
    loaded = load(tmp_path / "net")
    assert loaded.head.weight is loaded.tail.weight


@pytest.mark.parametrize("how", OLDER)
def test_weights_of_older_and_compiled_archives_are_read(how: str, tmp_path: Path) -> None:
    model = Varied()
    _assert_equal(_zip(tmp_path / "net", OLDER[how](model)), model)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64, torch.uint16, torch.float16, torch.int8])
def test_dtypes_of_an_exported_program_survive(dtype: torch.dtype, tmp_path: Path) -> None:
    model = nn.Linear(3, 3)
    model.register_buffer("other", torch.ones(2, 2).to(dtype))
    (tmp_path / "net").write_bytes(_exported(model))
    _assert_equal(tmp_path / "net", model)


def test_program_is_not_read(tmp_path: Path) -> None:
    records = _records(_exported_net())
    for name in records:
        if "models/" in name or "constants" in name or "sample_inputs" in name:
            records[name] = b"not read"
    assert len(list(load(_zip(tmp_path / "net", records)).parameters())) == 5


def test_several_models_need_a_key(tmp_path: Path) -> None:
    weights = _saved(nn.Linear(2, 2).state_dict())
    records = {"top/archive_format": b"pt2", "top/data/weights/a.pt": weights, "top/data/weights/b.pt": weights}
    path = _zip(tmp_path / "net", records)
    assert refusal(path) == "--key must name one of the state dicts of DIR/net: a and b; got none"
    assert len(list(load(path, "b").parameters())) == 2


RULE = "a model file must hold a TorchScript archive, a state dict or safetensors, got DIR/net,"


def test_weights_in_a_compiled_library_are_refused(tmp_path: Path) -> None:
    records = {"top/data/aotinductor/model/library.wrapper.so": b"\x7fELF", "top/archive_format": b"pt2"}
    assert refusal(_zip(tmp_path / "net", records)) == (
        f"{RULE} an AOTInductor package, whose weights are in its compiled library; give the file of torch.export.save"
    )


def test_weight_of_a_custom_class_is_refused(tmp_path: Path) -> None:
    model = nn.Linear(3, 3, bias=False)
    model.weight = nn.Parameter(TwoTensor(torch.ones(3, 3), torch.ones(3, 3)))
    (tmp_path / "net").write_bytes(_exported(model))
    message = refusal(tmp_path / "net")
    assert message.startswith(f"{RULE} a pickle that holds code (")
    assert "TwoTensor" in message


def _change(**fields: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        about = config["config"]["body.0.weight"]
        for name, value in fields.items():
            (about if name in about else about["tensor_meta"])[name] = value

    return change


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no config": lambda config: config.clear(),
    "no list": lambda config: config.update(config=3),
    "another record": _change(path_name="../../x"),
    "no dtype": _change(dtype=99),
    "too large": _change(sizes=[{"as_int": 1 << 40}, {"as_int": 3}]),
    "negative": _change(sizes=[{"as_int": -1}, {"as_int": 3}]),
    "symbolic": _change(sizes=[{"as_expr": {"expr_str": "s0"}}]),
    "offset": _change(storage_offset={"as_int": 1}),
    "words": _change(strides="3, 1"),
    "sparse": _change(layout=1),
}


@pytest.mark.parametrize("how", WRONG)
def test_wrong_description_of_the_weights_is_refused(how: str, tmp_path: Path) -> None:
    records = _records(_exported_net())
    name = next(name for name in records if name.endswith("model_weights_config.json"))
    config = json.loads(records[name])
    WRONG[how](config)
    records[name] = json.dumps(config).encode()
    assert refusal(_zip(tmp_path / "net", records)).startswith(f"{RULE} an archive whose weights are damaged: ")


def test_changed_description_is_read_or_refused(tmp_path: Path) -> None:
    records, dice = _records(_exported_net()), random.Random(0)
    name = next(name for name in records if name.endswith("model_weights_config.json"))
    outcomes = set()
    for _ in range(60):
        changed = bytearray(records[name])
        changed[dice.randrange(len(changed))] = dice.randrange(256)
        path = _zip(tmp_path / "net", {**records, name: bytes(changed)})
        refused = None
        try:
            load(path)
        except RuntimeError as error:
            refused = str(error)
        assert refused is None or refused.isprintable()
        outcomes.add(refused is None)
    assert outcomes == {True, False}


def test_other_commands_name_the_format(tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(_exported_net())
    assert refusal(tmp_path / "net", load_torchscript) == (
        "this command needs a TorchScript file, got DIR/net, a torch.export archive"
    )


def test_compressed_weights_are_read(tmp_path: Path) -> None:
    model = Varied()
    records = _records(_exported(model))
    with zipfile.ZipFile(tmp_path / "net", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in records.items():
            archive.writestr(name, contents)
    _assert_equal(tmp_path / "net", model)


def test_pickled_weight_beside_raw_ones_is_read(tmp_path: Path) -> None:
    model = Net()
    records = _records(_exported_net())
    name = next(name for name in records if name.endswith("model_weights_config.json"))
    config, weight = json.loads(records[name]), torch.full((2, 5), 7.0)
    about = config["config"]["body.0.weight"]
    about["use_pickle"] = True
    place = next(name for name in records if name.endswith(f"data/weights/{about['path_name']}"))
    records |= {name: json.dumps(config).encode(), place: _saved(weight)}
    found = read(_zip(tmp_path / "net", records))
    assert isinstance(found, dict)
    assert found.keys() == model.state_dict().keys()
    assert torch.equal(found["body.0.weight"], weight)
