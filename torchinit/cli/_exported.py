"""Read the weights of torch.export and AOTInductor archives, without their programs."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from torchinit.cli._readers import ModelFileError, PathLike, load_pickle, map_file, read_cause, refusal, sliced
from torchinit.cli._zip import values_begin

# Numbers of dtypes in the archive: torch/_export/serde/schema.py. Releases differ in which dtypes they have.
_DTYPES = {
    **{1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64"},
    **{9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16"},
    **{29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz"},
    **{33: "float8_e8m0fnu", 34: "uint32", 35: "uint64"},
}

_STRIDED = 7

# The records with a model's weights: the description of torch 2.9 and later, the pickles of torch 2.8 and of
# torch 2.1 to 2.7, and AOTInductor's with package_constants_on_disk_format="pickle_weights".
_EXPORTED = re.compile(r"data/weights/(.+)_weights_config\.json")
_PICKLED = re.compile(r"data/weights/(.+)\.pt")
_OLD = re.compile(r"serialized_state_dict\.(?:pt|json)")
_INDUCTOR = re.compile(r"data/aotinductor/([^/]+)/weights_config\.json")


def _integers(sizes: list[dict[str, Any]]) -> list[int]:
    return [size["as_int"] for size in sizes]


class _Archive:
    """The records of an archive below its top folder."""

    def __init__(self, path: PathLike, archive: zipfile.ZipFile, shared: bool) -> None:
        self.path, self._archive, self._storages = path, archive, dict[str, Tensor]()
        self._memory = map_file(path, shared)
        names = archive.namelist()
        top = next((name[: -len("archive_format")] for name in names if name.endswith("/archive_format")), "")
        self.records = [name.removeprefix(top) for name in names]
        self._top = top

    def read(self, record: str) -> bytes:
        return self._archive.read(self._top + record)

    def pickle(self, record: str) -> Any:
        return load_pickle(self.path, io.BytesIO(self.read(record)))

    def _bytes(self, record: str) -> Tensor:
        """Return the bytes of a record; they stay in the file until they are used, if they are not compressed."""
        about, empty = self._archive.getinfo(self._top + record), torch.empty(0, dtype=torch.uint8, device="cpu")
        if about.compress_type != zipfile.ZIP_STORED:
            return torch.frombuffer(bytearray(self.read(record)), dtype=torch.uint8) if about.file_size else empty
        with open(self.path, "rb") as file:
            begin = values_begin(file, about)
        return empty.set_(sliced(self._memory, begin, begin + about.file_size))

    def _storage(self, record: str, dtype: torch.dtype | None) -> Tensor:
        """Read a record once, so that tied weights stay tied: a pickled tensor, or raw bytes of a dtype."""
        if record not in self._storages:
            self._storages[record] = self.pickle(record) if dtype is None else self._bytes(record)
        storage = self._storages[record]
        return storage if dtype is None or not storage.numel() else storage.view(dtype)

    def exported(self, record: str) -> dict[str, Tensor]:
        """Read the weights that torch.export.save describes in JSON."""
        weights = {}
        for name, about in json.loads(self.read(record))["config"].items():
            payload, meta = f"data/weights/{about['path_name']}", about["tensor_meta"]
            if about["use_pickle"]:
                weights[name] = self.pickle(payload)
                continue
            if meta["layout"] != _STRIDED:
                raise ValueError(f"a sparse layout at {name!r}")
            dtype = getattr(torch, _DTYPES[meta["dtype"]])
            sizes, strides = _integers(meta["sizes"]), _integers(meta["strides"])
            offset = meta["storage_offset"]["as_int"]
            storage = self._storage(payload, dtype)
            # The export leaves out the bytes of fake tensors.
            weights[name] = (
                storage.as_strided(sizes, strides, offset)
                if storage.numel()
                else torch.empty(sizes, dtype=dtype, device="cpu" if 0 in sizes else "meta")
            )
        return weights

    def inductor(self, record: str) -> dict[str, Tensor]:
        """Read the weights that AOTInductor pickles beside its library."""
        weights = {}
        for name, (payload, sizes, strides, offset) in json.loads(self.read(record)).items():
            weights[name] = self._storage(f"data/weights/{payload}", None).as_strided(sizes, strides, offset)
        return weights


def _models(archive: _Archive) -> dict[str, Mapping[str, Any]]:
    readers: list[tuple[re.Pattern[str], Callable[[str], Any]]] = [
        (_EXPORTED, archive.exported),
        (_PICKLED, archive.pickle),
        (_OLD, archive.pickle),
        (_INDUCTOR, archive.inductor),
    ]
    models: dict[str, Mapping[str, Any]] = {}
    for pattern, read in readers:
        for record in archive.records:
            match = pattern.fullmatch(record)
            if match:
                name = match[1] if pattern.groups else "model"
                models[name] = models.get(name) or read(record)
    return models


def read_exported(path: PathLike, shared: bool = False) -> dict[str, Mapping[str, Any]]:
    """Read the state dict of each model in an archive of torch.export.save or AOTInductor; no program is loaded.

    Args:
        path: the archive
        shared: whether what is written to a tensor goes to the file, as it does where :func:`is_rewritable`

    Raises:
        RuntimeError: if the weights are in a compiled library, of custom classes, or damaged; the message is one line
    """
    with zipfile.ZipFile(path) as zipped:
        archive = _Archive(path, zipped, shared)
        try:
            models = _models(archive)
        except ModelFileError:
            raise
        except Exception as error:
            # NB: a record that was changed raises many types of exceptions.
            raise refusal(path, f"an archive whose weights are damaged: {read_cause(error)}") from None
    if not models:
        inductor = any(record.startswith("data/aotinductor/") for record in archive.records)
        what = "an AOTInductor package, whose weights are in its compiled library; give the file of torch.export.save"
        raise refusal(path, what if inductor else "a torch.export archive without weights")
    return models


def is_rewritable(path: PathLike) -> bool:
    """True for an archive of torch.export.save of torch 2.9 and later, whose weights are raw values, not pickles."""
    with zipfile.ZipFile(path) as zipped:
        archive = _Archive(path, zipped, False)
        configs = [record for record in archive.records if _EXPORTED.fullmatch(record)]
        weights = [about for record in configs for about in json.loads(archive.read(record))["config"].values()]
        stored = all(record.compress_type == zipfile.ZIP_STORED for record in zipped.infolist())
    return bool(configs) and stored and not any(about["use_pickle"] for about in weights)
