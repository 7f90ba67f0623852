"""Is the state dict of the model found in a checkpoint, whatever its key?"""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.model_files import load, refusal
from torchinit.cli._checkpoints import state_dicts
from torchinit.cli._files import read


def _weights(value: float) -> dict[str, Tensor]:
    return {"layer.weight": torch.full((2, 3), value), "layer.bias": torch.zeros(2)}


MODEL, EMA = _weights(1.0), _weights(2.0)


def _optimizer() -> dict[str, Any]:
    layer = nn.Linear(2, 3)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


LIGHTNING = {
    "epoch": 1,
    "pytorch-lightning_version": "2.4",
    "state_dict": MODEL,
    "loops": {"fit_loop": {"state_dict": {}}},
    "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.3), "dirpath": "x"}},
    "optimizer_states": [_optimizer()],
    "lr_schedulers": [{"last_epoch": 1}],
}

ONE: dict[str, Any] = {
    "any key": {"net": MODEL},
    "known key": {"epoch": 3, "model_state_dict": MODEL, "optimizer": {"lr": 0.1}},
    "ESRGAN": {"params_ema": MODEL},
    "Lightning": LIGHTNING,
    "detectron": {"model": MODEL, "optimizer": _optimizer(), "scheduler": {"last_epoch": 2}, "iteration": 5},
    "optimizer by name": {"net": MODEL, "optimizer": {"fc.weight": torch.ones(2, 2)}},
    "optimizer under another name": {"net": MODEL, "adam": {**_optimizer(), "by_name": {"fc.weight": torch.ones(2)}}},
    "scores": {"net": MODEL, "scores": {"accuracy": torch.tensor(0.5)}, "rng_state": torch.get_rng_state()},
    "table of scores": {"model": MODEL, "scores": {"confusion": torch.ones(3, 3)}},
    "table beside it": {"net": MODEL, "anchors": torch.ones(3, 2)},
    "two levels": {"state": {"net": MODEL, "step": 3}},
    "list": [MODEL],
    "beside numbers": {**MODEL, "epoch": 3},
    "beside an optimizer": {**MODEL, "optimizer": _optimizer()},
    "one vector": {
        "state_dict": {"layer.weight": torch.ones(2, 3), "layer.bias": torch.zeros(2)},
        "mean": {"x": torch.ones(3)},
    },
    "only one, named as an optimizer": {"opt": MODEL},
}


@pytest.mark.parametrize("kind", ONE)
def test_only_state_dict_of_a_model_is_found(kind: str, tmp_path: Path) -> None:
    torch.save(ONE[kind], tmp_path / "file")
    found = read(tmp_path / "file")
    assert isinstance(found, dict)
    assert list(found) == ["layer.weight", "layer.bias"]
    assert torch.equal(found["layer.weight"], MODEL["layer.weight"])


