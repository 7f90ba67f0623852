"""Runs a model's own code and records how it fills the model's tensors."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchinit._core.compat import FakeTensorMode
from torchinit._core.patch import patch_torch
from torchinit._core.wrappers import plain_names
from torchinit.recording._functions import Functions
from torchinit.recording._outside import Watch, current, watched
from torchinit.recording._program import Entry, Program, RecordError, storages
from torchinit.recording._recording import Recording
from torchinit.recording._tape import Tape


def record(build: Callable[[], Any], *, model: nn.Module | None = None) -> Recording:
    """Record how a model's own code initializes it.

    ``build`` runs once, with fake tensors in place of large ones, so that it takes no memory and no number is drawn.
    While it runs, the functions of ``torch.nn.init`` are torchinit's, see :func:`torchinit.patch_torch`, and every
    device but the meta device is the CPU.

    Args:
        build: a callable without arguments that returns a module; or, with ``model``, one that resets that model
        model: a model that exists, which ``build`` initializes; it is left as it is

    Returns:
        the recording

    Raises:
        TypeError: if ``build`` returns no module
        RecordError: if the code asks for the value of a drawn number or of a large tensor, writes to a tensor that is
            neither its own nor the model's, or records

    Examples:
        >>> import torch, torchinit
        >>> from torch import nn
        >>> recording = torchinit.record(lambda: nn.Linear(3, 4))
        >>> model = recording.materialize_(nn.Linear(3, 4), seed=0)
        >>> same = torch.manual_seed(0) and nn.Linear(3, 4)
        >>> torch.equal(model.weight, same.weight)
        True
    """
    if current() is not None:
        raise RecordError("a recording must end before the next begins, got record() within record()")
    frame = sys._getframe()
    tape = Tape(frame, FakeTensorMode(allow_non_fake_inputs=True))
    with (
        patch_torch(),
        watched(frame, tape.generators) as watch,
        tape.mode,
        tape,
        Functions(tape),
    ):
        if model is None:
            built = build()
            if not isinstance(built, nn.Module):
                raise TypeError(f"build must return a torch.nn.Module, got {type(built).__name__}")
            return Recording(_program(built, tape, watch), built, tape.values.find)
        with _with_fake_tensors(model, tape):
            build()
            return Recording(_program(model, tape, watch))


def _program(model: nn.Module, tape: Tape, watch: Watch) -> Program:
    """Return what has filled a model's tensors."""
    tape.values.check_exposed()
    entries = tuple(_entries(model, tape))
    return Program(
        operations=tuple(tape.operations),
        entries=entries,
        calls=tuple(tape.calls),
        nbytes=dict(tape.values.nbytes),
        constants=dict(tape.values.constants),
        given=frozenset(tape.values.given),
        outside=watch.found(),
        allocated={
            number: tape.allocated[number]
            for number in storages(entry.ref for entry in entries) & tape.allocated.keys()
        },
    )


@contextmanager
def _with_fake_tensors(model: nn.Module, tape: Tape) -> Iterator[nn.Module]:
    """Swap a model's tensors for fake ones in a block, ties for ties and views for views."""
    fakes: dict[int, Tensor] = {}
    before = [(tensors, dict(tensors)) for module in model.modules() for tensors in _own_tensors(module)]
    try:
        for tensors, found in before:
            for name, tensor in found.items():
                if tensor is not None and not is_lazy(tensor):
                    if id(tensor) not in fakes:
                        fakes[id(tensor)] = _stand_in(tensor, tape)
                    tensors[name] = fakes[id(tensor)]
        yield model
    finally:
        for tensors, found in before:
            tensors.clear()
            tensors.update(found)


def _stand_in(tensor: Tensor, tape: Tape) -> Tensor:
    tape.values.give(tensor)
    fake = tape.values.alias(tensor, tape.mode)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(fake, tensor.requires_grad)
    return fake


def _own_tensors(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the dicts of a module's own parameters and buffers."""
    return module._parameters, module._buffers


def _entries(model: nn.Module, tape: Tape) -> Iterator[Entry]:
    """Describe a model's parameters and buffers, in the model's order."""
    first: dict[Any, str] = {}
    plain = plain_names(model)
    for path, module in model.named_modules(remove_duplicate=False):
        kind = type(module)
        for tensors, what in zip(_own_tensors(module), ("parameter", "buffer")):
            for own, tensor in tensors.items():
                if tensor is None or is_lazy(tensor):
                    continue
                name = plain[f"{path}.{own}" if path else own]
                ref = tape.values.ref(tensor)
                tied = first.setdefault(ref, name)
                yield Entry(
                    name,
                    ref,
                    what,
                    f"{kind.__module__}.{kind.__qualname__}",
                    tensor.requires_grad,
                    own not in module._non_persistent_buffers_set,
                    None if tied == name else tied,
                )
