"""A recording: what fills a model's tensors, to be read, replayed and turned into other forms."""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from torchinit._core.compat import FakeTensor
from torchinit.recording._attach import attach
from torchinit.recording._program import Entry, Program
from torchinit.recording._replay import Memory, replay
from torchinit.recording._targets import bindable, match, place

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
        """Fill a model's parameters and buffers as the recorded code fills them."""
        if sum(x is not None for x in (seed, generator, key)) > 1:
            raise ValueError("the draws come from a seed, a generator or a key, got more than one")
        pairs = [(entry, tensor) for entry, tensor in match(self.program.entries, model, strict) if not tensor.is_meta]
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
        _fill(self.program, pairs, generator)
        return model

    def build(self, device: torch.device | str | None = None, **kwargs: Any) -> nn.Module:
        """Build the recorded model, and fill it as :meth:`materialize_` does."""
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
            device = self.device or tensor.device
            made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
            if not isinstance(tensor, FakeTensor):
                made.copy_(tensor.detach())
            made.requires_grad_(tensor.requires_grad)
            memo[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
        return memo[id(tensor)]


def _real_copy(skeleton: nn.Module, device: torch.device | str | None) -> nn.Module:
    with _CopiedForReal(device):
        return copy.deepcopy(skeleton)
