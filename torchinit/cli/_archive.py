"""Rewrite a TorchScript archive: change its module, and keep everything else in it."""

import argparse
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import torch

from torchinit._core.compat import save_mobile
from torchinit._core.torchscript import silenced
from torchinit.cli._arguments import recipe_of
from torchinit.cli._files import load_torchscript
from torchinit.cli._output import Output
from torchinit.cli._outputs import check_output, save
from torchinit.recipes import Recipe
from torchinit.recording import Recording


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


def _serialize(module: torch.jit.ScriptModule, extras: ArchiveExtras) -> bytes:
    with silenced():
        if extras.mobile:
            return save_mobile(module, extras.files)
        contents: bytes = module.save_to_buffer(_extra_files=extras.files)
    return contents


def rewrite(
    arguments: argparse.Namespace,
    output: Output,
    verb: str,
    change: Callable[[Recipe | Recording, torch.jit.ScriptModule], torch.jit.ScriptModule],
    mobile: bool | None = None,
) -> None:
    """Read a module, change it by a recipe, and write it; ``mobile`` chooses the format, None keeps the file's."""
    check_output(arguments.output, arguments.force)
    recipe = recipe_of(arguments)
    with output.progress(3) as progress:
        progress.step("read", arguments.file)
        module, extras = load_torchscript(arguments.file), read_extras(arguments.file)
        if mobile is not None:
            extras = ArchiveExtras(extras.files, mobile)
        if arguments.output.lower().endswith(".ptl") and not extras.mobile:
            raise RuntimeError(
                f"a .ptl file is for the mobile interpreter (attach --mobile), got OUT {arguments.output}"
            )
        progress.step(verb, arguments.file)
        module = change(recipe, module)
        progress.step("write", arguments.output)
        save(arguments.output, _serialize(module, extras), arguments.force)
    output.written(arguments.output)
