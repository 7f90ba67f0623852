"""A fill: an initializer with the numbers it is called with, on a parameter or on one block of it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchinit import _unusual
from torchinit._basic import constant_, normal_, ones_, trunc_normal_, uniform_, zeros_
from torchinit._checks import _check_overlap
from torchinit._primitives import _no_grad_copy_, _unguarded
from torchinit._scaled import (
    _kaiming_std,
    _xavier_std,
    kaiming_normal_,
    kaiming_uniform_,
    xavier_normal_,
    xavier_uniform_,
)
from torchinit._structured import dirac_, eye_, orthogonal_, sparse_

Number = int | float
Value = int | float | str | bool

INITIALIZERS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function
    for function in (
        uniform_,
        normal_,
        trunc_normal_,
        constant_,
        ones_,
        zeros_,
        eye_,
        dirac_,
        xavier_uniform_,
        xavier_normal_,
        kaiming_uniform_,
        kaiming_normal_,
        orthogonal_,
        sparse_,
    )
}

# Those whose numbers follow from the fans; a recipe counts the fans, then draws with one of the others.
SCALED = ("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_")
# Those that not every shape will do for.
STRUCTURED = ("eye_", "dirac_", "orthogonal_", "sparse_")
DRAWING = ("uniform_", "normal_", "trunc_normal_", "orthogonal_", "sparse_")


@dataclass(frozen=True)
class Fill:
    """An initializer other than those of ``SCALED``, its arguments in order, and the block (dim, start, length)."""

    initializer: str
    args: tuple[Number, ...] = ()
    block: tuple[int, int, int] | None = None


def block_shape(shape: Sequence[int], block: tuple[int, int, int] | None) -> list[int]:
    """The shape of a block (dim, start, length), or of the whole."""
    return list(shape) if block is None else [*shape[: block[0]], block[2], *shape[block[0] + 1 :]]


def _fanned(fans: tuple[int, int]) -> Tensor:
    return torch.empty(fans[1], fans[0], device="meta")


def scaled(initializer: str, fans: tuple[int, int], args: dict[str, Any]) -> Fill:
    """Turn one of ``SCALED`` into the fill that draws its bits, for fans that need not be those of the shape."""
    if initializer.startswith("xavier"):
        std = _xavier_std(_fanned(fans), **{"gain": 1.0, **args})
    else:
        std = _kaiming_std(_fanned(fans), **{"a": 0.0, "mode": "fan_in", "nonlinearity": "leaky_relu", **args})
    if initializer.endswith("normal_"):
        return Fill("normal_", (0.0, std))
    bound = math.sqrt(3.0) * std
    return Fill("uniform_", (-bound, bound))


def damped(fill: Fill, divisor: float) -> Fill:
    """Divide the standard deviation of a fill around zero."""
    first, second = (*fill.args, 0.0, 0.0)[:2]
    if fill.initializer == "uniform_":
        return Fill(fill.initializer, (first / divisor, second / divisor))
    if fill.initializer == "orthogonal_":
        return Fill(fill.initializer, (first / divisor,))
    return Fill(fill.initializer, (first, second / divisor, *fill.args[2:]))


def call(tensor: Tensor, fill: Fill, generator: torch.Generator | None) -> Tensor:
    """Run one fill on the whole of a tensor."""
    function = INITIALIZERS[fill.initializer]
    if fill.initializer in DRAWING:
        return function(tensor, *fill.args, generator=generator)
    return function(tensor, *fill.args)


def write(tensor: Tensor, fills: Sequence[Fill], generator: torch.Generator | None) -> Tensor:
    """Run the fills of one parameter in order.

    What is not contiguous is drawn in the order of its indices, so that no memory format changes the weights.
    """
    direct = tensor.is_contiguous() and all(fill.block is None for fill in fills)
    if _unusual._is_distributed(tensor) and not direct:
        fitting = any(fill.initializer in ("orthogonal_", "sparse_") for fill in fills)
        return _unusual._spread_(tensor, partial(write, fills=fills, generator=generator), broadcast=fitting)
    for fill in fills:
        target = tensor if fill.block is None else _unguarded(tensor).narrow(*fill.block)
        if target.is_contiguous():
            call(target, fill, generator)
        else:
            _no_grad_copy_(target, call(_unguarded(target).contiguous(), fill, generator))
    return tensor


def small(ndim: int, dtype: torch.dtype, device: torch.device, groups: int = 1) -> Tensor:
    """Make the least tensor that an initializer refuses whenever it would refuse a larger one."""
    shape = [2 * max(1, groups), 2, *[1] * (ndim - 2)][:ndim]
    # Groups may be many, and are checked without looking at the values.
    return torch.empty(shape, dtype=dtype, device="meta" if groups > 1 else device)


def _rehearse(tensor: Tensor, fill: Fill) -> None:
    """Raise what the fill would of a tensor of this dtype and device, on a small one."""
    groups = int(fill.args[0]) if fill.initializer == "dirac_" else 1
    generator = torch.Generator(tensor.device) if fill.initializer in DRAWING else None
    call(small(tensor.dim(), tensor.dtype, tensor.device, groups), fill, generator)


def check(targets: Iterable[tuple[Tensor, Sequence[Fill]]]) -> None:
    """Raise whatever one of the writes would, before the first."""
    seen = set()
    for tensor, fills in targets:
        if tensor.is_meta:
            continue
        _unguarded(tensor)
        _check_overlap(tensor)
        for fill in fills:
            key = (fill.initializer, fill.args, tensor.dim(), tensor.dtype, tensor.device)
            # NB: vmap lets no random call touch a tensor that it has not batched, as a small one is.
            if key not in seen and not torch._C._are_functorch_transforms_active():
                seen.add(key)
                _rehearse(tensor, fill)


def _normal_density(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _trunc_normal_moments(mean: float, std: float, a: float, b: float) -> tuple[float, float]:
    """Johnson, Kotz and Balakrishnan, "Continuous Univariate Distributions", volume 1 (1994), section 13.10."""
    if std == 0.0:
        return min(b, max(a, mean)), 0.0
    low, high = (a - mean) / std, (b - mean) / std
    if low > -high:
        # The mirror image keeps the digits of a tail's mass.
        mirrored, deviation = _trunc_normal_moments(-mean, std, -b, -a)
        return -mirrored, deviation
    mass = 0.5 * (math.erfc(-high / math.sqrt(2)) - math.erfc(-low / math.sqrt(2)))
    if mass == 0.0:
        return min(b, max(a, mean)), 0.0
    p, q = _normal_density(low), _normal_density(high)
    shift = (p - q) / mass
    edges = (low * p if p else 0.0) - (high * q if q else 0.0)
    return mean + std * shift, std * math.sqrt(max(0.0, 1 + edges / mass - shift**2))


def moments(fill: Fill, shape: Sequence[int]) -> tuple[float, float]:
    """Expect a mean and a standard deviation of the values that a fill gives to a tensor of this shape."""
    name, args = fill.initializer, fill.args
    rows, columns = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
    if name == "uniform_":
        return (args[0] + args[1]) / 2, (args[1] - args[0]) / math.sqrt(12)
    if name == "normal_":
        return args[0], args[1]
    if name == "trunc_normal_":
        return _trunc_normal_moments(*args)
    if name == "orthogonal_":
        return 0.0, abs(args[0]) / math.sqrt(max(rows, columns))
    if name == "sparse_":
        return 0.0, args[1] * math.sqrt(1 - math.ceil(args[0] * rows) / rows)
    if name == "eye_" or name == "dirac_":
        groups = int(args[0]) if args else 1
        ones = groups * min(rows // groups, shape[1])
        share = ones / (rows * columns)
        return share, math.sqrt(share * (1 - share))
    return {"ones_": 1.0, "zeros_": 0.0}.get(name, args[0] if args else 0.0), 0.0


def mixed_moments(fills: Sequence[Fill], shape: Sequence[int]) -> tuple[float, float] | None:
    """Expect them of a whole parameter, of which a later fill may cover a block of an earlier one."""
    total = math.prod(shape)
    if total == 0 or not fills:
        return None
    parts: list[tuple[float, float, float]] = []
    for fill in fills:
        share = math.prod(block_shape(shape, fill.block)) / total
        # What is covered is a part of all that came before; blocks side by side cover nothing.
        left = min(1.0, (1 - share) / (sum(part[0] for part in parts) or 1.0))
        parts = [(before * left, mean, std) for before, mean, std in parts if left > 0]
        parts.append((share, *moments(fill, block_shape(shape, fill.block))))
    if len(parts) == 1:
        return parts[0][1:]
    mean = sum(share * m for share, m, _ in parts)
    square = sum(share * (s * s + m * m) for share, m, s in parts)
    return mean, math.sqrt(max(0.0, square - mean * mean))
