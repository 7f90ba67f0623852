"""Build a module of a file's tensors: with the layers of a model that is named, or those that names and shapes tell."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchinit._core.wrappers import WRAPPER_NAMES, plain_names
from torchinit.cli._readers import listed
from torchinit.diagnostics._parameters import TABLE, is_parameter, module_of
from torchinit.diagnostics._quantized import SCALE, is_scaled
from torchinit.recipes._layers import storage_key
from torchinit.recording import Recording

# The part of names that is a wrapper's only if it comes first.
_FIRST = "module"

_NORM = re.compile(r"norm|(^|_)(ln|bn|gn)(_|\d|$)", re.IGNORECASE)

# Types for layers that are guessed from names and shapes. They have no package, and names with a question mark, which no
# rule's glob means.
_PACKAGE = {"__module__": ""}
_NORMALIZATION = type("norm?", (nn.Module,), _PACKAGE)
# With a bias, a norm starts from 1 and 0; without one, the norm may multiply by 1 + weight.
_BIASED_NORMALIZATION = type("norm?", (nn.LayerNorm,), _PACKAGE)
_TABLE = type("Embedding?", (nn.Module,), _PACKAGE)
_CONVOLUTION = type("convolution?", (nn.Module,), _PACKAGE)
_OTHER = type("layer?", (nn.Module,), _PACKAGE)


class LayersError(RuntimeError):
    """A model that does not have the tensors of a file; the message is one line, without what named the model."""


@dataclass(frozen=True)
class FileModule:
    """A module whose parameters and buffers are the tensors of a file.

    Args:
        module: the module; what the file does not have is on the meta device, and so is what stays as it is
        typed: whether the types of the layers are known
        copies: tensors that a file stores apart although the model ties them, each with the one that is initialized
    """

    module: nn.Module
    typed: bool = False
    copies: list[tuple[Tensor, Tensor]] = field(default_factory=list)


def _is_inexact(tensor: Tensor) -> bool:
    return (tensor.is_floating_point() or tensor.is_complex()) and not tensor.is_quantized


def _plain(names: Collection[str]) -> dict[str, str]:
    """Map names to those without the parts that wrappers such as ``DistributedDataParallel`` add."""
    parts = {name: [part for part in name.split(".") if part not in WRAPPER_NAMES] for name in names}
    while parts and all(len(each) > 1 and each[0] == _FIRST for each in parts.values()):
        parts = {name: each[1:] for name, each in parts.items()}
    plain = {name: ".".join(each) for name, each in parts.items()}
    return plain if len({*plain.values()} - {""}) == len(names) else {name: name for name in names}


def kept_weights(tensors: Mapping[str, Tensor]) -> list[str]:
    """List the weights that no initializer draws: quantized ones, integers, what is scaled, and the scales beside them."""
    kept = [
        name
        for name, x in tensors.items()
        if is_scaled(name, x, tensors) or (not _is_inexact(x) and is_parameter(name.rpartition(".")[2], x))
    ]
    return [*kept, *(name for name in tensors if SCALE.search(name) and name not in kept)] if kept else []


def _told_kind(path: str, module: nn.Module) -> type[nn.Module] | None:
    """Return the type that stands for a layer of these names and shapes."""
    own, leaf = {name: p.dim() for name, p in module._parameters.items() if p is not None}, path.rpartition(".")[2]
    if module._modules or not own.keys() <= {"weight", "bias"}:
        return _OTHER if own else None
    if "running_mean" in module._buffers:
        return nn.BatchNorm2d
    if own == {"weight": 1, "bias": 1}:
        return _BIASED_NORMALIZATION
    if own == {"weight": 1} and _NORM.search(leaf):
        return _NORMALIZATION
    if own == {"weight": 2} and TABLE.search(leaf):
        return _TABLE
    return _CONVOLUTION if own.get("weight", 0) > 2 else _OTHER if own else None


def by_names(tensors: Mapping[str, Tensor]) -> FileModule:
    """Build a module of plain layers by the names and shapes of tensors."""
    root = module_of(tensors)
    for path, module in root.named_modules():
        kind = _told_kind(path, module)
        if kind is not None:
            module.__class__ = kind
    return FileModule(root)


def _kind_of(name: str) -> type[nn.Module]:
    """Return a type by its full name: that of torch.nn, or one without code."""
    package, _, own = name.rpartition(".")
    known = getattr(nn, own, None)
    if isinstance(known, type) and issubclass(known, nn.Module) and known.__module__ == package:
        return known
    return type(own, (nn.Module,), {"__module__": package})


def of_recording(recording: Recording) -> nn.Module:
    """Build a module on the meta device with the names, shapes and types of layers of a recording."""
    root, tensors = nn.Module(), dict[str, Any]()
    for entry in recording.program.entries:
        *path, leaf = entry.name.split(".")
        owner = root
        for part in path:
            owner = owner._modules.setdefault(part, nn.Module())  # type: ignore[assignment]
        if type(owner) is nn.Module:
            owner.__class__ = _kind_of(entry.module)
            if "ConvTranspose" in entry.module:
                owner.transposed = True  # type: ignore[assignment]
        tensor = torch.empty(entry.ref.size, dtype=entry.ref.dtype, device="meta")
        if entry.kind == "parameter":
            fresh = nn.Parameter(tensor, entry.requires_grad)
            owner._parameters[leaf] = tensors.setdefault(entry.tied or entry.name, fresh)
        else:
            owner._buffers[leaf] = tensors.setdefault(entry.tied or entry.name, tensor)
            if not entry.persistent:
                owner._non_persistent_buffers_set.add(leaf)
    return root


def unsaid(recording: Recording) -> list[str]:
    """List the types of layers whose settings matter to a recipe, and are not in a recording."""
    kinds = {entry.module.rpartition(".")[2] for entry in recording.program.entries}
    return sorted(kind for kind in kinds if re.match(r"Conv(Transpose)?\d|Embedding|PReLU", kind))


# Where a module holds a tensor: the dict of its parameters or buffers, and the name there.
_Place = tuple[dict[str, Tensor | None], str]


def _places(module: nn.Module) -> dict[str, _Place]:
    plain = plain_names(module)
    found: dict[str, _Place] = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        for held in (owner._parameters, owner._buffers):
            for leaf, tensor in held.items():
                if tensor is not None:
                    found[plain[f"{path}.{leaf}" if path else leaf]] = held, leaf
    return found


def _check(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], groups: Iterable[list[str]], kept: Collection[str]
) -> None:
    """Refuse other names and other shapes; integers may be on one side alone, such as masks of older releases."""
    absent = [group[0] for group in groups if not any(name in tensors or name in kept for name in group)]
    lacking = [name for name in absent if isinstance(own[name], nn.Parameter)]
    extra = [name for name, tensor in tensors.items() if name not in own and _is_inexact(tensor)]
    said = [f"{what} {listed(names)}" for what, names in (("lacks", extra), ("has also", lacking)) if names]
    if said:
        raise LayersError(f"which {' and '.join(said)}")
    for name, tensor in own.items():
        shape = tensors[name].shape if name in tensors else tensor.shape
        if shape != tensor.shape:
            raise LayersError(f"which has {name} of shape {list(tensor.shape)}, not {list(shape)}")


def with_layers(tensors: Mapping[str, Tensor], kept: Collection[str], module: nn.Module) -> FileModule:
    """Replace the tensors of a module by those of a file.

    Args:
        tensors: tensors by name; of tied ones, one name is enough
        kept: names of tensors that stay as they are
        module: the module with the layers; it is changed

    Raises:
        LayersError: if the module has other tensors
    """
    places, groups = _places(module), dict[int, list[str]]()
    own = {name: tensor for name, (held, leaf) in places.items() if (tensor := held[leaf]) is not None}
    for name, tensor in own.items():
        groups.setdefault(id(tensor), []).append(name)
    _check({name: x for name, x in tensors.items() if name not in kept}, own, groups.values(), kept)
    copies = []
    for group in groups.values():
        stored = [tensors[name] for name in group if name in tensors]
        if not stored or any(name in kept for name in group):
            continue
        fresh = stored[0]
        if isinstance(own[group[0]], nn.Parameter):
            fresh = nn.Parameter(fresh.detach(), own[group[0]].requires_grad)
        for name in group:
            held, leaf = places[name]
            held[leaf] = fresh
        copies += [(other, stored[0]) for other in stored[1:] if storage_key(other) != storage_key(stored[0])]
    return FileModule(module, True, copies)


def chosen(tensors: Mapping[str, Tensor], kept: Collection[str], layers: Callable[[], nn.Module] | None) -> FileModule:
    """Build the module of a file's tensors, with the layers of a model if there is one.

    Args:
        tensors: the tensors by their names in the file
        kept: names of those that stay as they are
        layers: returns the model, which is changed

    Raises:
        LayersError: if the model has other tensors
    """
    plain = _plain(tensors)
    if layers is None:
        return by_names({plain[name]: tensor for name, tensor in tensors.items() if name not in kept})
    left = {plain[name] for name in kept if name in plain}
    return with_layers({plain[name]: tensor for name, tensor in tensors.items()}, left, layers())
