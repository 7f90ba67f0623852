"""Does init give a file of weights the bits of apply_, in the format of the file, and leave all else in it as it was?"""

import json
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import torchinit
from tests.support.command_line import run
from tests.support.kinds_of_files import LIKE, Small, save_shards, small, untied, written
from tests.support.layers import MIXED, Mixed
from torchinit import keyed, recipes
from torchinit.cli._files import read
from torchinit.cli._recordings import fill
from torchinit.recipes import Recipe, Rule

# Kinds whose weights are written in place, with the names of their outputs.
WEIGHTS = {
    "state dict": "out.pt",
    "state dict before torch 1.6": "out.bin",
    "checkpoint": "out.ckpt",
    "safetensors": "out.safetensors",
    "index of shards": "out",
    "directory of shards": "out",
    "directory with one file": "out",
    "`.pt2` of torch 2.9": "out.pt2",
}

OUTPUT = torch.ones(2, 7)


def _init(file: Path, out: Path, *more: object) -> dict[str, Tensor]:
    assert run("init", file, "--seed", 7, "-o", out, *more) == 0
    made = read(out)
    assert isinstance(made, dict)
    return made


def _quietly(recipe: Recipe, model: nn.Module, **drawn: Any) -> nn.Module:
    with warnings.catch_warnings():
        # A rule matches nothing.
        warnings.simplefilter("ignore")
        return recipe.apply_(model, **drawn)


def _assert_equal(found: dict[str, Tensor], model: nn.Module) -> None:
    wanted = model.state_dict()
    assert found.keys() == wanted.keys() or found.keys() == untied(wanted).keys()
    assert [name for name, tensor in found.items() if not torch.equal(tensor, wanted[name])] == []


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("by_key", [False, True], ids=["seed", "key"])
def test_weights_have_the_bits_of_apply(kind: str, by_key: bool, tmp_path: Path) -> None:
    file, recipe = written(kind, tmp_path), recipes.xavier()
    drawn: dict[str, Any] = {"key": keyed.key(7)} if by_key else {"generator": torch.Generator().manual_seed(7)}
    found = _init(
        file, tmp_path / WEIGHTS[kind], "--recipe", "xavier", "--like", LIKE, *(["--keyed"] if by_key else [])
    )
    _assert_equal(found, recipe.apply_(small(), **drawn))


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("by_key", [False, True], ids=["seed", "key"])
def test_recording_gives_weights_the_bits_of_the_models_code(kind: str, by_key: bool, tmp_path: Path) -> None:
    file, recording = written(kind, tmp_path), torchinit.record(Small)
    recording.save(tmp_path / "small.init")
    drawn: dict[str, Any] = {"key": keyed.key(7)} if by_key else {"seed": 7}
    more = ["--keyed"] if by_key else []
    found = _init(file, tmp_path / WEIGHTS[kind], "--recipe", tmp_path / "small.init", *more)
    _assert_equal(found, recording.materialize_(small(), **drawn))


def test_layers_of_many_types_get_the_bits_of_apply(tmp_path: Path) -> None:
    model = MIXED.make()
    torch.save(model.state_dict(), tmp_path / "in.pt")
    wanted = recipes.torch_default().apply_(model, torch.Generator().manual_seed(7))
    like = f"{Mixed.__module__}:Mixed"
    _assert_equal(_init(tmp_path / "in.pt", tmp_path / "out.pt", "--recipe", "torch", "--like", like), wanted)


def test_recording_names_the_types_of_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torchinit.record(Small).save(tmp_path / "small.init")
    file = written("state dict", tmp_path)
    model = small()
    # A recording knows no padding_idx.
    model.words.padding_idx = None
    wanted = recipes.torch_default().apply_(model, torch.Generator().manual_seed(7))
    found = _init(file, tmp_path / "out.pt", "--recipe", "torch", "--like", tmp_path / "small.init")
    _assert_equal(found, wanted)
    said = (
        "does not say padding_idx, groups and other settings of Conv1d and Embedding, which count as torch's defaults"
    )
    assert f"warning: {tmp_path}/small.init {said}" in capsys.readouterr().err


