"""Write a TorchScript archive again with another module, and everything else in it as it was."""

import os
import zipfile
from dataclasses import dataclass

import torch

from torchinit._core.compat import save_mobile
from torchinit._core.table import printable
from torchinit._core.torchscript import silenced


@dataclass(frozen=True)
class ArchiveExtras:
    """The extra files of an archive, and whether it is for the mobile interpreter."""

    files: dict[str, bytes]
    mobile: bool


def read_extras(path: str | os.PathLike[str]) -> ArchiveExtras:
    """Read what ``torch.jit.load`` leaves out."""
    files, mobile = {}, False
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            _, _, record = name.partition("/")
            # torch writes this record itself.
            if record.startswith("extra/") and record != "extra/producer_info.json":
                files[record.removeprefix("extra/")] = archive.read(name)
            mobile = mobile or record == "bytecode.pkl"
    return ArchiveExtras(files, mobile)


def output_extras(file: str | os.PathLike[str], out: str, mobile: bool | None = None) -> ArchiveExtras:
    """Read the extras for a file to write; ``mobile`` chooses the format, None keeps the file's.

    Raises:
        RuntimeError: if the name of the file to write says another format
    """
    extras = read_extras(file)
    if mobile is not None:
        extras = ArchiveExtras(extras.files, mobile)
    if out.lower().endswith(".ptl") and not extras.mobile:
        raise RuntimeError(f"a .ptl file is for the mobile interpreter (attach --mobile), got OUT {printable(out)}")
    return extras


def serialize(module: torch.jit.ScriptModule, extras: ArchiveExtras) -> bytes:
    """Return the contents of an archive with a module and extras."""
    with silenced():
        if extras.mobile:
            return save_mobile(module, extras.files)
        contents: bytes = module.save_to_buffer(_extra_files=extras.files)
    return contents
