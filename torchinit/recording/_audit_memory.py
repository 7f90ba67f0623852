"""Finds tensors that nothing fills: as the model is built, and after ``to_empty()``."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchinit._core.compat import FakeTensor
from torchinit.recording._findings import Finding, Group, Subject
from torchinit.recording._program import Entry, Program, Ref
from torchinit.recording._replay import values_of
from torchinit.recording._skeleton import copied

# Elements of the largest storage whose parts are followed one by one, and of the largest buffer that is compared.
_FOLLOWED, _COMPARED = 1 << 24, 1 << 22
# Names of the methods by which models fill their own tensors; `_init_weights` may take the module to fill.
_RESETS = re.compile(r"_?(re_?init|init|initialize|reset)(_\w+)?_(weights?|parameters|params|buffers|stats)")
_RESET_OF_ONE = "_init_weights"


class Filled:
    """The elements of each storage that have values after a program."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._whole = set(program.constants) | set(program.given)
        self._parts: dict[int, tuple[torch.dtype, Tensor]] = {}
        for operation in program.operations:
            if not any(self.missing(ref) for ref in operation.reads):
                self._whole |= {ref.storage for ref in operation.fresh if ref is not None}
                for ref in operation.writes:
                    self._fill(ref)

    def _fill(self, ref: Ref) -> None:
        count = self._program.nbytes[ref.storage] // ref.dtype.itemsize
        dtype, part = self._parts.get(ref.storage, (ref.dtype, None))
        if self._program.covers(ref) or count > _FOLLOWED or dtype != ref.dtype:
            self._whole.add(ref.storage)
        elif ref.storage not in self._whole:
            part = torch.zeros(count, dtype=torch.bool) if part is None else part
            part.as_strided(ref.size, ref.stride, ref.offset).fill_(True)
            self._parts[ref.storage] = ref.dtype, part

    def missing(self, ref: Ref) -> int:
        """Return how many elements of a tensor have no value."""
        if ref.storage in self._whole:
            return 0
        dtype, part = self._parts.get(ref.storage, (None, None))
        if part is None:
            return ref.numel
        return 0 if dtype != ref.dtype else int((~part.as_strided(ref.size, ref.stride, ref.offset)).sum())


def _unfilled(program: Program) -> dict[str, tuple[Entry, int]]:
    """Return the entries that lack values, and how many they lack."""
    filled = Filled(program)
    found = {entry.name: (entry, filled.missing(entry.ref)) for entry in program.entries if entry.tied is None}
    return {name: (entry, missing) for name, (entry, missing) in found.items() if missing}


def unwritten(subject: Subject) -> Iterator[Finding]:
    """Find tensors that hold memory as it came."""
    group = Group("unwritten")
    made = {ref.storage for operation in subject.program.operations for ref in operation.made}
    for name, (entry, missing) in _unfilled(subject.program).items():
        if missing < entry.ref.numel:
            what = f"nothing writes {missing:,} of its {entry.ref.numel:,} values, which are memory as it came"
        elif entry.ref.storage in made:
            what = "it is computed from memory as it came, which nothing had written"
        else:
            what = "nothing writes it, so it holds memory as it came"
        place = subject.program.allocated.get(entry.ref.storage) or subject.places.get(entry.ref.storage, "")
        group.add([name], what, place, "fill it where it is made")
    yield from group.findings()


def lost(
    subject: Subject, skeleton: nn.Module, record: Callable[[Callable[[], nn.Module]], Program]
) -> Iterator[Finding]:
    """Find tensors that ``to_empty()`` loses and that no method of the model restores.

    Args:
        subject: the program
        skeleton: the model with fake tensors
        record: returns the program of a callable that returns a model
    """
    again = record(lambda: _restored(_emptied(skeleton)))
    before, after = _unfilled(subject.program), _unfilled(again)
    group = Group("lost")
    right = "fill it in reset_parameters(), and call that from the constructor"
    for name in (name for name in after if name not in before):
        group.add([name], "to_empty() loses it, and no method of the model restores it", subject.place(name), right)
    for name in _other_values(subject.program, again):
        what = "the model's own reset gives it other values than its constructor"
        group.add([name], what, subject.place(name), right)
    yield from group.findings()


def _emptied(skeleton: nn.Module) -> nn.Module:
    """Copy a model as ``to_empty()`` leaves it: parameters and buffers without values, all else as it is."""
    own = {id(tensor) for tensor in (*skeleton.parameters(), *skeleton.buffers())}

    def emptied(tensor: Tensor) -> Tensor:
        if id(tensor) not in own and not isinstance(tensor, FakeTensor):
            return tensor.detach().clone()
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)

    return copied(skeleton, emptied)


def _restored(model: nn.Module) -> nn.Module:
    """Call every method of a model that fills its tensors, those of its layers first."""
    # Its methods may write to parameters as if no gradient were needed.
    for parameter in model.parameters():
        if not is_lazy(parameter):
            parameter.requires_grad_(False)
    for module in reversed(list(model.modules())):
        for name in filter(_RESETS.fullmatch, dir(type(module))):
            _try(getattr(module, name))
    for module in model.modules():
        if hasattr(module, _RESET_OF_ONE):
            for part in module.modules():
                _try(getattr(module, _RESET_OF_ONE), part)
    return model


def _try(method: Any, *args: Any) -> None:
    """Call a method that takes these arguments; a method that fails restores what it filled until then."""
    try:
        inspect.signature(method).bind(*args)
    except (TypeError, ValueError):
        return
    with suppress(Exception):
        method(*args)


def _other_values(before: Program, after: Program) -> list[str]:
    """Return the buffers that follow from no draw in two programs, and have different values."""
    names = {entry.name for entry in before.entries} - _unfilled(after).keys() - _unfilled(before).keys()
    old, new = _values(before, names), _values(after, names)
    return [name for name in old if name in new and not _equal(old[name], new[name])]


def _values(program: Program, names: Iterable[str]) -> dict[str, Tensor]:
    """Compute the buffers that follow from no draw."""
    buffers = [x for x in program.entries if x.name in names and x.kind == "buffer" and x.ref.numel <= _COMPARED]
    return values_of(program, [x for x in buffers if x.ref.storage not in program.drawn])


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
