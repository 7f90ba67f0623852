"""Is a model read from whatever wrote it, is whatever else refused in one line, and is a file written whole?"""

import io
import os
import pickle
import random
import resource
import stat
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from expecttest import assert_expected_inline
from torch import Tensor, nn

from torchinit.commands import _files
from torchinit.commands._files import load, save, script
from torchinit.deploy._archive import _without_notices
from torchinit.recipes._layers import walk


class Net(nn.Module):
    """A layer in a layer, and a weight that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 3, bias=False)
        self.tail = nn.Linear(4, 3, bias=False)
        self.tail.weight = self.head.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)) + self.tail(self.body(x))


class Malice:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def _scripted(model: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.script(model)


def _save_mobile(model: nn.Module, path: Path) -> None:
    with _without_notices():
        _scripted(model)._save_for_lite_interpreter(str(path))


def _save_safetensors(model: nn.Module, path: Path) -> None:
    # It refuses tied tensors, which its own save_model drops.
    state = model.state_dict()
    safetensors.torch.save_file({name: state[name] for name in state if name != "tail.weight"}, path)


WRITERS: dict[str, Callable[[nn.Module, Path], Any]] = {
    "script": lambda model, path: _scripted(model).save(str(path)),
    "mobile": _save_mobile,
    "zip": lambda model, path: torch.save(model.state_dict(), path),
    "legacy": lambda model, path: torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False),
    "safetensors": _save_safetensors,
}


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[nn.Module, Path]:
    # Named for none of the formats, so that it is told by what is in it.
    model, path = Net(), tmp_path / "model.bin"
    WRITERS[request.param](model, path)
    return model, path


def _refusal(path: Path, read: Callable[[Path], Any] = load) -> str:
    with warnings.catch_warnings():
        # A refusal is one line, without a warning before it.
        warnings.simplefilter("error")
        with pytest.raises((RuntimeError, OSError)) as caught:
            read(path)
    message = str(caught.value)
    assert message.isprintable()
    assert str(path) in message
    return message.replace(str(path.parent), "DIR")


def test_whatever_wrote_it_gives_the_parameters_that_were_written(written: tuple[nn.Module, Path]) -> None:
    model, path = written
    expected, read = dict(model.named_parameters()), dict(load(path).named_parameters())
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], expected[name]) for name in read)


def test_parameters_keep_their_order(tmp_path: Path) -> None:
    names = [f"layer{index}" for index in random.Random(0).sample(range(40), 40)]
    torch.save({name: torch.ones(2) for name in names}, tmp_path / "order")
    assert [name for name, _ in load(tmp_path / "order").named_parameters()] == names


def test_walk_goes_through_what_was_read(written: tuple[nn.Module, Path]) -> None:
    model, path = written
    named = {layer.qualified(name) for layer in walk(load(path)) for name, _ in layer.parameters()}
    assert named >= {name for name, _ in model.named_parameters()}


def test_reading_warns_of_nothing(written: tuple[nn.Module, Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(written[1])


def test_what_was_read_is_no_window_into_the_file(written: tuple[nn.Module, Path]) -> None:
    _, path = written
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


def test_views_of_one_storage_are_parameters_of_their_own(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_checkpoint_gives_the_state_dict_in_it(key: str, tmp_path: Path) -> None:
    torch.save({"epoch": 3, key: {"layer.w": torch.ones(2)}, "optimizer": {"lr": 0.1}}, tmp_path / "checkpoint")
    assert [name for name, _ in load(tmp_path / "checkpoint").named_parameters()] == ["layer.w"]


def test_layer_named_model_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"model": torch.ones(2), "other": torch.ones(3)}, tmp_path / "flat")
    assert [name for name, _ in load(tmp_path / "flat").named_parameters()] == ["model", "other"]


def test_names_that_every_module_has_are_names_like_others(tmp_path: Path) -> None:
    names = ["type.half.training", "forward.weight", "_parameters", "training"]
    torch.save({name: torch.ones(2) for name in names}, tmp_path / "names")
    assert {name for name, _ in load(tmp_path / "names").named_parameters()} == set(names)


def test_tensor_may_have_the_name_of_a_layer(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "a.b": torch.ones(3)}, tmp_path / "names")
    assert [name for name, _ in load(tmp_path / "names").named_parameters()] == ["a", "a.b"]


def test_safetensors_keep_the_order_of_their_file(tmp_path: Path) -> None:
    names = [f"layer{index:02}" for index in range(40)]
    # Larger dtypes go first, so the order is not the alphabet's.
    tensors = {name: torch.ones(2, dtype=torch.float64 if i % 3 else torch.float32) for i, name in enumerate(names)}
    safetensors.torch.save_file(tensors, tmp_path / "order")
    read = [name for name, _ in load(tmp_path / "order").named_parameters()]
    assert read == [n for n in names if tensors[n].dtype == torch.float64] + [
        n for n in names if tensors[n].dtype == torch.float32
    ]


def _rewrite(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes in the records of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        records = {record.filename: archive.read(record) for record in archive.infolist()}
    assert any(old in contents for contents in records.values())
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in records.items():
            archive.writestr(name, contents.replace(old, new))


@pytest.mark.parametrize("how", ["zip", "script"])
def test_tensors_of_a_device_that_is_not_here_are_read(how: str, tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    WRITERS[how](model, tmp_path / "net")
    _rewrite(tmp_path / "net", b"X\3\0\0\0cpu", b"X\6\0\0\0cuda:0")
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


MALICE = {
    "zip": lambda malice, path: torch.save({"w": malice}, path),
    "legacy": lambda malice, path: torch.save({"w": malice}, path, _use_new_zipfile_serialization=False),
    **{
        f"protocol {protocol}": lambda malice, path, p=protocol: path.write_bytes(pickle.dumps(malice, protocol=p))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("environment", ["", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"])
@pytest.mark.parametrize("how", MALICE)
def test_code_in_a_pickle_is_never_run(
    how: str, environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment:
        monkeypatch.setenv(environment, "1")
    marker = tmp_path / "marker"
    MALICE[how](Malice(marker), tmp_path / "malice")
    message = _refusal(tmp_path / "malice")
    assert not marker.exists()
    if how not in ("protocol 0", "protocol 1"):
        # Those do not even look like a pickle.
        assert "hold" in message
        assert "code" in message
        assert "not loaded" in message
    # What was refused would have worked.
    if how.startswith("protocol"):
        pickle.loads((tmp_path / "malice").read_bytes())
        assert marker.exists()


def _zip(**records: str) -> bytes:
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w") as archive:
        for name, text in records.items():
            archive.writestr(name, text)
    return contents.getvalue()


def _saved(thing: Any, **how: Any) -> bytes:
    contents = io.BytesIO()
    torch.save(thing, contents, **how)
    return contents.getvalue()


def _exported() -> bytes:
    contents = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), contents)
    return contents.getvalue()


WRONG: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "one byte": lambda: b"\x80",
    "text": lambda: b"hello\x1b[31m, world",
    "zip of something else": lambda: _zip(a="x"),
    "export": _exported,
    "older export": lambda: _zip(**{"serialized_exported_program.json": "{}"}),
    "whole module": lambda: _saved(nn.Linear(2, 2)),
    "whole module, legacy": lambda: _saved(nn.Linear(2, 2), _use_new_zipfile_serialization=False),
    "newer protocol": lambda: _saved({"w": torch.ones(2)}, pickle_protocol=4),
    "list": lambda: _saved([1, 2]),
    "tensor": lambda: _saved(torch.ones(2)),
    "integers": lambda: _saved({"a": 1, "b": 2}),
    "number for a name": lambda: _saved({1: torch.ones(2)}),
    "gap in a name": lambda: _saved({"a..b": torch.ones(2)}),
    "escape in a name": lambda: _saved({"\x1b[31m\n": 3}),
    "deep name": lambda: _saved({".".join("a" * 5000): torch.ones(2)}),
    "nested too far": lambda: _saved({"state_dict": {"state_dict": {"w": torch.ones(2)}}}),
    "cut off safetensors": lambda: (2000).to_bytes(8, "little") + b"{}",
    "safetensors that overlap": lambda: (
        (130).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'
        + b" " * 18
        + bytes(12)
    ),
    "cut off zip": lambda: _saved({"w": torch.ones(9)})[:-30],
    "magic alone": lambda: _saved({}, _use_new_zipfile_serialization=False)[:14],
}


def _last_words(message: str) -> str:
    # What torch and safetensors say is theirs to change.
    return message.partition(" damaged: ")[0] if " damaged: " in message else message.partition(" read: ")[0]


def test_what_is_no_model_gets_the_rule_and_then_what_it_is(tmp_path: Path) -> None:
    messages = []
    for index, (label, make) in enumerate(WRONG.items()):
        path = tmp_path / str(index)
        path.write_bytes(make())
        message = _last_words(_refusal(path)).replace(f"DIR/{index}", "FILE")
        messages.append(f"{label}\n  {message.removeprefix(RULE)}\n")
        assert message.startswith(RULE)
    assert_expected_inline(
        "".join(messages),
        """\
