"""Copies a model with fake tensors as one with real memory."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from torchinit._core.compat import FakeTensor, attributes
from torchinit.recording._program import Entry, Program, Ref


class _CopiedForReal(TorchFunctionMode):
    """Copies a recorded tensor as an empty one of the same strides; views of a storage stay views of one."""

    def __init__(
        self, program: Program, find: Callable[[Tensor], Ref | None], device: torch.device | str | None
    ) -> None:
        super().__init__()
        self.program, self.find, self.device = program, find, device
        self.storages: dict[int, torch.UntypedStorage] = {}
        # Each copy, and the view whose values it is to hold.
        self.copies: list[tuple[Ref, Tensor]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # A parameter in a plain list copies itself by clone() of its data.
        if function is Tensor.clone and self.find(args[0]) is not None:
            return self.copied(args[0])
        if function is not Tensor.__deepcopy__ or self.find(args[0]) is None:
            return function(*args, **(kwargs or {}))
        return self.deep_copy(*args)

    def deep_copy(self, tensor: Tensor, memo: dict[int, Any]) -> Tensor:
        """Copy a tensor with the attributes that the model's code has set on it."""
        if id(tensor) not in memo:
            made = self.copied(tensor)
            requires_grad = tensor.requires_grad and tensor.is_leaf
            if isinstance(tensor, nn.Parameter):
                memo[id(tensor)] = nn.Parameter(made, requires_grad)
            else:
                memo[id(tensor)] = made.requires_grad_(requires_grad)
            vars(memo[id(tensor)]).update(copy.deepcopy(attributes(tensor), memo))
        copied: Tensor = memo[id(tensor)]
        return copied

    def copied(self, tensor: Tensor) -> Tensor:
        """Return a view of new memory; note what it is to hold."""
        ref = self.find(tensor)
        assert ref is not None
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
    with _CopiedForReal(program, find, device) as mode:
        try:
            memo: dict[int, Any] = {}
            for parameter in skeleton.parameters():
                if not is_lazy(parameter) and find(parameter) is not None:
                    mode.deep_copy(parameter, memo)
            model = copy.deepcopy(skeleton, memo)
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
    others = {ref: made for ref, made in mode.copies if ref not in named and made.device.type != "meta"}
    return model, [
        (Entry(f"attribute {n}", ref, "attribute", ""), made) for n, (ref, made) in enumerate(others.items())
    ]
