"""Copies a model whose tensors are fake."""

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode


class _Copies(TorchFunctionMode):
    """Lets a function copy tensors that are neither parameters nor buffers."""

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.make = make

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not Tensor.__deepcopy__:
            return function(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            memo[id(tensor)] = _made(tensor, self.make)
        return memo[id(tensor)]


def _made(tensor: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
    made = make(tensor)
    if is_lazy(tensor):
        return made
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, tensor.requires_grad)
    return made.requires_grad_(tensor.requires_grad)


def copied(model: nn.Module, make: Callable[[Tensor], Tensor]) -> nn.Module:
    """Copy a model, with ``make`` of each tensor in its place; parameters stay parameters, and ties stay."""
    # NB: a parameter copies itself, past any mode, unless the memo has it.
    memo = {id(tensor): _made(tensor, make) for tensor in (*model.parameters(), *model.buffers())}
    with _Copies(make):
        return copy.deepcopy(model, memo)
