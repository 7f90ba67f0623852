"""Is a file refused in one line if it holds no model, holds code or is damaged?"""

import io
import os
import pickle
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from expecttest import assert_expected_inline
from torch import nn

from tests.support.model_files import WRITERS, Net, load, refusal, rewrite, saved_model as saved_model
from torchinit.cli._files import kind_of, load_torchscript


class Malicious:
    """An object whose pickle creates a file when loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


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
    MALICE[how](Malicious(marker), tmp_path / "malice")
    message = refusal(tmp_path / "malice")
    assert not marker.exists()
    if how not in ("protocol 0", "protocol 1"):
        # Protocols 0 and 1 are not even recognized as a pickle.
        assert "hold" in message
        assert "code" in message
        assert "not loaded" in message
    # Loading it would have run the code.
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


WRONG: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "one byte": lambda: b"\x80",
    "text": lambda: b"hello\x1b[31m, world",
    "zip of something else": lambda: _zip(a="x"),
    "export without weights": lambda: _zip(**{"serialized_exported_program.json": "{}"}),
    "pointer of Git LFS": lambda: b"version https://git-lfs.github.com/spec/v1",
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
    "optimizer": lambda: _saved(torch.optim.SGD([torch.ones(2)], momentum=0.9).state_dict()),
    "no name": lambda: _saved({"state_dict": {1: torch.ones(2)}}),
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


def _own_words(message: str) -> str:
    # Cut the words of torch and safetensors, which change between versions.
    return message.partition(" damaged: ")[0] if " damaged: " in message else message.partition(" read: ")[0]


def test_refusal_states_the_rule_and_then_the_contents(tmp_path: Path) -> None:
    messages = []
    for index, (label, make) in enumerate(WRONG.items()):
        path = tmp_path / str(index)
        path.write_bytes(make())
        message = _own_words(refusal(path)).replace(f"DIR/{index}", "FILE")
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
export without weights
  FILE, a torch.export archive without weights
pointer of Git LFS
  FILE, a pointer of Git LFS; git lfs pull fetches the file
whole module
  FILE, a pickle that holds code (torch.nn.modules.linear.Linear), which was not loaded; if you trust it, load it with weights_only=False and torch.save the model's state_dict() alone
whole module, legacy
  FILE, a pickle that holds code (torch.nn.modules.linear.Linear), which was not loaded; if you trust it, load it with weights_only=False and torch.save the model's state_dict() alone
newer protocol
  FILE, a pickle that may hold code of protocol 4 or 5, which was not loaded; if you trust it, load it with weights_only=False and torch.save the model's state_dict() alone
list
  FILE, which holds list, not a dict of names and tensors
tensor
  FILE, which holds Tensor, not a dict of names and tensors
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
optimizer
  FILE, a dict of state and param_groups without a state dict in it
no name
  FILE, a state dict with 1 for a dotted name
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


def test_error_of_the_system_keeps_its_words(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == "[Errno 2] No such file or directory: 'DIR/none'"
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder", load_torchscript).endswith(
        "needs a TorchScript file, got DIR/folder, a directory"
    )
    with pytest.raises(IsADirectoryError, match=r"^\[Errno 21\] Is a directory: '.*folder'$"):
        kind_of(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == f"{RULE}DIR/pipe, not a regular file"


def test_control_characters_in_a_path_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\nb").write_bytes(b"")
    with pytest.raises(RuntimeError, match=r"a\\x1b\[31m\\nb, an empty file$"):
        load(tmp_path / "a\x1b[31m\nb")


def test_safetensors_are_read_without_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WRITERS["safetensors"](Net(), tmp_path / "safe")
    for name in [name for name in sys.modules if name.partition(".")[0] == "safetensors"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert len(list(load(tmp_path / "safe").parameters())) == 5


def _read_or_refuse(path: Path) -> bool:
    """True if the file is read; fails on any error but a refusal in one line."""
    refusal = None
    try:
        load(path)
    except (RuntimeError, OSError) as error:
        refusal = str(error)
    assert refusal is None or (refusal.isprintable() and str(path) in refusal)
    return refusal is None


def test_file_that_is_cut_off_anywhere_is_refused(saved_model: tuple[nn.Module, Path]) -> None:
    whole = saved_model[1].read_bytes()
    lengths = {*range(64), *range(64, len(whole), max(1, len(whole) // 100)), *range(len(whole) - 64, len(whole))}
    for length in sorted(lengths):
        saved_model[1].write_bytes(whole[:length])
        assert not _read_or_refuse(saved_model[1])


def test_file_with_bytes_changed_anywhere_is_read_or_refused(saved_model: tuple[nn.Module, Path]) -> None:
    whole, dice = saved_model[1].read_bytes(), random.Random(0)
    outcomes = set()
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(dice.choice([1, 2, 8])):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        saved_model[1].write_bytes(changed)
        outcomes.add(_read_or_refuse(saved_model[1]))
    assert outcomes == {True, False}


@pytest.mark.parametrize("how", ["script", "zip"])
def test_changed_record_with_its_checksum_mended_is_read_or_refused(how: str, tmp_path: Path) -> None:
    path, dice = tmp_path / "net", random.Random(0)
    WRITERS[how](Net(), path)
    with zipfile.ZipFile(path) as archive:
        records = {record.filename: archive.read(record) for record in archive.infolist()}
    pickled = [name for name in records if name.endswith((".pkl", ".py"))]
    outcomes = {_read_or_refuse(path)}
    for _ in range(50):
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
    assert "damaged: Bad CRC-32" in refusal(path)


def test_archive_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(2)}, tmp_path / "unchecked")
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / "unchecked") as archive:
        assert archive.testzip() is not None
    assert torch.equal(load(tmp_path / "unchecked").w, torch.ones(2))


@pytest.mark.parametrize("how", ["script", "mobile"])
def test_load_torchscript_reads_torchscript(how: str, tmp_path: Path) -> None:
    WRITERS[how](Net().eval(), tmp_path / "net")
    assert isinstance(load_torchscript(tmp_path / "net"), torch.jit.ScriptModule)
    assert load_torchscript(tmp_path / "net")(torch.ones(1, 3)).shape == (1, 3)


@pytest.mark.parametrize(
    ("how", "what"),
    [("zip", "a file of torch.save"), ("legacy", "a file of torch.save"), ("safetensors", "a safetensors file")],
)
def test_load_torchscript_refuses_every_other_format(how: str, what: str, tmp_path: Path) -> None:
    WRITERS[how](Net(), tmp_path / "net")
    assert refusal(tmp_path / "net", load_torchscript) == f"this command needs a TorchScript file, got DIR/net, {what}"


def test_load_torchscript_refuses_a_file_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"hello")
    assert refusal(tmp_path / "text", load_torchscript).startswith(RULE)


def test_refusal_names_an_unknown_operator_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "net"
    torch.jit.script(nn.ReLU()).save(str(path))
    rewrite(path, b"torch.relu(", b"ops.nowhere.relu(")
    assert "ops.nowhere" in refusal(path) or "nowhere::relu" in refusal(path)


def test_what_another_option_or_command_takes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.toml").write_text('[[rule]]\ninit = "zeros_"\n')
    for path, why in (
        ("rules.toml", "a recipe; list --recipe shows it, and --recipe takes it"),
        ("vision:net", "the name of a model; record, diff and report build it"),
    ):
        with pytest.raises(RuntimeError) as error:
            kind_of(path)
        assert str(error.value) == f"{RULE}{path}, {why}"
