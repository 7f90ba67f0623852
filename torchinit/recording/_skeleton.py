"""Copies a model whose tensors are fake: as it is, or with real memory."""

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from torchinit._core.compat import FakeTensor, attributes
from torchinit.recording._program import Entry, Program, Ref

# Makes the copy of a tensor, or returns None to leave it to copy.deepcopy.
Make: TypeAlias = Callable[[Tensor], Tensor | None]


class _Copies(TorchFunctionMode):
    """Lets a function copy tensors wherever in a model they are."""

    def __init__(self, make: Make) -> None:
        super().__init__()
        self.make = make

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = None
        if function is Tensor.clone:
            # A parameter in a plain list copies itself by clone() of its data.
            made = self.make(args[0])
        elif function is Tensor.__deepcopy__:
            tensor, memo = args
            made = _deep_copy(tensor, memo, self.make)
        return function(*args, **(kwargs or {})) if made is None else made


def _deep_copy(tensor: Tensor, memo: dict[int, Any], make: Make) -> Tensor | None:
    """Copy a tensor with the attributes that the model's code has set on it."""
    if id(tensor) not in memo:
        made = None if is_lazy(tensor) else make(tensor)
        if made is None:
            return None
        requires_grad = tensor.requires_grad and tensor.is_leaf
        if isinstance(tensor, nn.Parameter):
            memo[id(tensor)] = nn.Parameter(made, requires_grad)
        else:
            memo[id(tensor)] = made.requires_grad_(requires_grad)
        vars(memo[id(tensor)]).update(copy.deepcopy(attributes(tensor), memo))
    copied: Tensor = memo[id(tensor)]
    return copied


def copied(model: nn.Module, make: Make) -> nn.Module:
    """Copy a model, with what ``make`` returns in the place of each tensor; parameters and ties stay."""
    memo: dict[int, Any] = {}
    with _Copies(make):
        # NB: a parameter copies itself, past any mode, unless the memo has it.
        for parameter in model.parameters():
            _deep_copy(parameter, memo, make)
        return copy.deepcopy(model, memo)


class _Memory:
    """New memory for recorded tensors, of the same strides; views of a storage stay views of one."""

    def __init__(
        self, program: Program, find: Callable[[Tensor], Ref | None], device: torch.device | str | None
    ) -> None:
        self.program, self.find, self.device = program, find, device
        self.storages: dict[int, torch.UntypedStorage] = {}
        # Each copy, and the view whose values it is to hold.
        self.copies: list[tuple[Ref, Tensor]] = []

    def copied(self, tensor: Tensor) -> Tensor | None:
        """Return a view of new memory; note what it is to hold. None for a tensor that was not recorded."""
        ref = self.find(tensor)
        if ref is None:
            return None
        device = self.device or tensor.device
        storage = self.storages.get(ref.storage)
        if storage is None:
            storage = torch.empty(self.program.nbytes[ref.storage], dtype=torch.uint8, device=device).untyped_storage()
            self.storages[ref.storage] = storage
        made = torch.empty(0, dtype=ref.dtype, device=device).set_(storage, ref.offset, ref.size, ref.stride)
        made = made.conj() if ref.conj else made
        self.copies.append((ref, made))
        return made


def real_copy(
    program: Program,
    skeleton: nn.Module,
    find: Callable[[Tensor], Ref | None],
    device: torch.device | str | None,
) -> tuple[nn.Module, list[tuple[Entry, Tensor]]]:
    """Copy a model; return it with its tensors that are neither parameters nor buffers, and what they are to hold.

    Raises:
        RuntimeError: if the model cannot be copied
    """
    memory = _Memory(program, find, device)
    try:
        model = copied(skeleton, memory.copied)
    except Exception as error:
        raise RuntimeError(
            f"build() needs a model that copy.deepcopy copies, got {type(error).__name__}: {error}; build the model,"
            " and fill it with materialize_()"
        ) from error
    fakes = [name for name, tensor in model.named_parameters() if isinstance(tensor, FakeTensor)]
    if fakes:
        raise RuntimeError(f"build() needs a model that copy.deepcopy copies, got one that keeps {fakes[0]} as it is")
    # One that shares memory with a parameter is filled with it.
    named = {entry.ref for entry in program.entries}
    others = {ref: made for ref, made in memory.copies if ref not in named and made.device.type != "meta"}
    return model, [
        (Entry(f"attribute {n}", ref, "attribute", ""), made) for n, (ref, made) in enumerate(others.items())
    ]
