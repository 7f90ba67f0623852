"""Notes what a model's code takes from outside torch while it is recorded: other generators, and files.

A recording replays operators of torch. A number that comes from elsewhere is frozen in it: another seed or key does not
change the number, and the next recording may hold another one.
"""

import functools
import importlib
import os
import pickle
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType, ModuleType
from typing import Any

import torch

from torchinit._core.compat import loaders, no_dispatch_modes
from torchinit.recording._frames import module_of, outer_frames, place_of
from torchinit.recording._program import Outside
from torchinit.recording._random import DefaultGenerator, Generators

# Files from which no tensor comes: Python's own, and texts that say how to build a model.
_NO_TENSORS = tuple(
    [".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".dylib", ".json", ".toml", ".yaml", ".yml", ".cfg", ".ini"]
)
_OF_THE_SYSTEM = ("/proc/", "/sys/", "/dev/")

_DRAW = "draw with torch, so that a seed or a key decides the values"
_SEED = "set the seed to a number, so that the model is the same each time"
_READ = "ship the file with the model; the recording holds the values that were read now"


class Watch:
    """What the code of one recording takes from outside torch.

    Args:
        stop: the frame outside which none is looked at
        generators: the generators of torch that the code draws from
    """

    def __init__(self, stop: FrameType | None, generators: Generators) -> None:
        self._stop, self.generators = stop, generators
        self._found: dict[Outside, None] = {}
        self._states = {source: source.state() for source in _sources()}
        self._seeded: set[_Source] = set()

    def note(self, kind: str, what: str, right: str) -> None:
        """Note a use by the current line of the user's code."""
        frames = list(outer_frames(self._stop))
        place = place_of([frame for frame in frames if not _is_library(frame)]) or place_of(frames)
        self._found[Outside(kind, what, place, right)] = None

    def opened(self, path: str, flags: int) -> None:
        """Note that a file is opened, unless it is written, or Python or the system reads it for itself."""
        is_written = flags & (os.O_WRONLY | os.O_RDWR)
        holds_tensors = not path.endswith(_NO_TENSORS) and not path.startswith(_OF_THE_SYSTEM)
        # NB: Python says so before it looks whether there is such a file.
        if (
            holds_tensors
            and not is_written
            and os.path.isfile(path)
            and not any(module_of(frame).startswith("importlib") for frame in outer_frames(self._stop))
        ):
            self.note("file", path, _READ)

    @contextmanager
    def using(self, source: "_Source", name: str, seeds: bool) -> Iterator[None]:
        """Note a call of a function of a generator of the whole process, and what it does to the state."""
        self._compare(source)
        if seeds:
            self._seeded.add(source)
        elif source not in self._seeded:
            self.note("random", f"{source.name}.{name}", _DRAW)
        yield
        self._states[source] = source.state()

    def _compare(self, source: "_Source") -> None:
        """Note a draw that no function of the module made, whose line is not known."""
        known = self._states.get(source)
        if known != source.state() and known is not None and source not in self._seeded and not source.shared:
            self._found[Outside("random", source.name, "", _DRAW)] = None

    def found(self) -> tuple[Outside, ...]:
        """Return what was noted, in order."""
        for source in self._states:
            self._compare(source)
        return tuple(self._found)


class _Source:
    """A generator of the whole process, and the module whose functions draw from it."""

    def __init__(self, module: ModuleType, generator: Any, get_state: Callable[[], Any]) -> None:
        self.module, self.name, self._generator, self._get_state = module, module.__name__, generator, get_state
        # Whether another thread has drawn from it while a model was recorded.
        self.shared = False

    def state(self) -> bytes:
        return pickle.dumps(self._get_state())

    def wrappers(self) -> Iterator[tuple[ModuleType, str, Any]]:
        for name, function in list(vars(self.module).items()):
            # NB: numpy's seed() is no method of the generator.
            is_own = getattr(function, "__self__", None) is self._generator or name == "seed"
            if is_own and name not in ("getstate", "get_state"):
                yield self.module, name, self._wrapped(name, function)

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            watch = current()
            # Nobody can tell a state that another thread moves from one that this thread's code moves unseen.
            self.shared |= watch is None or len(_watches) > 1
            if watch is None:
                return function(*args, **kwargs)
            seeds = name in ("setstate", "set_state") or (name == "seed" and _is_given(*args, **kwargs))
            with watch.using(self, name, seeds):
                return function(*args, **kwargs)

        return call


def _is_given(*args: Any, **kwargs: Any) -> bool:
    return any(value is not None for value in (*args, *kwargs.values()))


def _is_library(frame: FrameType) -> bool:
    """True for code through which a model draws or reads: Python's own, numpy's and safetensors'."""
    package = module_of(frame).partition(".")[0]
    return package in ("numpy", "safetensors") or package in sys.stdlib_module_names


_local = threading.local()
_lock = threading.Lock()
# The recordings in progress in all threads, and what they replaced.
_watches: list[Watch] = []
_replaced: list[tuple[ModuleType, str, Any]] = []


def current() -> Watch | None:
    """Return the watch of the recording that runs in this thread, or None."""
    return getattr(_local, "watch", None)


def _generators() -> Generators | None:
    watch = current()
    return None if watch is None else watch.generators


def note(kind: str, what: str, right: str = _SEED) -> None:
    """Note a use in the recording that runs in this thread."""
    watch = current()
    if watch is not None:
        watch.note(kind, what, right)


@functools.cache
def _numpy() -> _Source:
    module = importlib.import_module("numpy.random")
    generator = getattr(module.rand, "__self__", None)
    return _Source(module, generator, lambda: generator.get_state(legacy=False))  # type: ignore[union-attr]


@functools.cache
def _python() -> _Source:
    return _Source(random, random.random.__self__, random.getstate)  # type: ignore[attr-defined]


def _sources() -> list[_Source]:
    # Importing numpy takes longer than most recordings; code that draws from it has imported it.
    return [_python(), *([_numpy()] if sys.modules.get("numpy") else [])]


def _wrappers() -> Iterator[tuple[ModuleType, str, Any]]:
    """Yield what stands for functions and generators while a recording runs, each with its module and name."""
    yield torch.random, "default_generator", DefaultGenerator(torch.default_generator, _generators)
    for source in _sources():
        source.shared = False
        yield from source.wrappers()
    if sys.modules.get("numpy"):
        yield _numpy().module, "default_rng", _seeded_only(_numpy().module.default_rng)
    # NB: code that imported a reading function by its name calls these too.
    for name in loaders:
        yield torch.serialization, name, _for_real(getattr(torch.serialization, name))
    safetensors = sys.modules.get("safetensors.torch")
    if safetensors is not None:
        for module in (safetensors, sys.modules["safetensors"]):
            yield module, "safe_open", functools.partial(_OpenedForReal, safetensors.safe_open)
        yield safetensors, "load", _for_real(safetensors.load)


def _seeded_only(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def default_rng(*args: Any, **kwargs: Any) -> Any:
        if not _is_given(*args, **kwargs):
            note("random", "numpy.random.default_rng without a seed", _DRAW)
        return function(*args, **kwargs)

    return default_rng


def _for_real(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function that reads tensors from a file give real ones while a recording runs."""

    @functools.wraps(function)
    def load(*args: Any, **kwargs: Any) -> Any:
        with nullcontext() if current() is None else no_dispatch_modes():
            return function(*args, **kwargs)

    return load


class _OpenedForReal:
    """A file of safetensors that gives real tensors while a recording runs."""

    def __init__(self, function: Callable[..., Any], filename: Any, *args: Any, **kwargs: Any) -> None:
        watch = current()
        if watch is not None:
            # NB: safetensors opens files outside Python.
            watch.opened(os.fspath(filename), os.O_RDONLY)
        self._file = function(filename, *args, **kwargs)

    def __enter__(self) -> "_OpenedForReal":
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        return _for_real(found) if callable(found) else found


@functools.cache
def _listen() -> None:
    """Hear of each file that this process opens; Python has no way to stop listening."""

    def heard(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            watch = current()
            # NB: a number is a file that is open already.
            if watch is not None and isinstance(args[0], (str, bytes)):
                watch.opened(os.fsdecode(args[0]), args[2] or 0)

    sys.addaudithook(heard)


@contextmanager
def watched(stop: FrameType | None, generators: Generators) -> Iterator[Watch]:
    """Note what the code of this thread takes from outside torch in a block, and follow torch's default generator.

    Args:
        stop: the frame outside which none is looked at
        generators: the generators of torch that the code draws from
    """
    _listen()
    with _lock:
        if not _watches:
            for module, name, wrapper in _wrappers():
                _replaced.append((module, name, getattr(module, name)))
                setattr(module, name, wrapper)
        watch = Watch(stop, generators)
        _watches.append(watch)
    _local.watch = watch
    try:
        yield watch
    finally:
        _local.watch = None
        with _lock:
            _watches.remove(watch)
            while not _watches and _replaced:
                module, name, function = _replaced.pop()
                setattr(module, name, function)
        generators.restore()
