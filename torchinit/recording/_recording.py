"""A recording: what fills a model's tensors, to be read, replayed and turned into other forms."""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchinit._core.compat import FakeTensor
from torchinit.recording._audit import audit
from torchinit.recording._copies import copied
from torchinit.recording._findings import Finding
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

    def audit(self, again: "Recording | None" = None) -> list[Finding]:
        """Find what people cannot see: tensors without values, wrong laws and fans, copies and wasted draws.

        A finding of severity ``"fault"`` is what nobody wants:

        - ``"unwritten"``: a tensor that holds memory as it came;
        - ``"lost"``: a tensor that ``to_empty()`` loses and that no method of the model restores. This is tried: the
          model without its values runs ``reset_parameters``, ``init_weights`` and the like, of it and its layers;
        - ``"law"``: values that do not have the law of the function's name, such as a ``trunc_normal_`` that truncates
          nothing, or a library's ``lecun_normal_`` with another standard deviation than torchinit's, by over 2 %;
        - ``"fans"``: a stack of matrices, such as the weights of experts, whose fans are taken as a convolution's, or
          packed matrices whose ``fan_out`` is that of all;
        - ``"outside"``: values that torch does not decide, such as numpy's draws.

        One of severity ``"fact"`` may be meant: draws that are thrown away (``"overwritten"``), copies of a draw that
        are not tied (``"copied"``), files that were read (``"outside"``), and the packed weights of torch's own layers.

        Args:
            again: another recording of the same code; then tensors that the two fill in different ways are found too

        Returns:
            the findings, faults first; ``print`` shows each as a line

        Examples:
            >>> import torch, torchinit
            >>> class Head(torch.nn.Linear):
            ...     def reset_parameters(self):
            ...         torch.nn.init.trunc_normal_(self.weight, std=0.02)
            >>> for finding in torchinit.record(lambda: Head(16, 4)).audit():
            ...     print(finding.severity, finding.kind, finding.tensor, finding.what, sep=", ")
            fault, unwritten, bias, nothing writes it, so it holds memory as it came
            fault, law, weight, trunc_normal_(mean=0, std=0.02, a=-2, b=2) truncates nothing, since its bounds are 100 standard deviations away
        """
        # Imported late: recording makes a Recording.
        from torchinit.recording._record import record

        return audit(
            self.program, self._skeleton, None if again is None else again.program, lambda build: record(build).program
        )


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


def _real_copy(skeleton: nn.Module, device: torch.device | str | None) -> nn.Module:
    def real(tensor: Tensor) -> Tensor:
        if is_lazy(tensor):
            return copy.deepcopy(tensor)
        place = device or tensor.device
        made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=place)
        return made if isinstance(tensor, FakeTensor) else made.copy_(tensor.detach())

    return copied(skeleton, real)
