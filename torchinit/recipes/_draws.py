"""The draws of a parametrization besides the weight, from a generator or from a key."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from torchinit import keyed


@dataclass(frozen=True)
class Draws:
    """Draws from a generator (None for the global one), or from keys that are derived from a key by name."""

    generator: torch.Generator | None = None
    key: Tensor | None = None

    def normal_(self, tensor: Tensor, name: str) -> Tensor:
        """Fill a tensor with standard normal values; by key, ``name`` says which."""
        if self.key is None:
            return tensor.normal_(generator=self.generator)
        return keyed.normal_(tensor, keyed.fold_in(self.key, name))

    @contextmanager
    def lent(self, device: torch.device, name: str) -> Iterator[None]:
        """Let code that draws from the device's global generator draw from this source instead."""
        generator = self.generator
        if self.key is not None:
            seed = int(keyed.fold_in(self.key, name)[0])
            generator = torch.Generator(device).manual_seed(seed)
        if generator is None:
            yield
            return
        with kept_generators([device]):
            # Only a device besides the CPU has a module for it, which takes the device.
            module, own = (torch, ()) if device.type == "cpu" else (torch.get_device_module(device), (device,))
            module.set_rng_state(generator.get_state(), *own)
            try:
                yield
            finally:
                generator.set_state(module.get_rng_state(*own))


@contextmanager
def kept_generators(devices: list[torch.device], generator: torch.Generator | None = None) -> Iterator[None]:
    """Restore the global generators of the CPU and of these devices, and one more generator, at the end."""
    state = None if generator is None else generator.get_state()
    others = [device for device in dict.fromkeys(devices) if device.type not in ("cpu", "meta")]
    with ExitStack() as stack:
        # Each restores the CPU's generator too.
        for kind in {"cpu", *(device.type for device in others)}:
            own = [device for device in others if device.type == kind]
            stack.enter_context(torch.random.fork_rng(devices=own, device_type=kind))
        try:
            yield
        finally:
            if generator is not None and state is not None:
                generator.set_state(state)
