"""Mean, standard deviation and range of a tensor's finite values, accumulated in float64."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Elements per chunk; 2 MiB in float64.
_CHUNK = 1 << 18


@dataclass
class Moments:
    """Moments of the finite values among ``size`` elements; ``constant`` is their one value if all are equal."""

    size: int
    count: int = 0
    mean: complex = 0.0
    squares: float = 0.0
    min: float = math.inf
    max: float = -math.inf
    zeros: int = 0
    constant: complex | None = None

    @property
    def std(self) -> float:
        """The population's standard deviation."""
        return math.sqrt(self.squares / self.count)

    @property
    def not_finite(self) -> int:
        return self.size - self.count

    def add(self, values: Tensor) -> None:
        """Add values: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm" (1979)."""
        low, high = _bounds(values)
        if not (math.isfinite(low) and math.isfinite(high)):
            values = only_finite(values)
            low, high = _bounds(values)
        if not values.numel():
            return
        if not values.is_complex():
            self.min, self.max = min(self.min, low), max(self.max, high)
        is_constant = bool((values == values[0]).all()) if values.is_complex() else low == high
        variance, mean = (number.item() for number in torch.var_mean(values, correction=0))
        first = values[0].item()
        if self.count == 0:
            self.constant = first
        if not is_constant or self.constant != first:
            self.constant = None
        count, size = self.count, values.numel()
        self.count += size
        apart = mean - self.mean
        self.mean += apart * (size / self.count)
        # NB: a product overflows to infinity, where ** and abs raise.
        apart_squared = apart.real * apart.real + apart.imag * apart.imag
        self.squares += variance * size + apart_squared * count * (size / self.count)
        self.zeros += size - int(torch.count_nonzero(values))


def _bounds(values: Tensor) -> tuple[float, float]:
    """Return the least and the greatest value; NaN if there is one, and for no values or complex ones."""
    if not values.numel() or values.is_complex():
        return math.nan, math.nan
    low, high = torch.aminmax(values)
    return low.item(), high.item()


def chunks(tensor: Tensor) -> Iterator[Tensor]:
    """Yield a tensor in float64 or complex128, a part at a time, so that memory stays bounded."""
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    wide = torch.complex128 if tensor.is_complex() else torch.float64
    for chunk in torch.split(tensor.reshape(-1), _CHUNK):
        yield chunk.to(wide)


def only_finite(values: Tensor) -> Tensor:
    """Drop NaN and infinities; copies only if there are some."""
    finite = torch.isfinite(values)
    return values if finite.all() else values[finite]


def measure(tensor: Tensor) -> Moments | None:
    """Measure a tensor; None on the meta device and for dtypes without numbers, such as ``torch.bits8``."""
    if tensor.is_meta:
        return None
    moments = Moments(tensor.numel())
    try:
        for chunk in chunks(tensor):
            moments.add(chunk)
    except RuntimeError as error:
        # NB: torch 2.6 raises no NotImplementedError here, only its base class.
        if "not implemented for" not in str(error):
            raise
        return None
    return moments


def spread(flat: Tensor, most: int) -> Tensor:
    """Take at most ``most`` values, spread evenly: the same ones each time, at steps that meet no period."""
    if flat.numel() <= most:
        return flat
    # The golden ratio is the number that fractions approximate worst: https://oeis.org/A001622.
    steps = torch.arange(most, dtype=torch.float64, device=flat.device)
    index = (steps + (steps * 0.6180339887498949) % 1.0) * (flat.numel() / most)
    return flat[index.long().clamp_(max=flat.numel() - 1)]


def flattened(tensor: Tensor) -> Tensor:
    """Return the values in one dimension, of complex numbers the parts, of quantized ones what they stand for."""
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.reshape(-1)
