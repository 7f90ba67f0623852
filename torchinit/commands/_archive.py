"""What a TorchScript archive holds beside the module, carried over from the old file to the new."""

import os
import zipfile
from dataclasses import dataclass

import torch

from torchinit._core.torchscript import silenced


@dataclass(frozen=True)
class Beside:
    """The extra files of an archive, and whether it is for the mobile interpreter."""

    extras: dict[str, bytes]
    mobile: bool


def beside(path: str | os.PathLike[str]) -> Beside:
    """Read what ``torch.jit.load`` leaves behind."""
    extras, mobile = {}, False
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            _, _, record = name.partition("/")
            # The exporter's own mark, which is written anew.
            if record.startswith("extra/") and record != "extra/producer_info.json":
                extras[record.removeprefix("extra/")] = archive.read(name)
            mobile = mobile or record == "bytecode.pkl"
    return Beside(extras, mobile)


def contents(module: torch.jit.ScriptModule, kept: Beside) -> bytes:
    """Make the contents of a file with the module and all that was beside the old one."""
    with silenced():
        save = module._save_to_buffer_for_lite_interpreter if kept.mobile else module.save_to_buffer
        made: bytes = save(_extra_files=kept.extras)
    return made
