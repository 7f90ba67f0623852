"""The types of the record table: a record holds the calls and refusals of one initializer."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import torchinit
from tools.codegen.functions import FUNCTIONS, UPSTREAM

ROWS = {function.name: function for function in FUNCTIONS}
DEPRECATED = {function.deprecated: function for function in FUNCTIONS if function.deprecated}


@dataclass(frozen=True)
class Refusal:
    """A call that raises.

    Attributes:
        tensor: makes the tensor to fill
        arguments: the other arguments, by keyword
        error: the type of the error
        scripts: whether TorchScript accepts the arguments' types
        differs: why upstream's error has another type or opening words; empty if it does not
    """

    tensor: Callable[[], Tensor]
    arguments: dict[str, Any]
    error: type[Exception]
    scripts: bool = True
    differs: str = ""

    @property
    def label(self) -> str:
        tensor = self.tensor()
        shape = "x".join(map(str, tensor.shape)) or "scalar"
        words = [str(tensor.dtype).removeprefix("torch."), shape, *(f"{k}={v}" for k, v in self.arguments.items())]
        return "-".join(words)


@dataclass(frozen=True)
class Record:
    """One initializer.

    Attributes:
        name: its name in ``torchinit``
        calls: keyword arguments of the calls to test, without tensor and generator
        shape: a shape that it fills with distinct values
        refusals: calls that raise
        unmatched: calls for which no oracle has the same bits
    """

    name: str
    calls: tuple[dict[str, Any], ...]
    shape: tuple[int, ...]
    refusals: tuple[Refusal, ...] = ()
    unmatched: tuple[dict[str, Any], ...] = ()
    _accepted: dict[tuple[tuple[int, ...], str], bool] = field(default_factory=dict, repr=False, compare=False)

    @property
    def row(self) -> Any:
        return DEPRECATED.get(self.name) or ROWS[self.name]

    @property
    def current_name(self) -> str:
        return str(self.row.name)

    @property
    def upstream(self) -> bool:
        """True if ``torch.nn.init`` has it too."""
        return self.row in UPSTREAM

    @property
    def function(self) -> Callable[..., Tensor]:
        return getattr(torchinit, self.name)

    @property
    def takes_generator(self) -> bool:
        return any(argument.name == "generator" for argument in self.row.arguments)

    def accepts(self, shape: tuple[int, ...], arguments: dict[str, Any]) -> bool:
        """True if it accepts the shape."""
        key = shape, repr(arguments)
        if key not in self._accepted:
            try:
                # NB: a meta tensor would import torch's decompositions.
                with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self.function(torch.empty(shape), **arguments)
                self._accepted[key] = True
            except ValueError:
                self._accepted[key] = False
        return self._accepted[key]

    def __str__(self) -> str:
        return self.name