empty
  FILE, an empty file
one byte
  FILE, which starts with b'\\x80'
text
  FILE, which starts with b'hello\\x1b[31'
zip of something else
  FILE, a zip archive that torch did not write
export
  FILE, a torch.export archive, whose weights torch.export.load reads
older export
  FILE, a torch.export archive, whose weights torch.export.load reads
whole module
  FILE, a pickle that holds code (torch.nn.modules.linear.Linear), which was not loaded; save the model's state_dict() instead
whole module, legacy
  FILE, a pickle that holds code (torch.nn.modules.linear.Linear), which was not loaded; save the model's state_dict() instead
newer protocol
  FILE, a pickle of protocol 4 or 5, which may hold code and was not loaded
list
  FILE, which holds no dict of names and tensors but list
tensor
  FILE, which holds no dict of names and tensors but Tensor
integers
  FILE, a state dict with int for a tensor at 'a'
number for a name
  FILE, a state dict with 1 for a dotted name
gap in a name
  FILE, a state dict with 'a..b' for a dotted name
escape in a name
  FILE, a state dict with int for a tensor at '\\x1b[31m\\n'
deep name
  FILE, a state dict with 'a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a for a dotted name
nested too far
  FILE, a state dict with dict for a tensor at 'state_dict'
cut off safetensors
  FILE, a safetensors file that is cut off or
