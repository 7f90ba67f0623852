"""A recording: what fills a model's tensors, to be read, replayed and turned into other forms."""

import copy
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from torchinit._core.compat import FakeTensor
from torchinit.recording._attach import attach
from torchinit.recording._keyed import fill_by_key, key_words
from torchinit.recording._keyed_program import KeyedProgram, keyed_program
from torchinit.recording._program import Entry, Program
from torchinit.recording._replay import Memory, replay
from torchinit.recording._targets import bindable, match, place, writable

_Module = TypeVar("_Module", bound=nn.Module)


class Recording:
    """How a model's own code fills its parameters and buffers; made by :func:`torchinit.record`.

    Args:
        program: the operators that fill them
        skeleton: the model with fake tensors, or None
    """

    def __init__(self, program: Program, skeleton: nn.Module | None = None) -> None:
        self.program, self._skeleton = program, skeleton

    def materialize_(
        self,
        model: _Module,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        key: Tensor | None = None,
        strict: bool = True,
    ) -> _Module:
        """Fill a model's parameters and buffers as the recorded code fills them.

        The model may be sharded (``fully_shard``, ``parallelize_module``, or both), on any device, or a copy of another
        dtype: each rank computes on the CPU, and keeps its part of the values that one process has. Nothing is
        communicated. Tensors on the meta device are left alone, so call ``to_empty`` before.

        With a seed or a generator, every draw is made, in the code's order, so that the values and the generator's state
        afterwards are those of running the code under :func:`torchinit.patch_torch`. Each rank computes all tensors, one at
        a time.

        With a key, only the draws count that reach a tensor. Each has a key of its own, ``fold_in(key, name)``, where the
        name is that of the first tensor that it feeds; the i-th draw of a name after the first has ``fold_in`` of that
        key and i. A rank computes the parts that it holds and allocates a few tiles of 1.5 MB, if all operators that fill
        a tensor are elementwise; other tensors are computed whole and then cut, for example orthogonal ones. Draws from
        a generator that the code makes and seeds itself keep their values, and seeds for the default one do not matter.

        Args:
            model: a model with the recorded names and shapes
            seed: seed of a new generator to draw from
            generator: CPU generator to draw from (default: the default one); the ranks of a job need equal states
            key: key to draw from, of shape (2,), see :func:`torchinit.keyed.key`
            strict: whether the model's names must be the recording's; otherwise only the names that both have are filled

        Returns:
            ``model``

        Raises:
            ValueError: if names are missing on either side and ``strict`` is set (the message lists them), a shape or the
                kind of number differs, ``key`` is not one key, or more than one origin of the draws is given
            RuntimeError: if a tensor cannot be written, the generator is not on the CPU, or a draw is made by an operator
                that no key gives, such as ``multinomial``

        If it raises, nothing is written.

        Examples:
            >>> import torchinit
            >>> from torch import nn
            >>> from torchinit import keyed
            >>> recording = torchinit.record(lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
            >>> model = recording.materialize_(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), key=keyed.key(0))
            >>> key = keyed.fold_in(keyed.key(0), "1.weight")
            >>> torch.equal(model[1].weight, keyed.kaiming_uniform_(torch.empty(2, 4), key, a=5**0.5))
            True
            >>> half = recording.materialize_(nn.Sequential(nn.Linear(3, 4)).bfloat16(), seed=0, strict=False)
            >>> torch.equal(half[0].weight, recording.build(seed=0)[0].weight.bfloat16())
            True
        """
        origins = {"seed": seed, "generator": generator, "key": key}
        given = [name for name, origin in origins.items() if origin is not None]
        if len(given) > 1:
            raise ValueError(f"the draws come from a seed, a generator or a key, got {' and '.join(given)}")
        if generator is not None and generator.device.type != "cpu":
            raise RuntimeError(f"a recording draws on the CPU, got a generator on {generator.device}")
        words = None if key is None else key_words(key)
        pairs = [(entry, tensor) for entry, tensor in match(self.program.entries, model, strict) if not tensor.is_meta]
        targets = writable(pairs)
        if words is not None:
            fill_by_key(self.keyed_program, targets, words)
            return model
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
        _fill(self.program, pairs, generator)
        return model

    @cached_property
    def keyed_program(self) -> KeyedProgram:
        """What fills the tensors from a key."""
        return keyed_program(self.program)

    def build(self, device: torch.device | str | None = None, **kwargs: Any) -> nn.Module:
        """Build the recorded model, and fill it as :meth:`materialize_` does.

        Args:
            device: device of the model's tensors (default: those of the code); on the meta device none is filled
            kwargs: ``seed``, ``generator`` or ``key``, see :meth:`materialize_`

        Returns:
            the model

        Raises:
            RuntimeError: if the recording was read from a file, or is of a model that exists
            ValueError: as :meth:`materialize_`

        Examples:
            >>> import torchinit
            >>> from torch import nn
            >>> from torchinit import keyed
            >>> recording = torchinit.record(lambda: nn.Linear(3, 4))
            >>> a, b = recording.build(key=keyed.key(0)), recording.build(key=keyed.key(0))
            >>> torch.equal(a.weight, b.weight)
            True
        """
        if self._skeleton is None:
            raise RuntimeError(
                "build() needs the module, which only the recording has that record() returned, got one without;"
                " build the model, and fill it with materialize_()"
            )
        return self.materialize_(_real_copy(self._skeleton, device), **kwargs)

    def attach(self, scripted: torch.jit.ScriptModule, mobile: bool = False) -> torch.jit.ScriptModule:
        """Give a TorchScript module methods that do what :meth:`materialize_` does.

        The saved file then resets itself as the recorded code does, without Python, torchinit and that code. It has
        ``reset_parameters(generator=None)``, or for the mobile interpreter ``reset_parameters(seed=None)``, where a
        seed stands for a CPU generator made with it. Both also have ``reset_parameters_keyed(seed)``, which does
        ``materialize_(module, key=keyed.key(seed))``. What depends on no draw, such as a table of positions, is stored
        in the file. As in a replay, the numbers are drawn on the CPU and copied to the module's device and dtype.

        Args:
            scripted: a scripted, traced or loaded module, whose tensors have the recorded names; a buffer that it lacks
                is skipped, because tracing may make it a constant. It is left as it is
            mobile: whether ``reset_parameters`` takes a seed; the mobile interpreter takes no generator

        Returns:
            a copy of the module with the methods

        Raises:
            TypeError: if the module is not TorchScript
            ValueError: if the names or shapes of its tensors are not the recorded ones
            RuntimeError: if the module has a method of one of these names, or no parameters, like a frozen one; or if
                an operator of the recording cannot be drawn in TorchScript

        Examples:
            >>> import torchinit
            >>> from torch import nn
            >>> build = lambda: nn.LSTM(3, 4, num_layers=2)
            >>> net = torchinit.record(build).attach(torch.jit.script(build()))
            >>> net.reset_parameters(torch.Generator().manual_seed(0))
            >>> same = torch.manual_seed(0) and build()
            >>> torch.equal(net.weight_hh_l1, same.weight_hh_l1)
            True
        """
        return attach(self.program, scripted, mobile)


