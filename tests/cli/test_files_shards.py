"""Is a directory or an index of shards read whole, and nothing else?"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.support.model_files import load, refusal
from torchinit.cli._files import read

TENSORS = {
    "b.weight": torch.arange(6.0).reshape(2, 3),
    "a.bias": torch.zeros(2),
    "a.weight": torch.ones(2, 2, dtype=torch.float64),
}
SAVE = {"model.safetensors": safetensors.torch.save_file, "pytorch_model.bin": torch.save}


def _write_shards(folder: Path, file: str = "model.safetensors", places: Mapping[str, Any] | None = None) -> Path:
    """Write two shards and an index, with changes to its map."""
    stem, _, suffix = file.partition(".")
    places_of = {}
    for number, names in enumerate((["a.weight", "b.weight"], ["a.bias"]), 1):
        shard = f"{stem}-{number:05}-of-00002.{suffix}"
        SAVE[file]({name: TENSORS[name] for name in names}, folder / shard)
        places_of |= dict.fromkeys(names, shard)
    index = folder / f"{file}.index.json"
    in_order = {name: places_of[name] for name in TENSORS}
    index.write_text(json.dumps({"metadata": {}, "weight_map": {**in_order, **(places or {})}}))
    return index


def _parameters(path: Path) -> dict[str, Tensor]:
    return dict(load(path).named_parameters())


def _assert_whole(found: Mapping[str, Tensor]) -> None:
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("file", SAVE)
@pytest.mark.parametrize("by", ["directory", "index"])
def test_shards_give_every_tensor_once_in_the_order_of_the_index(file: str, by: str, tmp_path: Path) -> None:
    index = _write_shards(tmp_path, file)
    found = _parameters(tmp_path if by == "directory" else index)
    _assert_whole(found)
    assert list(read(index)) == list(TENSORS)


@pytest.mark.parametrize("file", SAVE)
def test_directory_with_one_file_is_read(file: str, tmp_path: Path) -> None:
    SAVE[file](TENSORS, tmp_path / file)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "training_args.bin").write_bytes(b"not a model")
    (tmp_path / "other.safetensors").write_bytes(b"not a model")
    _assert_whole(_parameters(tmp_path))


def test_safetensors_come_before_pickles(tmp_path: Path) -> None:
    _write_shards(tmp_path)
    torch.save({"w": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert len(_parameters(tmp_path)) == 3


def test_shards_may_be_links_or_in_a_folder_below(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "model" / "parts").mkdir(parents=True)
    safetensors.torch.save_file({"b.weight": TENSORS["b.weight"]}, tmp_path / "blobs" / "0")
    safetensors.torch.save_file({n: TENSORS[n] for n in ("a.weight", "a.bias")}, tmp_path / "model" / "parts" / "1")
    (tmp_path / "model" / "link").symlink_to(tmp_path / "blobs" / "0")
    places = {"b.weight": "link", "a.weight": "parts/1", "a.bias": "parts/1"}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    _assert_whole(_parameters(tmp_path / "model"))


@pytest.mark.parametrize("file", SAVE)
def test_tensor_that_the_index_gives_to_another_shard_is_not_read_twice(file: str, tmp_path: Path) -> None:
    index = _write_shards(tmp_path, file)
    stem, _, suffix = file.partition(".")
    stale = {"b.weight": torch.ones(2, 3), "a.bias": TENSORS["a.bias"], "other": torch.ones(2)}
    SAVE[file](stale, tmp_path / f"{stem}-00002-of-00002.{suffix}")
    _assert_whole(_parameters(index))


@pytest.mark.parametrize("file", SAVE)
def test_tensors_stay_in_the_file_until_they_are_used(file: str, tmp_path: Path) -> None:
    SAVE[file]({"w": torch.full((9,), 7.0)}, tmp_path / file)
    tensor = _parameters(tmp_path)["w"]
    with open(tmp_path / file, "r+b") as contents:
        place = contents.read().index(torch.full((9,), 7.0).numpy().tobytes())
        contents.seek(place)
        contents.write(torch.full((9,), 8.0).numpy().tobytes())
    assert torch.equal(tensor, torch.full((9,), 8.0))


def test_compressed_archive_is_read(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "stored")
    with (
        zipfile.ZipFile(tmp_path / "stored") as old,
        zipfile.ZipFile(tmp_path / "net", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for record in old.namelist():
            new.writestr(record, old.read(record))
    _assert_whole(_parameters(tmp_path / "net"))


RULE = "an index must map the names of tensors to files beside it, got DIR/model.safetensors.index.json,"


@pytest.mark.parametrize(
    "place",
    [
        "../model.safetensors",
        "a/../../b",
        "/etc/passwd",
        "..",
        "..\\b",
        "C:\\b",
        "\\\\host\\b",
        "a\0b",
        "",
        3,
        None,
        ["x"],
    ],
)
def test_place_outside_the_directory_or_of_a_wrong_type_is_refused(place: Any, tmp_path: Path) -> None:
    index = _write_shards(tmp_path, places={"a.bias": place})
    assert refusal(index) == f"{RULE} with {place!r} for the file of 'a.bias'"


def test_missing_shard_is_refused(tmp_path: Path) -> None:
    index = _write_shards(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    assert refusal(index) == f"{RULE} whose shard model-00002-of-00002.safetensors is missing"


@pytest.mark.parametrize("file", SAVE)
def test_tensor_that_no_shard_holds_is_refused(file: str, tmp_path: Path) -> None:
    stem, _, suffix = file.partition(".")
    shard = f"{stem}-00001-of-00002.{suffix}"
    index = _write_shards(tmp_path, file, {"ghost.weight": shard, "x.weight": shard})
    rule = RULE.replace("model.safetensors.index", f"{file}.index")
    assert refusal(index) == f"{rule} whose shard {shard} lacks ghost.weight and x.weight"


@pytest.mark.parametrize(
    ("contents", "what"),
    [
        ("{", "which is not JSON: Expecting property name enclosed in double quotes"),
        ('{"a":' * 100_000, "which is not JSON: maximum recursion depth exceeded"),
        ("{\xff", "which is not JSON: "),
        ('{"model_type": "llama"}', "JSON without a weight_map"),
        ('{"weight_map": ["a"]}', "JSON without a weight_map"),
    ],
)
def test_json_without_a_map_is_refused(contents: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(contents.encode("latin-1"))
    assert refusal(tmp_path / "model.safetensors.index.json").startswith(f"{RULE} {what}")


def test_large_json_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "model.safetensors.index.json", "wb") as file:
        file.write(b"{")
        file.truncate(100_000_001)
    assert refusal(tmp_path / "model.safetensors.index.json") == f"{RULE} a file of more than 100,000,000 bytes"


def test_shard_must_hold_tensors(tmp_path: Path) -> None:
    index = _write_shards(tmp_path, places={"a.bias": "model.safetensors.index.json"})
    assert refusal(index).endswith("got DIR/model.safetensors.index.json, a JSON file in place of a shard")


def test_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder" / "model.safetensors").mkdir(parents=True)
    (tmp_path / "folder" / "config.json").write_text("{}")
    assert refusal(tmp_path / "folder") == (
        "a directory must hold model.safetensors, pytorch_model.bin or the .index.json of their shards, got DIR/folder"
        " without them"
    )


def test_key_of_a_file_without_checkpoints_is_refused(tmp_path: Path) -> None:
    index = _write_shards(tmp_path)
    assert refusal(index, lambda path: load(path, "model")) == (
        "--key chooses among the state dicts of a checkpoint, got DIR/model.safetensors.index.json, a JSON file"
    )
