"""Copies a model whose tensors are fake."""

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from torchinit._core.compat import attributes

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