def _fill(program: Program, pairs: list[tuple[Entry, Tensor]], generator: torch.Generator | None) -> None:
    """Replay a program from a generator's state into the tensors of a model."""
    targets: dict[int, list[tuple[Entry, Tensor]]] = {}
    for entry, tensor in pairs:
        targets.setdefault(entry.ref.storage, []).append((entry, tensor))
    bound = {}
    for number, found in targets.items():
        if bindable(program, *found[0]):
            bound[number] = found[0][1].untyped_storage()

    def deliver(number: int, memory: Memory) -> None:
        for entry, tensor in targets[number]:
            if number not in bound or tensor.untyped_storage().data_ptr() != bound[number].data_ptr():
                place(tensor, memory.tensor(entry.ref))

    replay(program, targets, deliver, generator, bound)


class _CopiedForReal(TorchFunctionMode):
    """Copies a fake tensor as an empty one on a device."""

    def __init__(self, device: torch.device | str | None) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not Tensor.__deepcopy__:
            return function(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            memo[id(tensor)] = _real(tensor, self.device)
        return memo[id(tensor)]


def _real(tensor: Tensor, device: torch.device | str | None) -> Tensor:
    device = device or tensor.device
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
    if not isinstance(tensor, FakeTensor):
        made.copy_(tensor.detach())
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, tensor.requires_grad)
    return made.requires_grad_(tensor.requires_grad)


def _real_copy(skeleton: nn.Module, device: torch.device | str | None) -> nn.Module:
    # NB: a small parameter is real, and copies itself without the mode.
    memo = {id(tensor): _real(tensor, device) for tensor in skeleton.parameters() if type(tensor) is nn.Parameter}
    with _CopiedForReal(device):
        return copy.deepcopy(skeleton, memo)
