"""Runs a model's own code and records how it fills the model's tensors."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchinit._core.compat import FakeTensorMode
from torchinit._core.patch import patch_torch
from torchinit.recording._outside import watched
from torchinit.recording._program import Entry, Program, storages
from torchinit.recording._random import followed
from torchinit.recording._recording import Recording
from torchinit.recording._tape import RecordError, RefusedReads, Tape

_active = threading.local()


def record(build: Callable[[], Any], *, model: nn.Module | None = None) -> Recording:
    """Record how a model's own code initializes it.

    ``build`` runs once, with fake tensors in place of large ones, so that it takes no memory and no number is drawn.
    While it runs, the functions of ``torch.nn.init`` are torchinit's, see :func:`torchinit.patch_torch`.

    Args:
        build: a callable without arguments that returns a module; or, with ``model``, one that resets that model
        model: a model that exists, which ``build`` initializes; it is left as it is

    Returns:
        the recording

    Raises:
        TypeError: if ``build`` returns no module
        RecordError: if the code asks for the value of a drawn number, or if a recording is in progress already

    Examples:
        >>> import torch, torchinit
        >>> from torch import nn
        >>> recording = torchinit.record(lambda: nn.Linear(3, 4))
        >>> model = recording.materialize_(nn.Linear(3, 4), seed=0)
        >>> same = torch.manual_seed(0) and nn.Linear(3, 4)
        >>> torch.equal(model.weight, same.weight)
        True
    """
    if getattr(_active, "tape", None) is not None:
        raise RecordError("a recording must end before the next begins, got record() within record()")
    frame = sys._getframe()
    tape = Tape(frame)
    with ExitStack() as stack:
        stack.enter_context(_in_progress(tape))
        stack.enter_context(patch_torch())
        stack.enter_context(followed(tape.generators))
        watch = stack.enter_context(watched(frame))
        mode = stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(tape)
        stack.enter_context(RefusedReads(tape))
        if model is None:
            built = build()
            if not isinstance(built, nn.Module):
                raise TypeError(f"build must return a torch.nn.Module, got {type(built).__name__}")
        else:
            built = stack.enter_context(_with_fake_tensors(model, mode))
            given = {tape.values.ref(tensor).storage for tensor in _tensors(built)}
            build()
        entries = tuple(_entries(built, tape))
        program = Program(
            operations=tuple(tape.operations),
            entries=entries,
            calls=tuple(tape.calls),
            nbytes=dict(tape.values.nbytes),
            constants=dict(tape.values.constants),
            given=frozenset() if model is None else frozenset(given),
            outside=watch.found(),
            allocated={number: tape.allocated[number] for number in storages(entries) & tape.allocated.keys()},
        )
    return Recording(program, built if model is None else None)


@contextmanager
def _in_progress(tape: Tape) -> Iterator[None]:
    _active.tape = tape
    try:
        yield
    finally:
        _active.tape = None


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


@contextmanager
def _with_fake_tensors(model: nn.Module, mode: FakeTensorMode) -> Iterator[nn.Module]:
    """Swap a model's tensors for fake ones in a block; one of each storage, so that ties and views stay."""
    fakes: dict[int, Any] = {}
    swapped: list[tuple[dict[str, Any], str, Tensor]] = []
    try:
        for module in model.modules():
            for tensors in _own_tensors(module):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        fakes.setdefault(id(tensor), mode.from_tensor(tensor))
                        swapped.append((tensors, name, tensor))
                        tensors[name] = fakes[id(tensor)]
        yield model
    finally:
        for tensors, name, tensor in swapped:
            tensors[name] = tensor


def _own_tensors(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the dicts of a module's own parameters and buffers."""
    return module._parameters, module._buffers


def _entries(model: nn.Module, tape: Tape) -> Iterator[Entry]:
    """Describe a model's parameters and buffers, in the model's order."""
    first: dict[Any, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        kind = type(module)
        for tensors, what in zip(_own_tensors(module), ("parameter", "buffer")):
            for own, tensor in tensors.items():
                if tensor is None or is_lazy(tensor):
                    continue
                name = f"{path}.{own}" if path else own
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
