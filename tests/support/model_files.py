"""Models, and files that store them."""

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from torchinit._core.torchscript import silenced
from torchinit.cli._files import read
from torchinit.diagnostics._parameters import module_of


class Net(nn.Module):
    """Nested layers, and a weight shared by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 3, bias=False)
        self.tail = nn.Linear(4, 3, bias=False)
        self.tail.weight = self.head.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)) + self.tail(self.body(x))


def scripted(model: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.script(model)


def save_mobile(model: nn.Module, path: Path) -> None:
    with silenced():
        scripted(model)._save_for_lite_interpreter(str(path))


def save_safetensors(model: nn.Module, path: Path) -> None:
    # save_file refuses tied tensors; drop one, as save_model does.
    state = model.state_dict()
    safetensors.torch.save_file({name: state[name] for name in state if name != "tail.weight"}, path)


WRITERS: dict[str, Callable[[nn.Module, Path], Any]] = {
    "script": lambda model, path: scripted(model).save(str(path)),
    "mobile": save_mobile,
    "zip": lambda model, path: torch.save(model.state_dict(), path),
    "legacy": lambda model, path: torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False),
    "safetensors": save_safetensors,
}


def load(path: Path, key: str | None = None) -> nn.Module:
    """Read a model as ``inspect`` does."""
    found = read(path, key)
    return found if isinstance(found, nn.Module) else module_of(found)


@pytest.fixture(params=WRITERS)
def saved_model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[nn.Module, Path]:
    # The suffix names no format, so that load must look at the contents.
    model, path = Net(), tmp_path / "model.bin"
    WRITERS[request.param](model, path)
    return model, path


def refusal(path: Path, read: Callable[[Path], Any] = load) -> str:
    with warnings.catch_warnings():
        # A refusal is one line, with no warning before it.
        warnings.simplefilter("error")
        with pytest.raises((RuntimeError, OSError)) as caught:
            read(path)
    message = str(caught.value)
    assert message.isprintable()
    assert str(path) in message
    return message.replace(str(path.parent), "DIR")


def rewrite(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes in the records of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        records = {record.filename: archive.read(record) for record in archive.infolist()}
    assert any(old in contents for contents in records.values())
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in records.items():
            archive.writestr(name, contents.replace(old, new))
