"""Find the state dicts in a checkpoint, and choose the model's."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from torchinit._core.table import printable
from torchinit.cli._readers import PathLike, listed, refusal
from torchinit.diagnostics._packed import tensors_of
from torchinit.diagnostics._parameters import fault_of

# Keys under which a checkpoint holds the state dict of its model.
_KNOWN = ("state_dict", "model", "model_state_dict")

# Parts of a path to what belongs to training.
_TRAINING = re.compile(r"(^|[._])(opt|optim\w*|(lr_?)?sched\w*|\w*scaler|rng\w*)([._]|$)", re.IGNORECASE)

# The path of a state dict that is the whole file.
_WHOLE = "."

# Deeper dicts are not searched.
_MAX_DEPTH = 32


def _tensors(value: Any) -> dict[Any, Tensor]:
    """The tensors of a mapping, by key."""
    return tensors_of(value) if isinstance(value, Mapping) else {}


def _is_state(name: Any) -> bool:
    """True for the name of a layer's extra state, which may be anything."""
    return isinstance(name, str) and name.endswith("_extra_state")


def _named_as_layers(tensors: Mapping[Any, Tensor]) -> bool:
    """True if the names are those of layers' parameters."""
    return any(isinstance(name, str) and ("." in name or name in ("weight", "bias")) for name in tensors)


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the containers in a container, by key or index."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, each in items:
        if isinstance(each, (Mapping, list, tuple)) and not _is_state(key):
            yield str(key), each


def _holds_state_dict(value: Any) -> bool:
    """True for a mapping of names to tensors; beside other entries, their names or shapes must be those of weights."""
    tensors = _tensors(value)
    if not tensors or not any(isinstance(name, str) for name in tensors):
        return False
    if all(name in tensors or _is_state(name) for name in value) or _named_as_layers(tensors):
        return True
    nested = any(isinstance(each, Mapping) for each in value.values())
    return not nested and any(tensor.dim() >= 2 for tensor in tensors.values())


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, Mapping) and {"state", "param_groups"} <= value.keys()


def state_dicts(loaded: Any) -> dict[str, Mapping[Any, Any]]:
    """Find the mappings of names to tensors in nested dicts and lists, by the path of their keys; "." is the whole."""
    found, seen = dict[str, Mapping[Any, Any]](), set[int]()
    stack: list[tuple[tuple[str, ...], Any]] = [((), loaded)]
    while stack:
        path, value = stack.pop()
        if _holds_state_dict(value):
            found.setdefault(".".join(path) or _WHOLE, value)
        # A container of a pickle may hold itself, or one other many times.
        if id(value) in seen or len(path) == _MAX_DEPTH or _is_optimizer(value):
            continue
        seen.add(id(value))
        if isinstance(value, (Mapping, list, tuple)):
            stack.extend(reversed([((*path, key), child) for key, child in _children(value)]))
    return found


def _models(found: Mapping[str, Mapping[Any, Any]]) -> list[str]:
    """Choose the paths of models; more than one only if nothing tells which is meant."""
    models = [path for path in found if not _TRAINING.search(path)] or list(found)
    named = [path for path in models if _named_as_layers(_tensors(found[path]))]
    # Scores and statistics are vectors or scalars.
    weights = [path for path in models if path in named or any(t.dim() >= 2 for t in _tensors(found[path]).values())]
    models = weights or models
    known = [path for path in models if path.rpartition(".")[2] in _KNOWN]
    if len(known) == 1 and set(named) <= set(known):
        return known
    return models


def _without_state_dict(path: PathLike, loaded: Any) -> Mapping[str, Any]:
    """Accept an empty state dict, and refuse anything else by its first fault."""
    for key in _KNOWN:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        raise refusal(path, f"which holds {type(loaded).__name__}, not a dict of names and tensors")
    if any(isinstance(value, dict) for value in loaded.values()):
        raise refusal(path, f"a dict of {listed([str(key) for key in loaded])} without a state dict in it")
    if loaded:
        raise refusal(path, f"a state dict with {fault_of(loaded)}")
    return loaded


def choose(path: PathLike, loaded: Any, key: str | None) -> Mapping[Any, Any]:
    """Choose the state dict of a model in what a file holds.

    Args:
        path: the file, for messages
        loaded: nested dicts and lists with state dicts
        key: the path of the state dict, or of its only one; None to find the model's

    Raises:
        RuntimeError: if there is none, or several and the key does not name one; the message lists them
    """
    found, file = state_dicts(loaded), printable(os.fspath(path))
    if key is None:
        keys = _models(found)
    else:
        keys = [key] if key in found else [each for each in found if each.startswith(f"{key}.")]
    if len(keys) == 1:
        return found[keys[0]]
    if not found:
        return _without_state_dict(path, loaded)
    if list(found) == [_WHOLE]:
        raise RuntimeError(f"--key chooses among the state dicts of a checkpoint, got {file}, which is one state dict")
    choices = listed(keys or list(found))
    raise RuntimeError(
        f"--key must name one of the state dicts of {file}: {choices}; got {'none' if key is None else printable(key)}"
    )
