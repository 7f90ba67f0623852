"""Write the files of a model again with other weights: each in its own format, and everything else in it as it was."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from torch import Tensor

from torchinit._core.output_file import check_folder, staged
from torchinit._core.table import printable
from torchinit._core.writes import no_grad_copy_
from torchinit.cli._copies import FileCopy, Pages, check_rewritable, copy_file, open_copy
from torchinit.cli._files import EXPORTED, JSON, SAFETENSORS, SAVED, SCRIPT, kind_of_shard
from torchinit.cli._layer_types import chosen
from torchinit.cli._outputs import check_output
from torchinit.cli._progress import Progress
from torchinit.cli._readers import PathLike
from torchinit.cli._shards import weight_map
from torchinit.cli._suffixes import MODELS, choices, has_suffix
from torchinit.cli._weights import Opened

# The suffixes of files by what they hold.
_SUFFIXES = {
    SCRIPT: MODELS,
    SAVED: (".pt", ".pth", ".bin", ".ckpt"),
    SAFETENSORS: (".safetensors",),
    EXPORTED: (".pt2",),
}
SUFFIXES = tuple(dict.fromkeys(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes))

# Initializes a module; ``done`` is called after each tensor.
Fill = Callable[..., object]


def may_be_directory(file: PathLike) -> bool:
    """True if the model may be written to a directory: it is read from one, or from the index of shards."""
    return os.path.isdir(file) or os.fspath(file).lower().endswith(".json")


def _targets(opened: Opened, out: PathLike) -> dict[Path, Path]:
    path = Path(opened.path)
    if opened.kind == JSON:
        if Path(out).suffix.lower() in (*SUFFIXES, ".json") or (os.path.exists(out) and not os.path.isdir(out)):
            raise RuntimeError(f"shards are written to a directory, got OUT {printable(os.fspath(out))}")
        names = [path.name, *dict.fromkeys(weight_map(path).values())]
        return {path.parent / name: Path(out, name) for name in names}
    if os.path.isdir(out) or not has_suffix(out, SUFFIXES):
        return {path: Path(out, path.name)}
    suffixes = _SUFFIXES[opened.kind]
    if not has_suffix(out, suffixes):
        words = f"{opened.kind} is written to a name in {choices(suffixes)}"
        raise RuntimeError(f"{words}, got OUT {printable(os.fspath(out))}")
    return {path: Path(out)}


@contextmanager
def _folders(targets: dict[Path, Path], out: PathLike) -> Iterator[None]:
    """Make the folders of the files to write; remove them if the block raises."""
    made = list[Path]()
    try:
        for folder in dict.fromkeys(target.parent for target in targets.values()):
            inside = [folder, *folder.parents]
            for each in reversed(inside[: inside.index(Path(out)) + 1] if Path(out) in inside else []):
                if not each.exists():
                    each.mkdir()
                    made.append(each)
        yield
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise


def _copies(
    opened: Opened, stages: dict[Path, Path], key: str | None, progress: Progress, total: int
) -> dict[Path, FileCopy]:
    """Copy the files of a model, and open the copies of those with tensors."""
    copies = dict[Path, FileCopy]()
    for source, stage in stages.items():
        progress.step("copying", str(source), total)
        if opened.kind == JSON and source == Path(opened.path):
            copy_file(source, stage)
        else:
            kind = kind_of_shard(source) if opened.kind == JSON else opened.kind
            copies[source] = open_copy(source, stage, kind, key)
    return copies


def _tensors(opened: Opened, copies: dict[Path, FileCopy]) -> dict[str, Tensor]:
    """Collect the tensors of the copies, those of an index in its order."""
    path = Path(opened.path)
    if opened.kind == JSON:
        named = weight_map(path).items()
        entries = [(name, copies[path.parent / shard].held.get(name)) for name, shard in named]
    else:
        entries = list(copies[path].held.items())
    return {name: value for name, value in entries if isinstance(value, Tensor)}


def check_targets(opened: Opened, out: PathLike, force: bool) -> dict[Path, Path]:
    """Pair the files of a model with those to write; an index comes first.

    Raises:
        RuntimeError: if the format has another suffix, a file would be overwritten without ``--force``, or the model's
            format cannot be written
        OSError: if there is no folder to write to
    """
    if opened.kind == EXPORTED:
        check_rewritable(opened.path)
    targets = _targets(opened, out)
    for target in targets.values():
        if target == Path(out) or target.parent.is_dir():
            check_output(target, force)
        elif not os.path.isdir(out):
            check_folder(out)
    return targets


def rewrite_tensors(
    opened: Opened, targets: dict[Path, Path], out: PathLike, key: str | None, fill: Fill, progress: Progress
) -> None:
    """Copy the files of a model, and initialize the tensors in the copies; they replace other files at the end.

    Args:
        opened: the model
        targets: the file to write for each that is read, an index first
        out: the file, or the directory of the files
        key: path of a state dict in a checkpoint, or None
        fill: initializes a module, and calls ``done`` with the name of each tensor and itself
        progress: shows what happens
    """
    with _folders(targets, out), ExitStack() as stack:
        stages = {source: stack.enter_context(staged(target)) for source, target in targets.items()}
        module = opened.model.module
        tensors = sum(1 for each in (module.parameters(), module.buffers()) for _ in each)
        total = progress.done + 2 * len(stages) + tensors
        copies = _copies(opened, stages, key, progress, total)
        model = chosen(_tensors(opened, copies), opened.kept, opened.layers)
        pages = Pages(list(stages.values()))

        def done(name: str, tensor: Tensor) -> None:
            progress.step("initializing", name, total)
            pages.written(tensor)

        with warnings.catch_warnings():
            # The plan gave the same warnings.
            warnings.simplefilter("ignore")
            fill(model.module, done=done)
        for other, tensor in model.copies:
            no_grad_copy_(other, tensor)
            pages.written(other)
        for source, each in copies.items():
            progress.step("writing", str(source), total)
            each.finish()
