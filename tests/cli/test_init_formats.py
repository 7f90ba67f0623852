"""Does init write the format that it read, and leave all but the weights as it was?"""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from tests.support.command_line import run
from tests.support.initialized_files import assert_weights, init_weights
from tests.support.kinds_of_files import LIKE, save_shards, small, written
from torchinit import recipes
from torchinit.cli._files import read


def test_tied_weights_stay_one_tensor(tmp_path: Path) -> None:
    init_weights(written("state dict", tmp_path), tmp_path / "out.pt", "--recipe", "torch", "--like", LIKE)
    made = torch.load(tmp_path / "out.pt")
    assert made["out.weight"].data_ptr() == made["words.weight"].data_ptr()


def test_state_dict_keeps_its_form(tmp_path: Path) -> None:
    state = small().state_dict()
    init_weights(written("state dict", tmp_path), tmp_path / "out.pt", "--recipe", "torch", "--like", LIKE)
    made = torch.load(tmp_path / "out.pt")
    assert type(made) is type(state)
    assert made._metadata == state._metadata
    assert zipfile.ZipFile(tmp_path / "out.pt").testzip() is None


def test_other_entries_of_a_checkpoint_are_unchanged(tmp_path: Path) -> None:
    optimizer = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 3)}}, "param_groups": [{"lr": 0.1}]}
    held = {"model": small().state_dict(), "ema": small().state_dict(), "optimizer": optimizer, "args": ["x", 2, None]}
    torch.save(held, tmp_path / "in.pt")
    assert run(
        "init", tmp_path / "in.pt", "--recipe", "torch", "--like", LIKE, "--seed", 7, "--key", "ema",
        "-o", tmp_path / "out.pt",
    ) == 0  # fmt: skip
    made = torch.load(tmp_path / "out.pt")
    wanted = recipes.torch_default().apply_(small(), torch.Generator().manual_seed(7)).state_dict()
    assert all(torch.equal(made["ema"][name], wanted[name]) for name in wanted)
    assert all(torch.equal(made["model"][name], held["model"][name]) for name in wanted)
    assert torch.equal(made["optimizer"]["state"][0]["exp_avg"], torch.ones(2, 3))
    assert made["optimizer"]["param_groups"] == [{"lr": 0.1}]
    assert (list(made), made["args"]) == (list(held), held["args"])


@pytest.mark.parametrize("zipped", [True, False])
def test_entries_that_share_memory_with_the_model_are_unchanged(zipped: bool, tmp_path: Path) -> None:
    model = small()
    held = {"model": model.state_dict(), "best": {"list": [model.conv.weight.detach()]}, "ema": model.state_dict()}
    torch.save(held, tmp_path / "in.pt", _use_new_zipfile_serialization=zipped)
    more = ["--key", "ema", "-o", tmp_path / "out.pt"]
    assert run("init", tmp_path / "in.pt", "--recipe", "torch", "--like", LIKE, "--seed", 7, *more) == 0
    made = torch.load(tmp_path / "out.pt")
    assert zipfile.is_zipfile(tmp_path / "out.pt") == zipped
    before, wanted = small().state_dict(), recipes.torch_default().apply_(small(), torch.Generator().manual_seed(7))
    assert all(torch.equal(made["model"][name], tensor) for name, tensor in before.items())
    assert torch.equal(made["best"]["list"][0], before["conv.weight"])
    assert_weights(made["ema"], wanted)
    assert made["ema"]["out.weight"].data_ptr() == made["ema"]["words.weight"].data_ptr()


def test_safetensors_keep_their_header(tmp_path: Path) -> None:
    file = written("safetensors", tmp_path)
    init_weights(file, tmp_path / "out.safetensors", "--recipe", "torch", "--like", LIKE)
    with safetensors.safe_open(tmp_path / "out.safetensors", "pt") as made:
        assert made.metadata() == {"format": "pt"}
    size = int.from_bytes(file.read_bytes()[:8], "little") + 8
    assert (tmp_path / "out.safetensors").read_bytes()[:size] == file.read_bytes()[:size]