class Plain(nn.Module):
    """Layers whose roles names and shapes tell."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)) for _ in range(2))
        self.stem = nn.Conv2d(1, 4, 3)
        self.tok_embeddings = nn.Embedding(5, 4)
        self.bn = nn.BatchNorm2d(4)


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod.", "_orig_mod."])
@pytest.mark.parametrize("by_key", [False, True], ids=["seed", "key"])
def test_names_and_shapes_tell_roles_and_names_without_wrappers(prefix: str, by_key: bool, tmp_path: Path) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in Plain().state_dict().items()}
    torch.save(state, tmp_path / "in.pt")
    drawn: dict[str, Any] = {"key": keyed.key(7)} if by_key else {"generator": torch.Generator().manual_seed(7)}
    more = ["--keyed"] if by_key else []
    found = _init(tmp_path / "in.pt", tmp_path / "out.pt", "--recipe", "gpt2", *more)
    assert found.keys() == state.keys()
    wanted = _quietly(recipes.gpt2(), Plain(), **drawn)
    _assert_equal({name.removeprefix(prefix): tensor for name, tensor in found.items()}, wanted)


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod.", "_orig_mod."])
def test_names_of_like_are_those_without_wrappers(prefix: str, tmp_path: Path) -> None:
    torch.save({f"{prefix}{name}": tensor for name, tensor in small().state_dict().items()}, tmp_path / "in.pt")
    found = _init(tmp_path / "in.pt", tmp_path / "out.pt", "--recipe", "torch", "--like", LIKE, "--keyed")
    wanted = recipes.torch_default().apply_(small(), key=keyed.key(7))
    _assert_equal({name.removeprefix(prefix): tensor for name, tensor in found.items()}, wanted)


def test_names_tell_embeddings_and_norms_from_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {"tok_emb.weight": torch.ones(4, 3), "ln_f.weight": torch.ones(3), "head.weight": torch.ones(4, 3)}
    torch.save(state, tmp_path / "in.pt")
    rules = [
        Rule("zeros_", role="weight"),
        Rule("ones_", role="embedding"),
        Rule("constant_", role="norm", args={"val": 2.0}),
    ]
    (tmp_path / "r.toml").write_text(Recipe(rules).to_toml())
    assert run("plan", tmp_path / "in.pt", "--recipe", tmp_path / "r.toml", "--json") == 0
    rows = {row["name"]: (row["module"], row["initializer"]) for row in json.loads(capsys.readouterr().out)}
    assert rows == {
        "tok_emb.weight": ("Embedding?", "ones_"),
        "ln_f.weight": ("norm?", "constant_"),
        "head.weight": ("Module", "zeros_"),
    }


def test_tied_weights_stay_one_tensor(tmp_path: Path) -> None:
    _init(written("state dict", tmp_path), tmp_path / "out.pt", "--recipe", "torch", "--like", LIKE)
    made = torch.load(tmp_path / "out.pt")
    assert made["out.weight"].data_ptr() == made["words.weight"].data_ptr()


def test_state_dict_keeps_its_form(tmp_path: Path) -> None:
    state = small().state_dict()
    _init(written("state dict", tmp_path), tmp_path / "out.pt", "--recipe", "torch", "--like", LIKE)
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
    _assert_equal(made["ema"], wanted)
    assert made["ema"]["out.weight"].data_ptr() == made["ema"]["words.weight"].data_ptr()


def test_safetensors_keep_their_header(tmp_path: Path) -> None:
    file = written("safetensors", tmp_path)
    _init(file, tmp_path / "out.safetensors", "--recipe", "torch", "--like", LIKE)
    with safetensors.safe_open(tmp_path / "out.safetensors", "pt") as made:
        assert made.metadata() == {"format": "pt"}
    size = int.from_bytes(file.read_bytes()[:8], "little") + 8
    assert (tmp_path / "out.safetensors").read_bytes()[:size] == file.read_bytes()[:size]


@pytest.mark.parametrize("save", [safetensors.torch.save_file, torch.save])
def test_shards_keep_their_places_and_index(save: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    # The suffix names no format.
    index = save_shards(tmp_path / "in", save, "model", ".safetensors")
    _init(index, tmp_path / "out", "--recipe", "torch", "--like", LIKE)
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
    found = _init(tmp_path / "in", tmp_path / "out", "--recipe", tmp_path / "zero.toml")
    assert found.keys() == {"x.weight"}
    assert not found["x.weight"].any()
    assert torch.load(tmp_path / "out" / "a" / "b" / "one.bin")["y.weight"].all()


def test_file_is_overwritten_by_itself_with_force(tmp_path: Path) -> None:
    file = written("safetensors", tmp_path)
    wanted = recipes.torch_default().apply_(small(), torch.Generator().manual_seed(7))
    _assert_equal(_init(file, file, "--recipe", "torch", "--like", LIKE, "--force"), wanted)
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
    _assert_equal(read(folder), recipes.torch_default().apply_(small(), torch.Generator().manual_seed(7)))
    assert {path.name for path in folder.iterdir()} == before.keys()


def test_one_file_of_a_directory_may_be_written_to_a_file(tmp_path: Path) -> None:
    folder = written("directory with one file", tmp_path)
    wanted = recipes.torch_default().apply_(small(), torch.Generator().manual_seed(7))
    _assert_equal(_init(folder, tmp_path / "one.pt", "--recipe", "torch", "--like", LIKE), wanted)
    _assert_equal(_init(folder, tmp_path / "made", "--recipe", "torch", "--like", LIKE), wanted)
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
    _assert_equal(read(tmp_path / "out.safetensors"), recipes.torch_default().apply_(
        small(), torch.Generator().manual_seed(7)))  # fmt: skip


def test_exported_program_computes_with_its_new_weights(tmp_path: Path) -> None:
    file = written("`.pt2` of torch 2.9", tmp_path)
    _init(file, tmp_path / "out.pt2", "--recipe", "torch", "--like", LIKE)
    wanted = recipes.torch_default().apply_(small(), torch.Generator().manual_seed(7))
    assert torch.equal(torch.export.load(tmp_path / "out.pt2").module()(OUTPUT), wanted(OUTPUT))


@pytest.mark.filterwarnings("ignore:Complex modules")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.complex64])
def test_dtype_of_the_file_is_kept(dtype: torch.dtype, tmp_path: Path) -> None:
    model = nn.Linear(8, 4).to(dtype)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "in.safetensors")
    found = _init(tmp_path / "in.safetensors", tmp_path / "o.safetensors", "--recipe", "torch", "--like", "torch.nn:Linear in_features=8 out_features=4")  # fmt: skip
    _assert_equal(found, recipes.torch_default().apply_(model, torch.Generator().manual_seed(7)))


def test_quantized_weights_and_their_scales_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {
        "a.weight": torch.ones(2, 3),
        "b.weight": torch.ones(2, 3, dtype=torch.int8),
        "b.weight_scale": torch.ones(2),
        "c.weight": torch.ones(2, 3).to(torch.float8_e4m3fn),
        "c.weight_scale_inv": torch.ones(1, 1),
        "step": torch.tensor(3),
    }
    torch.save(state, tmp_path / "in.pt")
    (tmp_path / "zero.toml").write_text('[[rule]]\ninitializer = "zeros_"\n')
    found = _init(tmp_path / "in.pt", tmp_path / "out.pt", "--recipe", tmp_path / "zero.toml")
    kept = "b.weight, c.weight, b.weight_scale and c.weight_scale_inv"
    assert capsys.readouterr().err == f"torchinit: warning: quantized weights stay as they are: {kept}\n"
    assert not found["a.weight"].any()
    assert all(torch.equal(found[name].float(), state[name].float()) for name in state if name != "a.weight")


def test_rules_by_type_are_one_warning_that_names_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "in.pt")
    rules = [Rule("ones_", module="Conv2d"), Rule("zeros_", role="weight"), Rule("ones_", module="L*"), Rule("keep")]
    (tmp_path / "r.toml").write_text(Recipe(rules).to_toml())
    assert run("plan", tmp_path / "in.pt", "--recipe", tmp_path / "r.toml") == 0
    assert capsys.readouterr().err == (
        f"torchinit: warning: {tmp_path}/in.pt does not say the types of its layers, by which rules 1 and 3 would go;"
        " --like names them (package.module:factory, timm:NAME, hf:TYPE or a .init file)\n"
    )


def test_weights_that_only_types_tell_are_an_error_that_names_like(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"norm.weight": torch.ones(3)}, tmp_path / "in.pt")
    assert run("init", tmp_path / "in.pt", "--recipe", "llama", "--seed", 1, "-o", tmp_path / "out.pt") == 1
    said = capsys.readouterr().err
    assert said.startswith(
        f"torchinit: {tmp_path}/in.pt does not say the types of its layers; --like names them (package.module:factory,"
        " timm:NAME, hf:TYPE or a .init file): no rule matches 1 parameter: norm.weight"
    )
    assert said.count("\n") == 1


def test_order_of_safetensors_is_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    safetensors.torch.save_file({"a.weight": torch.ones(2, 3)}, tmp_path / "in.safetensors")
    arguments = ["init", tmp_path / "in.safetensors", "--recipe", "gpt2", "--keep", "x", "--seed", 1, "--force"]
    assert run(*arguments, "-o", tmp_path / "o.safetensors") == 0
    assert "the draws follow the order of the names in" in capsys.readouterr().err
    assert run(*arguments, "-o", tmp_path / "o.safetensors", "--keyed") == 0
    assert "order" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("like", "said"),
    [
        ("torch.nn:Identity", "which lacks "),
        ("torch.nn:Linear in_features=3 out_features=2", "which has weight of shape [2, 3], not [4, 3]"),
        ("torch.nn:Bilinear in1_features=3 in2_features=3 out_features=4", "which has weight of shape [4, 3, 3]"),
        ("torch.nn:PReLU", "which lacks bias"),
    ],
)
def test_like_must_have_the_tensors_of_the_file(
    like: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(nn.Linear(3, 4).state_dict(), tmp_path / "in.pt")
    assert run("plan", tmp_path / "in.pt", "--recipe", "torch", "--like", like) == 1
    expected = f"torchinit: --like must name a model with the tensors of {tmp_path}/in.pt, got {like}, {said}"
    assert capsys.readouterr().err.startswith(expected)


def test_weight_that_the_file_lacks_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": torch.ones(4, 3)}, tmp_path / "in.pt")
    like = "torch.nn:Linear in_features=3 out_features=4"
    assert run("plan", tmp_path / "in.pt", "--recipe", "torch", "--like", like) == 1
    assert capsys.readouterr().err.endswith("which has also bias\n")


def test_like_is_refused_for_torchscript(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, more in (("plan", ["--recipe", "torch"]), ("probe", ["--input", "1"])):
        assert run(command, model, *more, "--like", LIKE) == 1
        said = f"--like goes with a file without layers, got {model}, a TorchScript archive"
        assert capsys.readouterr().err == f"torchinit: {said}\n"


def test_frozen_layers_of_a_model_are_kept_as_apply_keeps_them(tmp_path: Path) -> None:
    torch.save(Frozen().state_dict(), tmp_path / "in.pt")
    like = f"{Frozen.__module__}:Frozen"
    found = _init(tmp_path / "in.pt", tmp_path / "out.pt", "--recipe", "torch", "--like", like)
    assert torch.equal(found["table.weight"], torch.full((3, 2), 5.0))


class Frozen(nn.Module):
    """A table without a gradient, which recipes keep."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, 2)
        self.table.weight.requires_grad_(False)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.table.weight.fill_(5.0)


@pytest.mark.parametrize("by_key", [False, True], ids=["seed", "key"])
@pytest.mark.parametrize("source", ["recipe", "recording"])
def test_each_tensor_is_told_of_after_it_is_written(source: str, by_key: bool) -> None:
    model, told = small(), list[str]()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def done(name: str, tensor: Tensor) -> None:
        assert name == "temporary" or not torch.equal(tensor, before[name])
        told.append(name)

    made_by = recipes.torch_default() if source == "recipe" else torchinit.record(Small)
    generator = None if by_key else torch.Generator().manual_seed(7)
    fill(made_by, model, generator, keyed.key(7) if by_key else None, done)
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert {*told, "out.weight", "temporary"} == {*changed, "temporary"}
