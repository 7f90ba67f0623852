"""Watches the functions of a model's code that run no operator, or another one on a fake tensor than on a real one."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from torchinit._core.compat import FakeTensor, attributes, unset_fake_temporarily
from torchinit.recording._tape import Tape

# Assigns ``tensor.data``.
_SET_DATA = vars(torch._C.TensorBase)["data"].__set__
_READING = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__)


class Functions(TorchFunctionMode):
    """Lets fake tensors stand for real ones in functions that run no operator, or refuses them.

    Args:
        tape: the recording
    """

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is Tensor.cuda:
            return args[0]
        args, kwargs = tuple(map(_on_cpu, args)), dict(kwargs or {})
        if function is Tensor.to:
            args = tuple(torch.device("cpu") if isinstance(x, str) and x != "meta" else x for x in args)
        if kwargs.get("device") is not None:
            kwargs["device"] = _on_cpu(torch.device(kwargs["device"]))
        if function in _READING or (function is Tensor.__format__ and args[0].dim() == 0):
            return self._read(function, args, kwargs)
        if function is Tensor.__deepcopy__ and (isinstance(args[0], FakeTensor) or type(args[0]) is Tensor):
            return _deep_copy(*args)
        if function == _SET_DATA:
            return self._set_data(function, *args)
        return function(*args, **kwargs)

    def _read(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Read a tensor's values, if they are known."""
        self.tape.refuse_read(args[0], function.__name__)
        with unset_fake_temporarily():
            out = function(*args, **kwargs)
        if function in (Tensor.numpy, Tensor.__array__):
            self.tape.values.expose(args[0], out, self.tape.place())
        return out

    def _set_data(self, function: Any, target: Tensor, value: Tensor) -> None:
        """Set ``target.data``, which takes a tensor of the same class only."""
        # A parameter that waits for its shape refuses most functions.
        with torch._C.DisableTorchFunctionSubclass():
            self.tape.refuse_reshape(target, "data =")
            function(target, self.tape.alike(target, value))


def _on_cpu(value: Any) -> Any:
    """Take any device for the CPU, except the meta device: this machine may lack an accelerator."""
    return torch.device("cpu") if isinstance(value, torch.device) and value.type != "meta" else value


def _deep_copy(tensor: Tensor, memo: dict[Any, Any]) -> Tensor:
    """Copy a tensor as copy.deepcopy does, by operators: views of one storage become views of one copy."""
    if id(tensor) not in memo:
        if not tensor.is_leaf:
            raise RuntimeError("copy.deepcopy copies only tensors that no operator with a gradient made, as in torch")
        if isinstance(tensor, nn.Parameter):
            memo[id(tensor)] = nn.Parameter(tensor.detach().clone(), tensor.requires_grad)
        else:
            memo[id(tensor)] = made = _copied_view(tensor, memo).requires_grad_(tensor.requires_grad)
            made.__dict__.update(copy.deepcopy(attributes(tensor), memo))
    copied: Tensor = memo[id(tensor)]
    return copied


def _copied_view(tensor: Tensor, memo: dict[Any, Any]) -> Tensor:
    storage = tensor.untyped_storage()
    key = ("storage", storage._cdata, tensor.dtype)
    if key not in memo:
        elements = storage.nbytes() // tensor.dtype.itemsize
        memo[key] = tensor.detach().as_strided((elements,), (1,), 0).clone()
    copied: Tensor = memo[key].as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
    return copied
