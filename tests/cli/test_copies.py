"""Do copies that are written in place have right checksums, and keep what was written when their pages are dropped?"""

import random
import sys
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from torchinit.cli import _copies
from torchinit.cli._copies import Pages, open_copy
from torchinit.cli._files import SAFETENSORS, SAVED, read
from torchinit.cli._readers import load_pickle
from torchinit.cli._zip import mend_checksums, values_begin


def _change(path: Path, names: list[str]) -> None:
    """Change the first byte of records, and leave their checksums."""
    with zipfile.ZipFile(path) as archive, open(path, "r+b") as file:
        for name in names:
            begin = values_begin(file, archive.getinfo(name))
            file.seek(begin)
            first = file.read(1)
            file.seek(begin)
            file.write(bytes([first[0] ^ 1]))


class Stream:
    """A stream that cannot seek; archives get their checksums behind the values."""

    contents = b""

    def write(self, part: bytes) -> int:
        self.contents += part
        return len(part)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("writer", ["torch", "zipfile", "streamed", "commented"])
def test_mended_archive_is_whole(writer: str, tmp_path: Path) -> None:
    path, dice = tmp_path / "archive.pt", random.Random(0)
    names = [f"top/data/{number}" for number in range(5)]
    if writer == "torch":
        torch.save({str(n): torch.ones(100 * n + 1) for n in range(5)}, path)
        names = [name for name in zipfile.ZipFile(path).namelist() if "/data/" in name]
    elif writer == "streamed":
        stream = Stream()
        with zipfile.ZipFile(stream, "w") as archive:
            for name in names:
                archive.writestr(name, dice.randbytes(300))
        path.write_bytes(stream.contents)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, dice.randbytes(300))
            archive.comment = b"comment" if writer == "commented" else b""
    changed = [names[0], names[-1]]
    _change(path, changed)
    assert zipfile.ZipFile(path).testzip() == names[0]
    mend_checksums(path)
    assert zipfile.ZipFile(path).testzip() is None
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for record in archive.infolist():
            if record.flag_bits & 8:
                # A reader of streams finds the checksum behind the values.
                file.seek(values_begin(file, record) + record.file_size)
                assert file.read(8) == b"PK\x07\x08" + record.CRC.to_bytes(4, "little")
    if writer == "torch":
        assert len(torch.load(path)) == 5


def test_missing_checksums_stay_missing_and_compressed_records_stay(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, tmp_path / "unchecked")
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / "packed", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1000))
    for path in (tmp_path / "unchecked", tmp_path / "packed"):
        before = path.read_bytes()
        mend_checksums(path)
        assert path.read_bytes() == before


def _resident(path: Path) -> int:
    """Return how many kilobytes of a mapped file are in this process's memory."""
    maps = Path("/proc/self/smaps").read_text(errors="replace")
    entry = maps[maps.index(str(path)) :]
    return int(entry[entry.index("Rss:") + 4 :].split()[0])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are given back on Linux")
@pytest.mark.parametrize("kind", [SAVED, SAFETENSORS])
def test_written_pages_leave_memory_and_keep_their_values(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_copies, "_MOST", 1 << 20)
    state = {f"{number}": torch.zeros(1 << 18) for number in range(4)}
    (torch.save if kind == SAVED else safetensors.torch.save_file)(state, tmp_path / "source")
    stage = tmp_path / "stage"
    copy = open_copy(tmp_path / "source", stage, kind, None)
    pages, most = Pages([stage]), 0
    for name, tensor in copy.held.items():
        tensor.fill_(float(name) + 1)
        most = max(most, _resident(stage))
        pages.written(tensor)
    assert most >= 1024
    assert _resident(stage) == 0
    copy.finish()
    assert all(bool((tensor == float(name) + 1).all()) for name, tensor in read(stage).items())


def test_only_files_that_are_mapped_for_writing_are_found(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(5)}, tmp_path / "a")
    held = [load_pickle(tmp_path / "a")]
    assert list(_copies._mapped([tmp_path / "a"])) == []
    held.append(load_pickle(tmp_path / "a", shared=True))
    assert len(list(_copies._mapped([tmp_path / "a", tmp_path / "b"]))) == sys.platform.startswith("linux")


def test_no_mapped_file_is_looked_for_where_no_list_of_them_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(5)}, tmp_path / "a")
    held = load_pickle(tmp_path / "a", shared=True)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert list(_copies._mapped([tmp_path / "a"])) == []
    del held
