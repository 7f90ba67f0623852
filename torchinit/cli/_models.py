"""Record the models that a command line names: those of timm and transformers, of any module, or of a file."""

import difflib
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from typing import Any

from torch import nn

from torchinit._core.table import first_line, printable
from torchinit.cli._arguments import MODEL, parse_value
from torchinit.cli._recordings import SUFFIX, is_recording
from torchinit.recording import RecordError, Recording, load, record

# Nothing is downloaded, and no note of a library mixes with the output.
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}


class _NoModelError(RuntimeError):
    """The command line names no model; the message is a whole sentence."""


@contextmanager
def _offline() -> Iterator[None]:
    """Keep libraries from downloading in a block."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _importable(folder: str) -> Iterator[None]:
    """Find modules in a folder in a block."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(folder)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise _NoModelError(f"recording a model of {name} needs the package {name}: pip install {name}") from None


def _close(word: str, known: Sequence[str]) -> str:
    # There are hundreds of names.
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else "see its documentation"


def _of_timm(name: str, values: Mapping[str, Any]) -> Callable[[], nn.Module]:
    timm = _package("timm")
    # NB: create_model also takes names of repositories, and downloads from them.
    if not timm.is_model(name):
        raise _NoModelError(
            f"timm: takes a model of timm.list_models(), got {name!r}; {_close(name, timm.list_models())}"
        )
    if values.get("pretrained"):
        raise _NoModelError(f"a recording downloads nothing, got pretrained={values['pretrained']}; leave it out")
    return lambda: timm.create_model(name, **values)


def _of_transformers(kind: str, values: Mapping[str, Any]) -> Callable[[], nn.Module]:
    transformers = _package("transformers")
    kinds = list(transformers.CONFIG_MAPPING.keys())
    if kind not in kinds:
        raise _NoModelError(f"hf: takes a model type of transformers, got {kind!r}; {_close(kind, kinds)}")
    default = transformers.AutoConfig.for_model(kind)
    for name in values:
        # A configuration takes any name, and ignores one that it does not know.
        if not hasattr(default, name):
            known = [*default.to_dict(), *default.attribute_map]
            raise _NoModelError(f"the configuration of {kind} has no {name}; {_close(name, known)}")
    config = transformers.AutoConfig.for_model(kind, **values)
    return lambda: transformers.AutoModel.from_config(config)


def _of_module(module: str, path: str, values: Mapping[str, Any]) -> Callable[[], nn.Module]:
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _NoModelError(
            f"the module of a factory must be installed or in this folder, got {module}: {first_line(str(error))}"
        ) from None
    for part in path.split("."):
        found = getattr(found, part, None)
    if isinstance(found, nn.Module) or not callable(found):
        what = "nothing" if found is None else f"an object of {type(found).__name__}"
        raise _NoModelError(f"a factory must be a function or class that makes a model, got {what} for {module}:{path}")
    return lambda: found(**values)


def _builder(model: str, values: Mapping[str, Any]) -> Callable[[], nn.Module]:
    source, colon, name = model.partition(":")
    if os.path.exists(model):
        raise _NoModelError(
            f"a model must be {MODEL}, got {printable(model)}, a file without code to record; inspect shows its weights"
        )
    if not colon or not source or not name:
        raise _NoModelError(f"a model must be {MODEL}, got {printable(model)}")
    if source == "timm":
        return _of_timm(name, values)
    return _of_transformers(name, values) if source == "hf" else _of_module(source, name, values)


def recording_of(model: str, values: Mapping[str, Any]) -> Recording:
    """Record a model that a command line names, or load its recording.

    Args:
        model: ``"timm:NAME"``, ``"hf:TYPE"``, ``"package.module:factory"``, or the path of a ``.init`` file
        values: arguments of timm's factory, of the configuration of transformers, or of the factory

    Raises:
        RuntimeError: if there is no such model, or its code fails; the message is one line
    """
    if is_recording(model):
        if values:
            raise RuntimeError(f"a {SUFFIX} file takes no arguments, got {', '.join(values)} for {printable(model)}")
        return load(model)
    with ExitStack() as stack:
        stack.enter_context(_offline())
        # The output of a command is its result alone.
        stack.enter_context(redirect_stdout(sys.stderr))
        if not model.startswith(("timm:", "hf:")):
            # A script's own folder comes first too.
            stack.enter_context(_importable(os.getcwd()))
        try:
            return record(_builder(model, values))
        except (RecordError, _NoModelError):
            raise
        except (Exception, SystemExit) as error:
            raise RuntimeError(
                f"the code of {printable(model)} must make a model, got {type(error).__name__}: {first_line(str(error))}"
            ) from error


def recording_of_words(words: str) -> Recording:
    """Record the model of words as on a command line, ``"hf:llama hidden_size=256"``, or load its file."""
    if is_recording(words):
        return load(words)
    try:
        model, *values = shlex.split(words)
        return recording_of(model, dict(map(parse_value, values)))
    except ValueError as error:
        raise RuntimeError(f"a model must be {MODEL}, got {printable(words)}: {first_line(str(error))}") from None
