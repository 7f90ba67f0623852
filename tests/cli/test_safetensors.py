"""Are safetensors read as their package reads them, and refused where it refuses them?"""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from torchinit.cli._safetensors import load_safetensors

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
]


def test_every_dtype_and_shape_is_read_as_the_package_reads_it(tmp_path: Path) -> None:
    tensors = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(2.5), "none": torch.empty(0, 3), "odd": torch.ones(3, dtype=torch.uint8)}
    safetensors.torch.save_file(tensors, tmp_path / "all.safetensors", metadata={"a": "b"})
    found = load_safetensors(tmp_path / "all.safetensors")
    wanted = safetensors.torch.load_file(tmp_path / "all.safetensors")
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert found[name].view(torch.uint8).tolist() == tensor.view(torch.uint8).tolist() if tensor.dim() else True


def test_four_bits_are_read_as_pairs(tmp_path: Path) -> None:
    if not hasattr(torch, "float4_e2m1fn_x2"):
        pytest.skip("this torch has no values of four bits")
    _write(tmp_path / "four", {"a": {"dtype": "F4", "shape": [2, 4], "data_offsets": [0, 4]}}, bytes(4))
    assert load_safetensors(tmp_path / "four")["a"].shape == (2, 2)


@pytest.mark.parametrize("shared", [True, False])
def test_writes_reach_the_file_only_if_it_is_shared(shared: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(3, dtype=torch.uint8), "b": torch.zeros(2, 3)}, path)
    load_safetensors(path, shared)["b"].fill_(2.0)
    after = safetensors.torch.load_file(path)
    assert torch.equal(after["b"], torch.full((2, 3), 2.0 * shared))
    assert not after["a"].any()


def _write(path: Path, header: Any, values: bytes = b"") -> None:
    words = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(words).to_bytes(8, "little") + words + values)


def _entry(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


WRONG = {
    "header longer than the file": (b"{}" + b" " * 9, b"", 3, "its header of"),
    "not JSON": (b"{x", b"", 0, "Expecting property name"),
    "not UTF-8": (b'{"\xff": 1}', b"", 0, "utf-8"),
    "no object": (b"[1]", b"", 0, "its header is no JSON object"),
    "a name twice": (b'{"a": 1, "a": 2}', b"", 0, "a name stands twice"),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8), 0, "no dtype, shape and data_offsets for a"),
    "no offsets": (_entry(data_offsets=[0]), bytes(8), 0, "no dtype, shape and data_offsets for a"),
    "a number": ({"a": 3}, b"", 0, "no dtype, shape and data_offsets for a"),
    "other dtype": (_entry(dtype="F31"), bytes(8), 0, "dtype F31, which this torch does not have"),
    "dtype of a list": (_entry(dtype=["F32"]), bytes(8), 0, "which this torch does not have"),
    "negative size": (_entry(shape=[-2]), bytes(8), 0, "a size that is none for a"),
    "size of true": (_entry(shape=[True], data_offsets=[0, 4]), bytes(4), 0, "a size that is none for a"),
    "other bytes": (_entry(shape=[3]), bytes(8), 0, "8 bytes for a, of shape [3]"),
    "gap": (_entry(data_offsets=[8, 16]), bytes(16), 0, "a gap or an overlap before a"),
    "too many values": (_entry(), bytes(9), 0, "9 bytes of values, where its header has 8"),
    "too few values": (_entry(), bytes(7), 0, "7 bytes of values, where its header has 8"),
}


@pytest.mark.parametrize("how", WRONG)
def test_damaged_file_is_refused_in_one_line(how: str, tmp_path: Path) -> None:
    header, values, cut, said = WRONG[how]
    path = tmp_path / "wrong.safetensors"
    _write(path, header, values)
    if cut:
        path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(RuntimeError) as caught:
        load_safetensors(path)
    message = str(caught.value)
    assert f"{path}, a safetensors file that is cut off or damaged: " in message
    assert said in message
    assert message.isprintable()
    with pytest.raises(Exception, match=r".*"), safetensors.safe_open(path, "pt") as file:
        # The package refuses the file too.
        {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
