"""What an attached method calls: TorchScript functions on storages, which are flat tensors."""

import torch
from torch import Tensor

from torchinit import keyed


def opened(tensor: Tensor, numel: int, dtype: torch.dtype, stride: list[int]) -> Tensor:
    """Return a storage for a tensor of the model: its own memory if that is laid out as recorded, or a copy."""
    values = tensor.detach()
    # NB: list(), which types take for a list in eager code, too.
    if values.device.type == "cpu" and values.dtype == dtype and list(values.stride()) == stride:
        return torch.as_strided(values, [numel], [1])
    storage = torch.empty([numel], dtype=dtype)
    torch.as_strided(storage, values.shape, stride).copy_(values)
    return storage


def viewed(storage: Tensor, conj: bool, offset: int, size: list[int], stride: list[int]) -> Tensor:
    """View a storage."""
    part = torch.as_strided(storage, size, stride, storage.storage_offset() + offset)
    return torch.conj(part) if conj else part


def placed(tensor: Tensor, values: Tensor) -> Tensor:
    """Copy values to a tensor of the model, unless they are in its own memory."""
    target = tensor.detach()
    if not target.is_set_to(values):
        target.copy_(values)
    return tensor


def seed_again(generator: torch.Generator | None, seed: int) -> None:
    """Seed a generator, or the default one."""
    if generator is None:
        torch.manual_seed(seed)
    else:
        generator.manual_seed(seed)


def derived(root: Tensor, name: str, index: int) -> Tensor:
    """Return the key of a draw."""
    key = keyed.fold_in(root, name)
    return key if index == 0 else keyed.fold_in(key, index)


def refused(message: str) -> None:
    """Raise an error."""
    raise RuntimeError(message)
