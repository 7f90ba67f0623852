"""A recording: what fills a model's tensors, to be read, replayed and turned into other forms."""

import copy
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from torchinit._core.compat import FakeTensor
from torchinit.recording._describe import Description
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

    @cached_property
    def _description(self) -> Description:
        return Description(self.program)

    def __repr__(self) -> str:
        return f"<Recording of {self._description.summary}>"

    def __str__(self) -> str:
        return self.describe()

    def _repr_html_(self) -> str:
        return self._description.html()

    def describe(self, width: int | None = None) -> str:
        """Say what fills each parameter and buffer, as a table; ``print(recording)`` shows it.

        The tensors of repeated layers that are filled alike are one line. Words are those of the function that the
        model's code called, with the arguments that differ from its defaults, after the name of the library if the
        function is its own: ``kaiming_uniform_(a=2.236)``, ``timm trunc_normal_(std=0.02)``. Without a function they
        are those of the operators: ``normal_(0, 0.02)``, ``fill 1``. A comma means "then", and ``x`` stands for the
        values so far: ``arange(0, 128, 2) / 128, 10000 ** x``. ``row 0 zero`` is a write to a part. ``as`` names a tied
        tensor, ``copy of`` one with the same draws, ``view of`` one whose memory it shares. A number in brackets points
        to the draws that were overwritten. The last line counts; a draw is dropped if its tensor is not the model's.

        Args:
            width: characters in a line, at least 40 (default: those of the terminal)

        Returns:
            the table

        Examples:
            >>> import torchinit
            >>> from torch import nn
            >>> def build():
            ...     model = nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Linear(4, 4), nn.Linear(4, 4))
            ...     for layer in model[1:]:
            ...         nn.init.normal_(layer.weight, std=0.02)
            ...     return model
            >>> print(torchinit.record(build).describe(80))
            tensor            shape  filled by
            0.weight          9x4    normal_(0, 1), row 0 zero
            {1,2}.weight  x2  4x4    normal_(0, 0.02) [1]
            {1,2}.bias    x2  4      uniform_(-0.5, 0.5)
            <BLANKLINE>
            [1] overwritten: kaiming_uniform_(a=2.236)
            5 tensors, 76 values, 7 draws, 2 overwritten
        """
        return self._description.text(width)

    def to_json(self) -> str:
        """Say the same for programs: a JSON object whose keys stay.

        It has ``version`` (1), ``summary`` (the counts of the last line of :meth:`describe`) and ``tensors``: a list in
        the model's order, with no layers grouped. A tensor has

        - ``name``, ``shape``, ``dtype``, ``kind`` (``"parameter"`` or ``"buffer"``), ``persistent`` and ``module`` (the
          type that owns it);
        - ``words``, as in :meth:`describe`;
        - ``writes``: the writes that are left, in order; none for a tied tensor;
        - ``overwritten``: the draws of which nothing is left, in the form of writes;
        - ``tied``, ``copy_of`` and ``view_of``: the other tensor, or null.

        A write has ``part`` (which part of the tensor, or null for all of it), ``words``, ``draws`` (true or false) and
        ``steps``. A step has a ``place``, the line of code, and one of three forms: ``function`` with ``package``
        (``"torch"`` for those of ``torch.nn.init``) and ``args``; ``operator`` with ``args`` and ``kwargs``, and
        ``seed`` if the model's code seeds its generator; ``constant`` with its values, if they are few, and ``numel``.
        Other steps have the key ``unwritten``, ``given``, ``so_far``, ``part`` or ``join``. Among arguments, ``{"step":
        0}`` is what the first step of the write makes.

        Returns:
            the JSON text

        Examples:
            >>> import json
            >>> import torchinit
            >>> recording = torchinit.record(lambda: torch.nn.Linear(3, 4))
            >>> weight = json.loads(recording.to_json())["tensors"][0]
            >>> weight["name"], weight["words"]
            ('weight', 'kaiming_uniform_(a=2.236)')
            >>> weight["writes"][0]["steps"][0]["function"]
            'kaiming_uniform_'
        """
        return self._description.to_json()

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