SEVERAL: dict[str, tuple[Any, str]] = {
    "ESRGAN": ({"params": MODEL, "params_ema": EMA}, "params and params_ema"),
    "timm": ({"arch": "x", "state_dict": MODEL, "state_dict_ema": EMA}, "state_dict and state_dict_ema"),
    "model and EMA": ({"model": MODEL, "ema": EMA, "optimizer": _optimizer()}, "model and ema"),
    "GAN": ({"g": MODEL, "d": EMA, "g_ema": MODEL, "g_optim": _optimizer()}, "g, d and g_ema"),
    "undotted names": ({"g": {"alpha": torch.ones(2, 3)}, "d": MODEL}, "g and d"),
    "list": ([MODEL, EMA], "0 and 1"),
    "top and nested": ({**MODEL, "ema": EMA}, ". and ema"),
    "two levels": ({"a": {"net": MODEL}, "b": [EMA]}, "a.net and b.0"),
    "many": ({f"m{i}": _weights(i) for i in range(12)}, "m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 2 more"),
    "escape": ({"\x1b[31m": MODEL, "b": EMA}, r"\x1b[31m and b"),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_state_dicts_are_listed_for_a_key(kind: str, tmp_path: Path) -> None:
    checkpoint, listed = SEVERAL[kind]
    torch.save(checkpoint, tmp_path / "file")
    assert refusal(tmp_path / "file") == (f"--key must name one of the state dicts of DIR/file: {listed}; got none")


@pytest.mark.parametrize("key", ["ema", "nested.ema", "nested", "dotted.key", "list.1", ".", "optimizer.exp"])
def test_key_chooses_a_state_dict(key: str, tmp_path: Path) -> None:
    lists = {"list": [{**MODEL}, EMA]} if key.startswith("list") else {}
    chosen = {"optimizer": {"exp": EMA}} if key == "optimizer.exp" else {"optimizer": {"exp": MODEL}}
    top = EMA if key == "." else {}
    torch.save(
        {"ema": EMA, "model": MODEL, "nested": {"ema": EMA}, "dotted.key": EMA, **lists, **chosen, **top},
        tmp_path / "file",
    )
    found = load(tmp_path / "file", key)
    assert torch.equal(found.layer.weight, EMA["layer.weight"])


def test_key_that_names_nothing_or_too_much_is_refused_with_the_choices(tmp_path: Path) -> None:
    torch.save({"state": {"net": MODEL, "ema": EMA}, "model": MODEL}, tmp_path / "file")
    messages = [refusal(tmp_path / "file", lambda path, key=key: load(path, key)) for key in ("state", "sta", "x\n")]
    rule = "--key must name one of the state dicts of DIR/file:"
    assert messages == [
        f"{rule} state.net and state.ema; got state",
        f"{rule} state.net, state.ema and model; got sta",
        f"{rule} state.net, state.ema and model; got x\\n",
    ]


def test_key_of_a_file_with_one_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save(MODEL, tmp_path / "file")
    assert refusal(tmp_path / "file", lambda path: load(path, "model")) == (
        "--key chooses among the state dicts of a checkpoint, got DIR/file, which is one state dict"
    )


def test_layer_named_model_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    torch.save({"model": torch.ones(2), "other": torch.ones(3)}, tmp_path / "flat")
    assert [name for name, _ in load(tmp_path / "flat").named_parameters()] == ["model", "other"]


def test_prefixes_of_wrappers_stay(tmp_path: Path) -> None:
    torch.save({"model": {"module._orig_mod.layer.weight": torch.ones(2, 3)}}, tmp_path / "file")
    assert [name for name, _ in load(tmp_path / "file").named_parameters()] == ["module._orig_mod.layer.weight"]


@pytest.mark.parametrize("checkpoint", [{}, {"model": {}}])
def test_empty_state_dict_is_a_model_without_parameters(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    torch.save(checkpoint, tmp_path / "file")
    assert list(load(tmp_path / "file").parameters()) == []


def test_dict_that_holds_itself_is_searched_once(tmp_path: Path) -> None:
    checkpoint: dict[str, Any] = {"model": MODEL}
    checkpoint["self"] = checkpoint
    torch.save(checkpoint, tmp_path / "file")
    assert len(list(load(tmp_path / "file").parameters())) == 2


def test_dict_that_is_held_twice_at_every_level_is_searched_once() -> None:
    checkpoint: dict[str, Any] = {"model": MODEL}
    for _ in range(30):
        checkpoint = {"a": checkpoint, "b": checkpoint}
    assert list(state_dicts(checkpoint)) == [".".join(["a"] * 30 + ["model"])]


def test_search_ends_in_a_dict_that_is_nested_without_end() -> None:
    checkpoint: dict[str, Any] = {"model": MODEL}
    for _ in range(100_000):
        checkpoint = {"a": checkpoint}
    assert state_dicts(checkpoint) == {}


def test_state_of_a_layer_is_not_searched() -> None:
    assert list(state_dicts({"net": {**MODEL, "layer._extra_state": {"amax": {"a.b": torch.ones(2)}}}})) == ["net"]


def test_pickle_with_other_objects_says_what_to_do(tmp_path: Path) -> None:
    torch.save({"model": MODEL, "args": argparse.Namespace(lr=0.1)}, tmp_path / "file")
    for key in (None, "model"):
        assert refusal(tmp_path / "file", lambda path, key=key: load(path, key)).endswith(
            "got DIR/file, a pickle that holds code (argparse.Namespace), which was not loaded; if you trust it,"
            " load it with weights_only=False and torch.save the model's state_dict() alone"
        )
