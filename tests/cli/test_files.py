"""Is a model read from every format?"""

import os
import random
import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from tests.support.command_line import run
from tests.support.model_files import WRITERS, Net, load, rewrite, saved_model as saved_model
from torchinit import keyed, recipes
from torchinit.recipes._layers import walk


def test_every_format_gives_the_parameters_that_were_saved(saved_model: tuple[nn.Module, Path]) -> None:
    model, path = saved_model
    expected, read = dict(model.named_parameters()), dict(load(path).named_parameters())
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], expected[name]) for name in read)


def test_parameters_keep_their_order(tmp_path: Path) -> None:
    names = [f"layer{index}" for index in random.Random(0).sample(range(40), 40)]
    torch.save({name: torch.ones(2) for name in names}, tmp_path / "order")
    assert [name for name, _ in load(tmp_path / "order").named_parameters()] == names


def test_walk_visits_every_parameter_of_a_file(saved_model: tuple[nn.Module, Path]) -> None:
    model, path = saved_model
    named = {layer.qualified(name) for layer in walk(load(path)) for name, _ in layer.parameters()}
    assert named >= {name for name, _ in model.named_parameters()}


def test_reading_shows_no_warning(saved_model: tuple[nn.Module, Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(saved_model[1])


def test_loaded_parameters_are_not_mapped_from_the_file(saved_model: tuple[nn.Module, Path]) -> None:
    _, path = saved_model
    before = path.read_bytes()
    model = load(path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", ["zip", "legacy", "script"])
def test_tied_parameters_stay_tied(how: str, tmp_path: Path) -> None:
    WRITERS[how](Net(), tmp_path / "net")
    read = load(tmp_path / "net")
    assert read.head.weight is read.tail.weight


def test_views_of_one_storage_are_separate_parameters(tmp_path: Path) -> None:
    both = torch.arange(6.0)
    torch.save({"a": both[:3], "b": both[3:], "c": both[:3].view(3, 1)}, tmp_path / "views")
    read = load(tmp_path / "views")
    assert len(list(read.parameters())) == 3
    assert read.a.untyped_storage()._cdata == read.b.untyped_storage()._cdata


def test_integers_and_running_statistics_become_buffers(tmp_path: Path) -> None:
    WRITERS["zip"](Net(), tmp_path / "net")
    read = load(tmp_path / "net")
    assert sorted(name for name, _ in read.named_buffers()) == [
        "body.1.num_batches_tracked",
        "body.1.running_mean",
        "body.1.running_var",
    ]
    assert not any(parameter.requires_grad for parameter in read.parameters())


def test_parameter_may_have_the_name_of_a_module_attribute(tmp_path: Path) -> None:
    names = ["type.half.training", "forward.weight", "_parameters", "training"]
    torch.save({name: torch.ones(2) for name in names}, tmp_path / "names")
    assert {name for name, _ in load(tmp_path / "names").named_parameters()} == set(names)


def test_tensor_may_have_the_name_of_a_layer(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "a.b": torch.ones(3)}, tmp_path / "names")
    assert [name for name, _ in load(tmp_path / "names").named_parameters()] == ["a", "a.b"]


def test_safetensors_keep_the_order_of_their_file(tmp_path: Path) -> None:
    names = [f"layer{index:02}" for index in range(40)]
    # safetensors stores larger dtypes first, so the order is not alphabetical.
    tensors = {name: torch.ones(2, dtype=torch.float64 if i % 3 else torch.float32) for i, name in enumerate(names)}
    safetensors.torch.save_file(tensors, tmp_path / "order")
    read = [name for name, _ in load(tmp_path / "order").named_parameters()]
    assert read == [n for n in names if tensors[n].dtype == torch.float64] + [
        n for n in names if tensors[n].dtype == torch.float32
    ]


@pytest.mark.parametrize("how", ["zip", "script"])
def test_tensors_of_a_missing_device_are_read(how: str, tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    WRITERS[how](model, tmp_path / "net")
    rewrite(tmp_path / "net", b"X\3\0\0\0cpu", b"X\6\0\0\0cuda:0")
    assert torch.equal(load(tmp_path / "net").weight, model.weight)


def test_extra_state_is_left_out(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(2), "a._extra_state": {"scale": 3}}, tmp_path / "extra")
    assert [name for name, _ in load(tmp_path / "extra").named_parameters()] == ["a.weight"]


def test_dtypes_and_layouts_survive(tmp_path: Path) -> None:
    tensors = {
        "half": torch.ones(3, dtype=torch.bfloat16),
        "complex": torch.ones(2, dtype=torch.complex64),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
        "scalar": torch.tensor(3.0),
        "empty": torch.ones(0, 4),
        "sparse": torch.eye(3).to_sparse(),
    }
    torch.save(tensors, tmp_path / "dtypes")
    read = dict(load(tmp_path / "dtypes").named_parameters())
    assert {name: (t.dtype, t.shape, t.layout) for name, t in read.items()} == {
        name: (t.dtype, t.shape, t.layout) for name, t in tensors.items()
    }


NAME = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("how", WRITERS)
def test_file_whose_name_is_not_utf8_is_read(how: str, tmp_path: Path) -> None:
    model = Net()
    WRITERS[how](model, tmp_path / "plain")
    (tmp_path / NAME).mkdir()
    path = (tmp_path / "plain").rename(tmp_path / NAME / NAME)
    assert torch.equal(dict(load(path).named_parameters())["head.weight"], model.head.weight)


@pytest.mark.parametrize("how", WRITERS)
def test_file_whose_name_is_not_utf8_is_initialized_and_written(how: str, tmp_path: Path) -> None:
    model = Net()
    WRITERS[how](model, tmp_path / "plain")
    suffix = ".safetensors" if how == "safetensors" else ".pt"
    path = (tmp_path / "plain").rename(tmp_path / f"{NAME}{suffix}")
    out = tmp_path / f"{NAME} made{suffix}"
    like = [] if how in ("script", "mobile") else ["--like", "tests.support.model_files:Net"]
    assert run("init", path, "--recipe", "torch", *like, "--seed", 3, "--keyed", "-o", out) == 0
    wanted = recipes.torch_default().apply_(Net(), key=keyed.key(3))
    assert torch.equal(dict(load(out).named_parameters())["head.weight"], wanted.head.weight)


def test_suffix_of_a_file_does_not_matter(tmp_path: Path) -> None:
    for suffix in (".safetensors", ".pt", ".json", ".init"):
        for how in WRITERS:
            path = tmp_path / f"{how}{suffix}"
            WRITERS[how](Net(), path)
            assert len(list(load(path).parameters())) in (5, 6)
