"""An operator with the arguments that it is called with."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map_only

from torchinit._core.compat import FakeTensor, FakeTensorMode, no_dispatch_modes
from torchinit.recording._program import OVERWRITING

# Tensors made of numbers with at most this many elements are real, and operators on at most that many run.
SMALL_RESULT, SMALL_ARGUMENTS = 65536, 1 << 20

# Operators that only say where memory is; it is allocated when something writes to it.
_ALLOCATING = frozenset(["empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "empty_permuted"])
# In training they write the running statistics, which their schemas do not say.
_BATCH_NORMS = frozenset(["native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"])
# Functions of sizes, which are their first argument.
_SIZED = frozenset(["zeros", "ones", "full", "empty", "empty_strided", "empty_permuted"])


class Invocation:
    """An operator with its arguments.

    Attributes:
        name: without namespace and overload
        random: whether it draws
        tensors: the tensors among the arguments
        written: those that it writes to
        is_in_place: whether it returns only tensors that it writes to
        is_view: whether it returns another view of an argument
        is_custom: whether it is not torch's own
        allocates: whether it makes memory and writes nothing to it
        reshapes: whether it changes which memory a tensor views, and no values
        makes_tensors: whether it returns tensors
    """

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        schema = function._schema
        self.name: str = schema.name.partition("::")[2]
        self.random = torch.Tag.nondeterministic_seeded in function.tags
        self.tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        self.written: list[Tensor] = []
        for index, argument in enumerate(schema.arguments):
            if _is_written(argument):
                value = args[index] if index < len(args) else kwargs.get(argument.name)
                self.written += [x for x in tree_flatten(value)[0] if isinstance(x, Tensor)]
        if self.name in _BATCH_NORMS and args[5]:
            self.written += [x for x in args[3:5] if isinstance(x, Tensor)]
        self.is_view = any(x.alias_info is not None and not _is_written(x) for x in schema.returns)
        self.is_in_place = bool(self.written) and all(map(_is_written, schema.returns))
        self.is_custom = function.namespace not in ("aten", "prim", "prims")
        self.allocates = self.name in _ALLOCATING
        self.reshapes = torch.Tag.inplace_view in function.tags
        self.makes_tensors = any("Tensor" in str(x.type) for x in schema.returns)

    def run(self) -> Any:
        """Call the operator."""
        return self.function(*self.args, **self.kwargs)

    def skip(self) -> Any:
        """Return what an operator in place returns, without running it."""
        returns = len(self.function._schema.returns)
        return None if returns == 0 else self.written[0] if returns == 1 else tuple(self.written)

    def run_fake(self, mode: FakeTensorMode) -> Any:
        """Call the operator on fake tensors.

        NB: the mode would compute some operators on real tensors, such as a product of two, to know their values.
        """
        args, kwargs = tree_map_only(
            Tensor, lambda x: x if isinstance(x, FakeTensor) else mode.from_tensor(_plain(x)), (self.args, self.kwargs)
        )
        return self.function(*args, **kwargs)

    def read(self) -> list[Tensor]:
        """Return the tensors whose values it uses."""
        written = self.written if self.name in OVERWRITING else []
        return [x for x in self.tensors if not any(x is y for y in written)]

    def is_small(self, mode: FakeTensorMode) -> bool:
        """True if it may run: its arguments and results take little memory."""
        if sum(x.numel() for x in self.tensors) > SMALL_ARGUMENTS:
            return False
        if self.is_view or self.written:
            return True
        if self.name in _SIZED:
            return bool(math.prod(self.args[0]) <= SMALL_RESULT)
        try:
            results = tree_flatten(self.run_fake(mode))[0]
        except Exception:
            # The results follow from the values of the arguments.
            return bool(self.tensors)
        elements: int = sum(x.numel() for x in results if isinstance(x, Tensor))
        return elements <= (SMALL_ARGUMENTS if self.tensors else SMALL_RESULT)


def _is_written(argument: Any) -> bool:
    """True for an argument that an operator writes to, or a result that is such an argument."""
    return argument.alias_info is not None and argument.alias_info.is_write


def _plain(tensor: Tensor) -> Tensor:
    """Return a real tensor without its autograd history: torch refuses some views of a parameter."""
    with no_dispatch_modes():
        return tensor.detach()
