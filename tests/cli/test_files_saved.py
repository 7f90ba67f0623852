"""Is a file written completely or not at all?"""

import os
import resource
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_files import refusal
from torchinit.cli._outputs import save


def test_saved_file_holds_the_given_bytes(tmp_path: Path) -> None:
    save(tmp_path / "new", b"abc", force=False)
    assert (tmp_path / "new").read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_new_file_has_the_mode_that_the_umask_leaves(mask: int, mode: int, tmp_path: Path) -> None:
    old = os.umask(mask)
    try:
        save(tmp_path / "new", b"abc", force=False)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode


def test_overwritten_file_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o640)
    save(tmp_path / "old", b"abc", force=True)
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640


@pytest.mark.parametrize("how", ["same", "symbolic", "hard"])
def test_existing_file_is_overwritten_only_by_force(how: str, tmp_path: Path) -> None:
    old, path = tmp_path / "old", tmp_path / ("old" if how == "same" else "alias")
    old.write_bytes(b"old")
    if how != "same":
        (path.symlink_to if how == "symbolic" else path.hardlink_to)(old)
    with pytest.raises(RuntimeError) as caught:
        save(path, b"new", force=False)
    assert str(caught.value) == f"an existing file is overwritten only with --force, got {path}"
    assert old.read_bytes() == b"old"
    save(path, b"new", force=True)
    assert path.read_bytes() == b"new"


def test_output_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(Path("folder") / "real")
    save(tmp_path / "link", b"new", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "real").read_bytes() == b"new"
    assert os.listdir(tmp_path / "folder") == ["real"]


def test_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    save(tmp_path / "pipe", b"abc", force=False)
    reader.join(900)
    assert got == [b"abc"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("existing", [True, False])
def test_full_disk_leaves_the_folder_unchanged(existing: bool, tmp_path: Path) -> None:
    path = tmp_path / "out"
    if existing:
        path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            save(path, bytes(1 << 20), force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert os.listdir(tmp_path) == (["out"] if existing else [])
    assert not existing or path.read_bytes() == b"old"


def test_interrupted_save_leaves_the_folder_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").write_bytes(b"old")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "out", b"new", force=True)
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


def test_output_that_cannot_be_written_is_named_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    messages = [refusal(tmp_path / name, _save) for name in ("folder", "file/out", "none/out")]
    assert messages[0] == "[Errno 21] Is a directory: 'DIR/folder'"
    assert [message.partition(":")[0] for message in messages[1:]] == [
        "[Errno 20] Not a directory",
        "[Errno 2] No such file or directory",
    ]
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def _save(path: Path) -> None:
    save(path, b"abc", force=False)
