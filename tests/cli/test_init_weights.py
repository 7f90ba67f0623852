"""Does init give a file of weights the bits of apply_, with the layers that --like or names tell?"""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import torchinit
from tests.support.command_line import run, without_written
from tests.support.initialized_files import assert_weights, init_weights, quietly
from tests.support.kinds_of_files import LIKE, Small, small, written
from tests.support.layers import MIXED, Mixed
from torchinit import keyed, recipes
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


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("by_key", [False, True], ids=["seed", "key"])
def test_weights_have_the_bits_of_apply(kind: str, by_key: bool, tmp_path: Path) -> None:
    file, recipe = written(kind, tmp_path), recipes.xavier()
    drawn: dict[str, Any] = {"key": keyed.key(7)} if by_key else {"generator": torch.Generator().manual_seed(7)}
    found = init_weights(
        file, tmp_path / WEIGHTS[kind], "--recipe", "xavier", "--like", LIKE, *(["--keyed"] if by_key else [])
    )
    assert_weights(found, recipe.apply_(small(), **drawn))


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("by_key", [False, True], ids=["seed", "key"])
def test_recording_gives_weights_the_bits_of_the_models_code(kind: str, by_key: bool, tmp_path: Path) -> None:
    file, recording = written(kind, tmp_path), torchinit.record(Small)
    recording.save(tmp_path / "small.init")
    drawn: dict[str, Any] = {"key": keyed.key(7)} if by_key else {"seed": 7}
    more = ["--keyed"] if by_key else []
    found = init_weights(file, tmp_path / WEIGHTS[kind], "--recipe", tmp_path / "small.init", *more)
    assert_weights(found, recording.materialize_(small(), **drawn))


def test_layers_of_many_types_get_the_bits_of_apply(tmp_path: Path) -> None:
    model = MIXED.make()
    torch.save(model.state_dict(), tmp_path / "in.pt")
    wanted = recipes.torch_default().apply_(model, torch.Generator().manual_seed(7))
    like = f"{Mixed.__module__}:Mixed"
    assert_weights(init_weights(tmp_path / "in.pt", tmp_path / "out.pt", "--recipe", "torch", "--like", like), wanted)


def test_recording_names_the_types_of_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torchinit.record(Small).save(tmp_path / "small.init")
    file = written("state dict", tmp_path)
    model = small()
    # A recording knows no padding_idx.
    model.words.padding_idx = None
    wanted = recipes.torch_default().apply_(model, torch.Generator().manual_seed(7))
    found = init_weights(file, tmp_path / "out.pt", "--recipe", "torch", "--like", tmp_path / "small.init")
    assert_weights(found, wanted)
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
    found = init_weights(tmp_path / "in.pt", tmp_path / "out.pt", "--recipe", "gpt2", *more)
    assert found.keys() == state.keys()
    wanted = quietly(recipes.gpt2(), Plain(), **drawn)
    assert_weights({name.removeprefix(prefix): tensor for name, tensor in found.items()}, wanted)


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod.", "_orig_mod."])
def test_names_of_like_are_those_without_wrappers(prefix: str, tmp_path: Path) -> None:
    torch.save({f"{prefix}{name}": tensor for name, tensor in small().state_dict().items()}, tmp_path / "in.pt")
    found = init_weights(tmp_path / "in.pt", tmp_path / "out.pt", "--recipe", "torch", "--like", LIKE, "--keyed")
    wanted = recipes.torch_default().apply_(small(), key=keyed.key(7))
    assert_weights({name.removeprefix(prefix): tensor for name, tensor in found.items()}, wanted)


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
        "head.weight": ("layer?", "zeros_"),
    }


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
    found = init_weights(tmp_path / "in.pt", tmp_path / "out.pt", "--recipe", tmp_path / "zero.toml")
    kept = "b.weight, c.weight, b.weight_scale and c.weight_scale_inv"
    assert (
        without_written(capsys.readouterr().err) == f"torchinit: warning: quantized weights stay as they are: {kept}\n"
    )
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


def test_layers_without_a_type_are_named_by_a_guess(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"0.weight": torch.ones(2, 3, 4, 5), "1.weight": torch.ones(2, 3)}, tmp_path / "in.pt")
    assert run("plan", tmp_path / "in.pt", "--recipe", "torch") == 1
    assert "no rule matches 2 parameters: 0.weight (convolution?), 1.weight (layer?); " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["plan", "init"])
def test_weights_without_any_are_refused(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({}, tmp_path / "in.pt")
    more = ["--seed", 0, "-o", tmp_path / "out.pt"] if command == "init" else []
    assert run(command, tmp_path / "in.pt", "--recipe", "gpt2", *more) == 1
    assert capsys.readouterr() == (
        "",
        f"torchinit: a model must have tensors to initialize, got {tmp_path}/in.pt without any\n",
    )
    assert not (tmp_path / "out.pt").exists()


def test_order_of_safetensors_is_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    safetensors.torch.save_file({"a.weight": torch.ones(2, 3)}, tmp_path / "in.safetensors")
    arguments = ["init", tmp_path / "in.safetensors", "--recipe", "gpt2", "--keep", "x", "--seed", 1, "--force"]
    assert run(*arguments, "-o", tmp_path / "o.safetensors") == 0
    assert "the draws follow the order of the names in" in capsys.readouterr().err
    assert run(*arguments, "-o", tmp_path / "o.safetensors", "--keyed") == 0
    assert "order" not in without_written(capsys.readouterr().err)


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
    found = init_weights(tmp_path / "in.pt", tmp_path / "out.pt", "--recipe", "torch", "--like", like)
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
