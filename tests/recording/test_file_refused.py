"""Is a file that no recording was saved to refused before anything runs?"""

import contextlib
import json
import os
import random
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from tests.support.saved_models import MODELS, Tables
from torchinit.recording import RecordError, Recording, _file, load


@pytest.fixture(scope="module")
def saved() -> bytes:
    return _file.serialize(torchinit.record(Tables).program)


def _changed(saved: bytes, path: list[Any], value: Any) -> bytes:
    """Change a part of a file, and make its checksum anew."""
    content = json.loads(saved)
    *above, last = path
    parent = content
    for step in above:
        parent = parent[step]
    parent[last] = value
    return _resealed(content)


def _resealed(content: dict[str, Any]) -> bytes:
    parts = [content.get(name) for name in (*_file._HEAD, *_file._BODY)]
    return json.dumps(content | {"crc32": zlib.crc32(json.dumps(parts, separators=(",", ":")).encode())}).encode()


BIG = 1 << 63
# Each way in which a file may lie: the part, its new value, and what is said.
LIES: dict[str, tuple[list[Any], Any, str]] = {
    "format": (["format"], 2, "its format must be 1, got 2; a newer torchinit may read it"),
    "format type": (["format"], True, "it must be a JSON object with a format"),
    "storage size": (["storages", 0], BIG, r"storages\[0\] must be an integer from 0 to"),
    "negative storage": (["storages", 0], -1, r"storages\[0\] must be an integer from 0 to"),
    "storage type": (["storages", 0], 4.0, r"storages\[0\] must be an integer"),
    "smaller storage": (["storages", 0], 3, r"refs\[\d+\] must end in its 3 bytes"),
    "constant bytes": (["constants"], {"0": "AAAA"}, r"constant 0 must have the \d+ bytes of its storage, got 3"),
    "constant text": (["constants"], {"0": "?"}, "constant 0 must be base64"),
    "constant number": (["constants"], {"99999": ""}, "a storage of constants must be the number of one"),
    "long constant name": (["constants"], {"1" * 5000: ""}, "constants must have numbers of storages"),
    "constant name": (["constants"], {"-1": ""}, "constants must have numbers of storages"),
    "outside": (["outside"], [{"kind": "code", "what": "", "place": "", "right": ""}], "must be a draw or a file"),
    "outside text": (["outside"], [{"kind": "file", "what": 1, "place": "", "right": ""}], r"the what of outside\[0\]"),
    "allocated": (["allocated"], {"99999": 0}, "a storage of allocated must be the number of one"),
    "allocated place": (["allocated"], {"0": 99999}, "a place of allocated must be the number of one"),
    "given": (["given"], [99999], r"given\[0\] must be an integer from 0 to"),
    "ref storage": (["refs", 0, 0], 99999, r"the storage of refs\[0\] must be the number of one"),
    "ref bool": (["refs", 0, 0], True, r"the storage of refs\[0\] must be the number of one"),
    "ref dtype": (["refs", 0, 1], "quint8", r"the dtype of refs\[0\] must be a dtype that this torch has, got 'quint8'"),
    "ref name": (["refs", 0, 1], "load", r"the dtype of refs\[0\] must be a dtype"),
    "ref size": (["refs", 0, 2], [BIG - 1], r"refs\[0\] must end in its"),
    "ref sizes": (["refs", 0], [0, "int8", [1 << 40, 1 << 40], [0, 0]], r"refs\[0\] must be of a size that torch has"),
    "ref empty": (["refs", 0], [0, "int8", [0, 1 << 62], [1 << 62, 1 << 62], 1 << 20], r"refs\[0\] must end in its"),
    "negative size": (["refs", 0, 2], [-1], r"the size of refs\[0\] must be an integer"),
    "negative stride": (["refs", 0], [0, "int8", [2], [-1], 1], r"the stride of refs\[0\] must be an integer"),
    "ref offset": (["refs", 0], [0, "int8", [1], [1], 1 << 20], r"refs\[0\] must end in its \d+ bytes, got 1048577"),
    "ref dimensions": (["refs", 0], [0, "int8", [1] * 65], r"refs\[0\] must have a stride for each of at most 64"),
    "ref strides": (["refs", 0], [0, "int8", [1], []], r"refs\[0\] must have a stride for each"),
    "ref conjugate": (["refs", 0], [0, "int8", [1], [1], 0, True], r"refs\[0\] must be complex to be conjugated"),
    "ref parts": (["refs", 0], [0], r"refs\[0\] must have 3 to 6 parts"),
    "entry name": (["entries", 1, "name"], "w", r"entries\[1\] must have a name of its own, got 'w'"),
    "entry kind": (["entries", 0, "kind"], "module", r"entries\[0\] must be a parameter or buffer"),
    "entry tie": (["entries", 0, "tied"], "fixed", r"entries\[0\] must be tied to an earlier entry"),
    "entry key": (["entries", 0, "more"], 1, r"entries\[0\] has only name, kind"),
    "call function": (["functions", 0, "name"], "eval", r"functions\[0\] must name an initializer, got 'eval'"),
    "call target": (["calls", 0, "target"], None, r"the target of calls\[0\] must be the number of one"),
    "operator": (["operations", 0, "op"], "aten.from_file.default", r"operations\[0\] must be an allowed operator"),
    "overload": (["operations", 0, "op"], "aten.normal_.out", r"operations\[0\] must be an allowed operator"),
    "namespace": (["operations", 0, "op"], "torchinit_tests.twice.default", "must be an allowed operator"),
    "no operator": (["operations", 0, "op"], ["seed"], "must be an allowed operator"),
    "unseeded": (["operations", 0], {"op": "aten.rand.default", "args": [[1]], "generator": 5}, "seeded|take one"),
    "unsaved": (["operations", 0], {"op": "restore", "args": [5]}, r"operations\[0\] must restore a saved state"),
    "seed": (["operations", 0], {"op": "seed", "args": [1.0]}, r"operations\[0\] must have one number"),
    "large seed": (["operations", 0], {"op": "seed", "args": [1 << 64]}, "must have 64 bits"),
    "call number": (["operations", 0, "call"], 99999, r"the call of operations\[0\] must be the number of one"),
    "place": (["operations", 0, "place"], -1, r"the place of operations\[0\] must be the number of one"),
    "tag": (["operations", 0, "args"], [{"eval": "1"}], "must be tagged ref, float, complex"),
    "float tag": (["operations", 0, "args"], [{"float": "1e5"}], "must be inf or nan"),
    "deep list": (["operations", 0, "args"], [[[[[[1]]]]]], "must be at most 4 deep"),
    "part": (["more"], [], "missing or unknown"),
    "part type": (["operations"], {}, "operations must be list, got {}"),
}  # fmt: skip