safetensors that overlap
  FILE, a safetensors file that is cut off or
cut off zip
  FILE, a zip archive that is cut off or
magic alone
  FILE, which torch.load does not
""",
    )


RULE = "a model file must hold a TorchScript archive, a state dict or safetensors, got "


def test_what_the_system_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "none") == "[Errno 2] No such file or directory: 'DIR/none'"
    (tmp_path / "folder").mkdir()
    assert _refusal(tmp_path / "folder") == "[Errno 21] Is a directory: 'DIR/folder'"
    os.mkfifo(tmp_path / "pipe")
    assert _refusal(tmp_path / "pipe") == f"{RULE}DIR/pipe, not a regular file"


def test_path_that_a_terminal_would_obey_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\nb").write_bytes(b"")
    with pytest.raises(RuntimeError, match=r"a\\x1b\[31m\\nb, an empty file$"):
        load(tmp_path / "a\x1b[31m\nb")


def test_safetensors_package_is_asked_for_only_when_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "safetensors"]:
        monkeypatch.setitem(sys.modules, name, None)
    torch.save({"w": torch.ones(2)}, tmp_path / "saved")
    load(tmp_path / "saved")
    (tmp_path / "safe").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(RuntimeError) as caught:
        load(tmp_path / "safe")
    assert str(caught.value) == (
        "reading a safetensors file needs the package safetensors: pip install 'torchinit[safetensors]'"
    )


def _read_or_refuse(path: Path) -> bool:
    """Whether it is read; whatever but a refusal in one line fails."""
    refusal = None
    try:
        load(path)
    except (RuntimeError, OSError) as error:
        refusal = str(error)
    assert refusal is None or (refusal.isprintable() and str(path) in refusal)
    return refusal is None


def test_file_that_is_cut_off_anywhere_is_refused(written: tuple[nn.Module, Path]) -> None:
    whole = written[1].read_bytes()
    lengths = {*range(64), *range(64, len(whole), max(1, len(whole) // 200)), *range(len(whole) - 64, len(whole))}
    for length in sorted(lengths):
        written[1].write_bytes(whole[:length])
        assert not _read_or_refuse(written[1])


def test_file_with_bytes_changed_anywhere_is_read_or_refused(written: tuple[nn.Module, Path]) -> None:
    whole, dice = written[1].read_bytes(), random.Random(0)
    outcomes = set()
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(dice.choice([1, 2, 8])):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        written[1].write_bytes(changed)
        outcomes.add(_read_or_refuse(written[1]))
    assert outcomes == {True, False}


@pytest.mark.parametrize("how", ["script", "zip"])
def test_changed_record_with_its_checksum_mended_is_read_or_refused(how: str, tmp_path: Path) -> None:
    path, dice = tmp_path / "net", random.Random(0)
    WRITERS[how](Net(), path)
    with zipfile.ZipFile(path) as archive:
        records = {record.filename: archive.read(record) for record in archive.infolist()}
    pickled = [name for name in records if name.endswith((".pkl", ".py"))]
    outcomes = set()
    for _ in range(100):
        name = dice.choice(pickled)
        changed = bytearray(records[name])
        changed[dice.randrange(len(changed))] = dice.randrange(256)
        with zipfile.ZipFile(path, "w") as archive:
            for record, contents in {**records, name: bytes(changed)}.items():
                archive.writestr(record, contents)
        outcomes.add(_read_or_refuse(path))
    assert outcomes == {True, False}


@pytest.mark.parametrize("how", ["script", "mobile", "zip"])
def test_one_flipped_bit_of_a_weight_is_noticed(how: str, tmp_path: Path) -> None:
    model, path = Net(), tmp_path / "net"
    WRITERS[how](model, path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(model.head.weight.detach().numpy().tobytes())] ^= 1
    path.write_bytes(whole)
    assert "damaged: Bad CRC-32" in _refusal(path)


def test_checksums_that_torch_left_out_are_not_missed(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(2)}, tmp_path / "unchecked")
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / "unchecked") as archive:
        assert archive.testzip() is not None
    assert torch.equal(load(tmp_path / "unchecked").w, torch.ones(2))


@pytest.mark.parametrize("how", ["script", "mobile"])
def test_script_reads_torchscript(how: str, tmp_path: Path) -> None:
    WRITERS[how](Net().eval(), tmp_path / "net")
    assert isinstance(script(tmp_path / "net"), torch.jit.ScriptModule)
    assert script(tmp_path / "net")(torch.ones(1, 3)).shape == (1, 3)


@pytest.mark.parametrize(
    ("how", "what"),
    [("zip", "a file of torch.save"), ("legacy", "a file of torch.save"), ("safetensors", "a safetensors file")],
)
def test_script_refuses_all_else(how: str, what: str, tmp_path: Path) -> None:
    WRITERS[how](Net(), tmp_path / "net")
    assert _refusal(tmp_path / "net", script) == f"this command needs a TorchScript file, got DIR/net, {what}"


def test_script_refuses_what_holds_no_model(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"hello")
    assert _refusal(tmp_path / "text", script).startswith(RULE)


def test_archive_that_calls_an_unknown_operator_says_which(tmp_path: Path) -> None:
    path = tmp_path / "net"
    torch.jit.script(nn.ReLU()).save(str(path))
    _rewrite(path, b"torch.relu(", b"ops.nowhere.relu(")
    assert "ops.nowhere" in _refusal(path) or "nowhere::relu" in _refusal(path)


def test_saved_file_holds_what_was_given(tmp_path: Path) -> None:
    save(tmp_path / "new", b"abc", None, force=False)
    assert (tmp_path / "new").read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_new_file_has_the_mode_that_the_umask_leaves(mask: int, mode: int, tmp_path: Path) -> None:
    old = os.umask(mask)
    try:
        save(tmp_path / "new", b"abc", None, force=False)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode


def test_overwritten_file_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o640)
    save(tmp_path / "old", b"abc", None, force=False)
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640


def _alias(how: str, source: Path) -> Path:
    alias = source.parent / "alias"
    if how == "same":
        return source
    if how == "dots":
        return source.parent / ".." / source.parent.name / source.name
    (alias.symlink_to if how == "symbolic" else alias.hardlink_to)(source)
    return alias


@pytest.mark.parametrize("how", ["same", "dots", "symbolic", "hard"])
def test_input_is_overwritten_only_by_force(how: str, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_bytes(b"old")
    path = _alias(how, source)
    with pytest.raises(RuntimeError) as caught:
        save(path, b"new", source, force=False)
    assert str(caught.value) == f"the input is overwritten only with --force, got OUT {path}"
    assert source.read_bytes() == b"old"
    save(path, b"new", source, force=True)
    assert path.read_bytes() == b"new"


def test_output_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(Path("folder") / "real")
    save(tmp_path / "link", b"new", None, force=False)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "real").read_bytes() == b"new"
    assert os.listdir(tmp_path / "folder") == ["real"]


def test_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    save(tmp_path / "pipe", b"abc", None, force=False)
    reader.join(10)
    assert got == [b"abc"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("existing", [True, False])
def test_full_disk_leaves_what_was_there(existing: bool, tmp_path: Path) -> None:
    path = tmp_path / "out"
    if existing:
        path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            save(path, bytes(1 << 20), None, force=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert os.listdir(tmp_path) == (["out"] if existing else [])
    assert not existing or path.read_bytes() == b"old"


def test_interrupted_save_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").write_bytes(b"old")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_files.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "out", b"new", None, force=False)
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


def test_output_that_cannot_be_written_is_named_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    messages = [_refusal(tmp_path / name, _save) for name in ("folder", "file/out", "none/out")]
    assert messages[0] == "[Errno 21] Is a directory: 'DIR/folder'"
    assert [message.partition(":")[0] for message in messages[1:]] == [
        "[Errno 20] Not a directory",
        "[Errno 2] No such file or directory",
    ]
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def _save(path: Path) -> None:
    save(path, b"abc", None, force=False)
