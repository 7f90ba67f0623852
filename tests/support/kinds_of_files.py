"""A model in each kind of file that the command line may be given."""

import functools
import io
import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import torchinit
from tests.support.model_files import save_mobile
from torchinit._core.torchscript import silenced
from torchinit.cli._exported import is_rewritable

# Names this module's model on the command line.
LIKE = "tests.support.kinds_of_files:Small"


class Small(nn.Module):
    """Layers with a bias, running statistics, groups, a weight under two names, and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 4, padding_idx=2)
        self.conv = nn.Conv1d(4, 4, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.words.weight
        self.register_buffer("table", torch.arange(3.0))
        self.register_buffer("temporary", torch.ones(4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        embedded = (x @ self.words.weight + self.temporary).unsqueeze(2)
        return self.out(self.norm(self.conv(embedded)).squeeze(2)) + self.table.sum()


def small() -> Small:
    """Make the model, after training: no tensor has its first value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Small().eval()
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.add_(torch.ones_like(tensor))
    return model


def _script(module: nn.Module, path: Path, change: Callable[[Any], Any] = lambda scripted: scripted) -> None:
    with warnings.catch_warnings(), silenced():
        warnings.simplefilter("ignore")
        change(torch.jit.script(module)).save(str(path))


def _traced(path: Path) -> None:
    with silenced():
        torch.jit.trace(small(), torch.ones(2, 7)).save(str(path))


def _quantized(of: tuple[Any, ...] = (nn.Linear,)) -> nn.Module:
    with warnings.catch_warnings():
        # torch deprecates quantization.
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(7, 4)), set(of))


def untied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the second name of a tied weight, as safetensors does."""
    return {name: tensor for name, tensor in state.items() if name != "out.weight"}


def save_shards(folder: Path, save: Callable[[Any, Path], object], stem: str, suffix: str) -> Path:
    """Write two shards and their index, both with the tied weight."""
    state, places = small().state_dict(), {}
    for number in (1, 2):
        shard = f"{stem}-{number:05}-of-00002{suffix}"
        own = {name: x.clone() for index, (name, x) in enumerate(state.items()) if index % 2 == number - 1}
        places |= dict.fromkeys(own, shard)
        save(own, folder / shard)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": {name: places[name] for name in state}}))
    return index


def _exported(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(small(), (torch.ones(2, 7),)), path)


def _pickled_weights(path: Path) -> None:
    """Write an archive of torch.export as torch 2.8 did."""
    contents = io.BytesIO()
    torch.save(small().state_dict(), contents)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("top/archive_format", b"pt2")
        archive.writestr("top/data/weights/model.pt", contents.getvalue())


def _directory(path: Path, write: Callable[[Path], object]) -> None:
    path.mkdir()
    write(path)
    (path / "config.json").write_text("{}")


# Kinds of files, each with a name and what writes it.
KINDS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "TorchScript, scripted": ("a.pt", lambda path: _script(small(), path)),
    "TorchScript, traced": ("a.pt", _traced),
    "TorchScript, for mobile": ("a.ptl", lambda path: save_mobile(small(), path)),
    "TorchScript, frozen": ("a.pt", lambda path: _script(small(), path, torch.jit.freeze)),
    "TorchScript, quantized": ("a.pt", lambda path: _script(_quantized(), path)),
    "state dict": ("a.pt", lambda path: torch.save(small().state_dict(), path)),
    "state dict before torch 1.6": (
        "a.pth",
        lambda path: torch.save(small().state_dict(), path, _use_new_zipfile_serialization=False),
    ),
    "checkpoint": ("a.ckpt", lambda path: torch.save({"state_dict": small().state_dict(), "epoch": 3}, path)),
    "state dict, quantized": ("a.pt", lambda path: torch.save(_quantized().state_dict(), path)),
    "safetensors": (
        "a.safetensors",
        lambda path: safetensors.torch.save_file(untied(small().state_dict()), path, metadata={"format": "pt"}),
    ),
    "index of shards": (
        "model.safetensors.index.json",
        lambda path: save_shards(path.parent, safetensors.torch.save_file, "model", ".safetensors"),
    ),
    "directory of shards": (
        "folder",
        lambda path: _directory(path, lambda at: save_shards(at, torch.save, "pytorch_model", ".bin")),
    ),
    "directory with one file": (
        "folder",
        lambda path: _directory(path, lambda at: torch.save(small().state_dict(), at / "pytorch_model.bin")),
    ),
    "`.pt2` of torch 2.9": ("a.pt2", _exported),
    "`.pt2` of torch 2.8": ("a.pt2", _pickled_weights),
    "recording": ("a.init", lambda path: torchinit.record(Small).save(path)),
    "pickled module": ("a.pt", lambda path: torch.save(nn.Linear(2, 2), path)),
}


@functools.cache
def _made(kind: str) -> tempfile.TemporaryDirectory[str]:
    """Write a kind of file once for all tests; the folder is removed with the process."""
    folder, (name, write) = tempfile.TemporaryDirectory(), KINDS[kind]
    write(Path(folder.name) / name)
    return folder


def written(kind: str, folder: Path) -> Path:
    """Write a kind of file into an empty folder."""
    name, _ = KINDS[kind]
    shutil.copytree(_made(kind).name, folder, dirs_exist_ok=True)
    if "torch 2.9" in kind and not is_rewritable(folder / name):
        pytest.skip("this torch is older")
    return folder / name
