"""Copies a model with fake tensors as one with real memory."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchinit._core.compat import FakeTensor
from torchinit.recording._copies import copied
from torchinit.recording._program import Entry, Program, Ref


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