def _refused(contents: bytes, tmp_path: Path) -> str:
    (tmp_path / "model.init").write_bytes(contents)
    with pytest.raises(RecordError) as raised:
        load(tmp_path / "model.init")
    said = str(raised.value)
    assert "\n" not in said
    assert said.startswith(f"a recording must be loaded from a file that save() wrote, got {tmp_path}/model.init: ")
    return said


@pytest.mark.parametrize("name", LIES)
def test_file_that_lies_is_refused(name: str, saved: bytes, tmp_path: Path) -> None:
    path, value, said = LIES[name]
    assert re.search(said, _refused(_changed(saved, path, value), tmp_path))


def _with(operation: dict[str, Any], sizes: list[list[int]]) -> bytes:
    """Make a file of one operation on float tensors, each the whole of its storage."""
    refs = [[i, "float32", size] for i, size in enumerate(sizes)]
    nbytes = [4 * torch.Size(size).numel() for size in sizes]
    empty: dict[str, Any] = {name: [] for name in _file._BODY} | {"constants": {}, "allocated": {}}
    head = {"format": 1, "torchinit": "", "torch": ""}
    return _resealed(head | empty | {"storages": nbytes, "refs": refs, "operations": [operation]})


A, B = {"ref": 0}, {"ref": 1}
WRONG_CALLS: dict[str, tuple[dict[str, Any], list[list[int]], str]] = {
    "text": ({"op": "aten.normal_.default", "args": [A, "0"]}, [[2]], "the argument mean of aten.normal_.default must"),
    "bool": ({"op": "aten.normal_.default", "args": [A, True]}, [[2]], "must be float, got bool"),
    "missing": ({"op": "aten.fill_.Scalar", "args": [A]}, [[2]], "must have its argument value, got none"),
    "more": ({"op": "aten.zero_.default", "args": [A, 1]}, [[2]], "only arguments that it takes, got 1 more"),
    "twice": ({"op": "aten.zero_.default", "args": [A], "kwargs": {"self": A}}, [[2]], "got 1 more"),
    "number": ({"op": "aten.zero_.default", "args": [1.0]}, [], "the argument self of aten.zero_.default must be Tensor"),
    "device": ({"op": "aten.rand.default", "args": [[2]], "kwargs": {"device": "cpu"}}, [], "got str"),
    "names": ({"op": "aten.stack.default", "args": [[A, None]]}, [[2]], "must be List"),
    "std": ({"op": "aten.normal_.default", "args": [A, 0.0, -1.0]}, [[2]], "expects std >= 0.0, but found std -1.0"),
    "shapes": ({"op": "aten.add_.Tensor", "args": [A, B]}, [[2], [3]], "must take its arguments, got RuntimeError"),
    "size": ({"op": "aten.full.default", "args": [[1 << 40], 1.0], "fresh": [0]}, [[2]], "must make what it made"),
    "dtype": ({"op": "aten.eq.Tensor", "args": [A, A], "fresh": [1]}, [[2], [2]], "torch.float32 [2], got torch.bool"),
    "results": ({"op": "aten.neg.default", "args": [A], "fresh": [1, 1]}, [[2], [2]], "makes 1 tensors, got 2"),
    "writes": ({"op": "aten.zero_.default", "args": [A], "writes": [0]}, [[2]], "has only op, args, kwargs, fresh"),
    # torch itself reads past the end here.
    "g": ({"op": "aten._weight_norm_interface.default", "args": [A, B, 0]}, [[9, 2], [1, 1]], "one element for each"),
    "g, by name": ({"op": "aten._weight_norm_interface.default", "args": [], "kwargs": {"g": B, "v": A}}, [[9, 2], [1, 1]],
                   "one element for each"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_operator_with_wrong_arguments_is_refused(name: str, tmp_path: Path) -> None:
    operation, sizes, said = WRONG_CALLS[name]
    assert said in _refused(_with(operation, sizes), tmp_path)


TEXTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda saved: b"", "it must be whole JSON text"),
    "cut": (lambda saved: saved[: len(saved) // 2], "it must be whole JSON text"),
    "pickle": (lambda saved: b"\x80\x02}q\x00.", "it must be whole JSON text"),
    "other JSON": (lambda saved: b"[1]", "it must be a JSON object with a format, got none"),
    "edited": (lambda saved: saved.replace(b'"w"', b'"v"', 1), "it must have the checksum that it was saved with"),
    "infinite": (lambda saved: saved.replace(b"2.23606797749979", b"1e999"), "a number must be finite, got 1e999"),
    "NaN": (lambda saved: saved.replace(b"2.23606797749979", b"NaN"), "a number must be finite, got NaN"),
    "long integer": (lambda saved: saved.replace(b'"format":1', b'"format":' + b"1" * 5000), "whole JSON text"),
    "deep": (lambda saved: b'{"format":' + b"[" * 100_000, "it must be whole JSON text"),
    "same name": (lambda saved: saved.replace(b'"given"', b'"refs":[],"given"', 1), "must have each name once"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_was_not_saved_is_refused(name: str, saved: bytes, tmp_path: Path) -> None:
    change, said = TEXTS[name]
    assert said in _refused(change(saved), tmp_path)


def test_blanks_and_line_ends_may_change(saved: bytes) -> None:
    for text in (saved.replace(b"\n", b"\r\n"), json.dumps(json.loads(saved), indent=2).encode()):
        assert _file.serialize(_file.deserialize(text)) == saved


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.init")
    with pytest.raises(RecordError, match=r"must be loaded from a regular file, got .*pipe\.init"):
        load(tmp_path / "pipe.init")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.init")


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a content of JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, each in inner for found in _nodes(each, (*path, key)))]


def _mutated(saved: bytes, nodes: list[tuple[Any, ...]], draw: random.Random) -> bytes:
    """Replace, remove, copy or swap a few values of a file, and make its checksum anew."""
    content = json.loads(saved)
    odd = [
        None,
        True,
        -1,
        0,
        1,
        2,
        7,
        48,
        2**31,
        2**62,
        2**63,
        1.5,
        "",
        "w",
        "seed",
        "aten.add.Tensor",
        [],
        {},
        [1],
        {"ref": 1},
    ]
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        (*above, last), (*others, other) = draw.choice(nodes), draw.choice(nodes)
        parent, source = content, content
        try:
            for step in above:
                parent = parent[step]
            for step in others:
                source = source[step]
            how = draw.randrange(4)
            if how == 0:
                del parent[last]
            elif how == 1:
                parent[last] = json.loads(json.dumps(source[other]))
            elif how == 2 and isinstance(parent[last], (int, float)):
                parent[last] += draw.choice([-1, 1, 4, 1 << 20])
            else:
                parent[last] = json.loads(json.dumps(draw.choice(odd)))
        except (KeyError, IndexError, TypeError):
            # An earlier change removed the place.
            continue
    return _resealed(content)


def _runs(contents: bytes) -> bool:
    """Load a file and run it if it is small; return whether it was loaded."""
    try:
        program = _file.deserialize(contents)
    except RecordError:
        return False
    if sum(program.nbytes.values()) < 1 << 20:

        class Target(nn.Module):
            pass

        model = Target()
        for entry in program.entries:
            owner, _, own = entry.name.rpartition(".")
            if not owner and own.isidentifier() and not hasattr(model, own):
                model.register_buffer(own, torch.empty(entry.ref.size, dtype=entry.ref.dtype))
        # An operator refuses wrong values, such as an index, by itself.
        with contextlib.suppress(RecordError, RuntimeError, ValueError, IndexError, TypeError):
            Recording(program).materialize_(model, seed=0, strict=False)
    return True


@pytest.mark.parametrize(("name", "times"), [("tables", 300), ("weight norm", 700)])
def test_changed_parts_are_refused_or_harmless(name: str, times: int) -> None:
    saved, draw = _file.serialize(torchinit.record(MODELS[name]).program), random.Random(0)
    nodes = _nodes(json.loads(saved))[1:]
    loaded = sum(_runs(_mutated(saved, nodes, draw)) for _ in range(times))
    # Names, numbers and lines may be others; most of the rest hangs together.
    assert 0.05 * times < loaded < 0.8 * times


def test_changed_bytes_are_refused(saved: bytes) -> None:
    draw = random.Random(0)
    for _ in range(1000):
        at, length = draw.randrange(len(saved)), draw.choice([1, 1, 2, 30])
        new = bytes(draw.randrange(256) for _ in range(draw.choice([0, length])))
        contents = saved[:at] + new + saved[at + length :]
        if _parsed(contents) != json.loads(saved):
            assert not _runs(contents)


def _parsed(contents: bytes) -> Any:
    try:
        return json.loads(contents)
    except (ValueError, RecursionError):
        return None