@pytest.mark.parametrize("save", [safetensors.torch.save_file, torch.save])
def test_shards_keep_their_places_and_index(save: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    # The suffix names no format.
    index = save_shards(tmp_path / "in", save, "model", ".safetensors")
    init_weights(index, tmp_path / "out", "--recipe", "torch", "--like", LIKE)
    assert sorted(os.listdir(tmp_path / "out")) == sorted(os.listdir(tmp_path / "in"))
    assert (tmp_path / "out" / index.name).read_bytes() == index.read_bytes()
    for path in (tmp_path / "in").glob("*.safetensors"):
        before, after = (read(folder / path.name) for folder in (tmp_path / "in", tmp_path / "out"))
        assert list(before) == list(after)


def test_shards_may_lie_in_folders_and_hold_tensors_that_no_index_lists(tmp_path: Path) -> None:
    (tmp_path / "in" / "a" / "b").mkdir(parents=True)
    torch.save({"x.weight": torch.ones(2, 3), "y.weight": torch.ones(2, 3)}, tmp_path / "in" / "a" / "b" / "one.bin")
    index = tmp_path / "in" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x.weight": "a/b/one.bin"}}))
    (tmp_path / "zero.toml").write_text('[[rule]]\ninitializer = "zeros_"\n')
    found = init_weights(tmp_path / "in", tmp_path / "out", "--recipe", tmp_path / "zero.toml")
    assert found.keys() == {"x.weight"}
    assert not found["x.weight"].any()
    assert torch.load(tmp_path / "out" / "a" / "b" / "one.bin")["y.weight"].all()


def test_file_is_overwritten_by_itself_with_force(tmp_path: Path) -> None:
    file = written("safetensors", tmp_path)
    wanted = recipes.torch_default().apply_(small(), torch.Generator().manual_seed(7))
    assert_weights(init_weights(file, file, "--recipe", "torch", "--like", LIKE, "--force"), wanted)
    assert os.listdir(tmp_path) == [file.name]


def test_directory_is_overwritten_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written("directory of shards", tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    arguments = ["init", folder, "--recipe", "torch", "--like", LIKE, "--seed", 7, "-o", folder]
    assert run(*arguments) == 1
    said = "an existing file is overwritten only with --force, got"
    assert capsys.readouterr().err.startswith(f"torchinit: {said} {folder}/pytorch_model.bin.index.json")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert run(*arguments, "--force") == 0
    assert_weights(read(folder), recipes.torch_default().apply_(small(), torch.Generator().manual_seed(7)))
    assert {path.name for path in folder.iterdir()} == before.keys()


def test_the_size_of_what_was_written_is_that_of_the_model_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written("directory of shards", tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "other.bin").write_bytes(bytes(10**7))
    assert run("init", folder, "--recipe", "torch", "--like", LIKE, "--seed", 1, "-o", out) == 0
    assert f"wrote {out} (" in (err := capsys.readouterr().err)
    assert "MB" not in err


def test_one_file_of_a_directory_may_be_written_to_a_file(tmp_path: Path) -> None:
    folder = written("directory with one file", tmp_path)
    wanted = recipes.torch_default().apply_(small(), torch.Generator().manual_seed(7))
    assert_weights(init_weights(folder, tmp_path / "one.pt", "--recipe", "torch", "--like", LIKE), wanted)
    assert_weights(init_weights(folder, tmp_path / "made", "--recipe", "torch", "--like", LIKE), wanted)
    assert os.listdir(tmp_path / "made") == ["pytorch_model.bin"]


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("state dict", "out.safetensors", "a file of torch.save is written to a name in .pt, .pth, .bin or .ckpt"),
        ("safetensors", "out.pt", "a safetensors file is written to a name in .safetensors"),
        ("`.pt2` of torch 2.9", "out.pt", "a torch.export archive is written to a name in .pt2"),
        ("TorchScript, scripted", "out.bin", "a TorchScript archive is written to a name in .pt, .pth, .ts or .ptl"),
        ("directory of shards", "out.safetensors", "shards are written to a directory"),
        ("index of shards", "out.json", "shards are written to a directory"),
    ],
)
def test_suffix_must_fit_what_is_written(
    kind: str, name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    like = [] if kind.startswith("TorchScript") else ["--like", LIKE]
    file = written(kind, tmp_path)
    before = sorted(os.listdir(tmp_path))
    assert run("init", file, "--recipe", "torch", *like, "--seed", 1, "-o", tmp_path / name) == 1
    assert capsys.readouterr().err == f"torchinit: {said}, got OUT {tmp_path / name}\n"
    assert sorted(os.listdir(tmp_path)) == before


def test_model_that_cannot_be_initialized_leaves_no_file_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written("directory of shards", tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert run("init", folder, "--recipe", "torch", "--like", LIKE, "--seed", 1, "-o", tmp_path / "out") == 1
    assert os.listdir(tmp_path) == [folder.name]


def test_weights_can_be_written_to_a_pipe(tmp_path: Path) -> None:
    file = written("safetensors", tmp_path)
    with open(tmp_path / "out.safetensors", "wb") as out:
        shown = f"/dev/fd/{out.fileno()}"
        assert run("init", file, "--recipe", "torch", "--like", LIKE, "--seed", 7, "-o", shown) == 0
    assert_weights(read(tmp_path / "out.safetensors"), recipes.torch_default().apply_(
        small(), torch.Generator().manual_seed(7)))  # fmt: skip


def test_exported_program_computes_with_its_new_weights(tmp_path: Path) -> None:
    file = written("`.pt2` of torch 2.9", tmp_path)
    init_weights(file, tmp_path / "out.pt2", "--recipe", "torch", "--like", LIKE)
    wanted = recipes.torch_default().apply_(small(), torch.Generator().manual_seed(7))
    assert torch.equal(torch.export.load(tmp_path / "out.pt2").module()(torch.ones(2, 7)), wanted(torch.ones(2, 7)))


@pytest.mark.filterwarnings("ignore:Complex modules")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.complex64])
def test_dtype_of_the_file_is_kept(dtype: torch.dtype, tmp_path: Path) -> None:
    model = nn.Linear(8, 4).to(dtype)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "in.safetensors")
    found = init_weights(tmp_path / "in.safetensors", tmp_path / "o.safetensors", "--recipe", "torch", "--like", "torch.nn:Linear in_features=8 out_features=4")  # fmt: skip
    assert_weights(found, recipes.torch_default().apply_(model, torch.Generator().manual_seed(7)))
