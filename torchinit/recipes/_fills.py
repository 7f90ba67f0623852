"""A fill: an initializer with the numbers it is called with, on a parameter or on one block of it."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from torchinit._core import door, dtensor
from torchinit._core.checks import check_overlap as _check_overlap, check_trunc_normal
from torchinit._core.distributions import (
    constant_,
    normal_,
    ones_,
    trunc_normal_,
    trunc_normal_tf_,
    uniform_,
    zeros_,
)
from torchinit._core.fans import _calculate_correct_fan, _calculate_fan_in_and_fan_out, fans_or_given
from torchinit._core.layers import bilinear_, icnr_, lstm_bias_, prior_bias_, subpixel_shape as _shuffled
from torchinit._core.scale import (
    check_scaling,
    kaiming_std,
    sine_bound,
    truncated_scale as _untruncated,
    truncation_bounds,
    variance_scaling_std,
    xavier_std,
)
from torchinit._core.special import truncated_moments as _truncated_moments
from torchinit._core.structured import (
    block_orthogonal_,
    delta_orthogonal_,
    dirac_,
    eye_,
    identity_,
    orthogonal_,
    sparse_,
)
from torchinit._core.variance_scaling import (
    kaiming_normal_,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    sine_uniform_,
    variance_scaling_,
    xavier_normal_,
    xavier_uniform_,
)
from torchinit._core.writes import no_grad_copy_ as _no_grad_copy_, no_grad_view as _unguarded


def _spread_bounds(
    t: Tensor, mean: float, std: float, a: float, b: float, correct_std: bool
) -> tuple[float, float, float]:
    check_trunc_normal("trunc_normal_tf_", t, mean, std, a, b)
    return truncation_bounds(mean, std, a, b, correct_std)


def _xavier_std(t: Tensor, gain: float) -> float:
    x, y = _calculate_fan_in_and_fan_out(t)
    return xavier_std(x, y, gain)


def _kaiming_std(t: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    return kaiming_std(_calculate_correct_fan(t, mode), a, nonlinearity)


def _sine_bound(t: Tensor, omega: float, is_first: bool) -> float:
    return sine_bound(_calculate_fan_in_and_fan_out(t)[0], omega, is_first)


def _variance_std(
    t: Tensor, scale: float, mode: str, distribution: str, fan_in: int | None, fan_out: int | None
) -> float:
    mode = mode.lower()
    check_scaling(scale, mode, distribution)
    x, y = fans_or_given(list(t.shape), mode, fan_in, fan_out)
    return variance_scaling_std(x, y, scale, mode)


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
        trunc_normal_tf_,
        variance_scaling_,
        lecun_uniform_,
        lecun_normal_,
        sine_uniform_,
        identity_,
        block_orthogonal_,
        delta_orthogonal_,
        bilinear_,
        icnr_,
        lstm_bias_,
        prior_bias_,
    )
}

# Those whose numbers follow from the fans; a recipe counts the fans, then draws with one of the others.
SCALED = (
    *("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"),
    *("variance_scaling_", "lecun_uniform_", "lecun_normal_", "sine_uniform_"),
)
# Those that are one of the others with other numbers.
REWRITTEN = ("trunc_normal_tf_", "prior_bias_")
# Those that not every shape will do for, and of these the ones whose parts must fit each other.
FITTING = ("orthogonal_", "sparse_", "block_orthogonal_", "delta_orthogonal_")
STRUCTURED = (*FITTING, "eye_", "dirac_", "identity_", "bilinear_", "icnr_", "lstm_bias_")
DRAWING = ("uniform_", "normal_", "trunc_normal_", *FITTING, "icnr_")
# How many dimensions those take that do not take a matrix.
NATURAL = {**dict.fromkeys(("dirac_", "delta_orthogonal_", "bilinear_", "icnr_"), 3), "lstm_bias_": 1}


@dataclass(frozen=True)
class Fill:
    """An initializer not of ``SCALED`` or ``REWRITTEN``, its arguments in order, and the block (dim, start, length)."""

    initializer: str
    args: tuple[Value, ...] = ()
    block: tuple[int, int, int] | None = None


def block_shape(shape: Sequence[int], block: tuple[int, int, int] | None) -> list[int]:
    """The shape of a block (dim, start, length), or of the whole."""
    return list(shape) if block is None else [*shape[: block[0]], block[2], *shape[block[0] + 1 :]]


def _fanned(fans: tuple[int, int]) -> Tensor:
    return torch.empty(fans[1], fans[0], device="meta")


def _defaults(initializer: str) -> dict[str, Any]:
    parameters = inspect.signature(INITIALIZERS[initializer]).parameters
    return {name: p.default for name, p in parameters.items() if name not in ("tensor", "generator")}


def scaled(initializer: str, fans: tuple[int, int], args: dict[str, Any]) -> Fill:
    """Turn one of ``SCALED`` into the fill that draws its bits, for fans that need not be those of the shape."""
    like, args = _fanned(fans), {**_defaults(initializer), **args}
    if initializer == "sine_uniform_":
        bound = _sine_bound(like, **args)
        return Fill("uniform_", (-bound, bound))
    distribution = "uniform" if initializer.endswith("uniform_") else "normal"
    if initializer.startswith("xavier"):
        std = _xavier_std(like, **args)
    elif initializer.startswith("kaiming"):
        std = _kaiming_std(like, **args)
    else:
        if initializer.startswith("lecun"):
            args = {
                **_defaults("variance_scaling_"),
                "distribution": distribution.replace("normal", "truncated_normal"),
            }
        std, distribution = _variance_std(like, **args), args["distribution"]
    if distribution == "normal":
        return Fill("normal_", (0.0, std))
    if distribution == "truncated_normal":
        std = _untruncated(std)
        return Fill("trunc_normal_", (0.0, std, -2.0 * std, 2.0 * std))
    bound = math.sqrt(3.0) * std
    return Fill("uniform_", (-bound, bound))


def rewritten(initializer: str, args: dict[str, Any]) -> Fill:
    """Turn one of ``REWRITTEN`` into the fill that it is."""
    args = {**_defaults(initializer), **args}
    if initializer == "prior_bias_":
        return Fill("constant_", (prior_bias_(torch.empty(1, dtype=torch.float64), **args).item(),))
    return Fill("trunc_normal_", (args["mean"], *_spread_bounds(torch.empty(0, dtype=torch.float64), **args)))


def damped(fill: Fill, divisor: float, narrowed: bool) -> Fill:
    """Divide the standard deviation of a fill around zero, and the distance of the bounds if these follow it."""
    args = cast(tuple[float, ...], fill.args)
    if fill.initializer in ("uniform_", "orthogonal_", "delta_orthogonal_", "block_orthogonal_"):
        # Bounds, or a gain after or before an integer.
        return Fill(fill.initializer, tuple(x if isinstance(x, int) else x / divisor for x in args))
    if fill.initializer == "trunc_normal_" and narrowed:
        mean, std, a, b = args
        return Fill(fill.initializer, (mean, std / divisor, mean + (a - mean) / divisor, mean + (b - mean) / divisor))
    return Fill(fill.initializer, (args[0], args[1] / divisor, *args[2:]))


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
    if dtensor.is_dtensor(tensor) and not direct:
        fitting = any(fill.initializer in FITTING for fill in fills)
        return dtensor.fill_replicated_(
            tensor, door.checked_view(tensor), partial(write, fills=fills, generator=generator), broadcast=fitting
        )
    for fill in fills:
        target = tensor if fill.block is None else _unguarded(tensor).narrow(*fill.block)
        if target.is_contiguous():
            call(target, fill, generator)
        else:
            _no_grad_copy_(target, call(_unguarded(target).contiguous(), fill, generator))
    return tensor


def small(initializer: str, args: Mapping[str, Value], ndim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Make the least tensor that an initializer refuses whenever it would refuse a larger one."""
    parts = max(1, int(args.get("groups", args.get("blocks", 1))))
    if initializer == "icnr_":
        parts = max(1, int(args.get("upscale_factor", 2))) ** max(0, ndim - 2)
    elif initializer == "lstm_bias_":
        parts = 2
    shape = [2 * parts, 2, *[1] * (ndim - 2)][:ndim]
    # Parts may be many, and are checked without looking at the values.
    return torch.empty(shape, dtype=dtype, device="meta" if parts > 1 else device)


def _rehearse(tensor: Tensor, fill: Fill) -> None:
    """Raise what the fill would of a tensor of this dtype and device, on a small one."""
    args = dict(zip(_defaults(fill.initializer), fill.args))
    generator = torch.Generator(tensor.device) if fill.initializer in DRAWING else None
    call(small(fill.initializer, args, tensor.dim(), tensor.dtype, tensor.device), fill, generator)


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


def _ones_share(fill: Fill, shape: Sequence[int]) -> tuple[float, float]:
    """Say what share of a weight an identity makes other than 0, and its value there."""
    groups, gain = 1, 1.0
    if fill.initializer == "dirac_" and fill.args:
        groups = int(fill.args[0])
    elif fill.initializer == "identity_":
        gain, groups = float(fill.args[0]), int(fill.args[1])
    return groups * min(shape[0] // groups, shape[1]) / math.prod(shape), gain


def _placed_moments(fill: Fill, shape: Sequence[int]) -> tuple[float, float]:
    """Expect them of what is not drawn: a number, or few that stand between zeros."""
    name, args = fill.initializer, cast(tuple[float, ...], fill.args)
    if name == "bilinear_":
        values = bilinear_(torch.empty(1, 1, *shape[2:], dtype=torch.float64))
        share = _ones_share(Fill("dirac_", args), shape)[0] * math.prod(shape[2:])
        mean, square = share * values.mean().item(), share * values.square().mean().item()
        return mean, math.sqrt(max(0.0, square - mean * mean))
    if name in ("eye_", "dirac_", "identity_", "lstm_bias_"):
        share, value = (0.25, args[0]) if name == "lstm_bias_" else _ones_share(fill, shape)
        return share * value, abs(value) * math.sqrt(share * (1 - share))
    return {"ones_": 1.0, "zeros_": 0.0}.get(name, args[0] if args else 0.0), 0.0


def moments(fill: Fill, shape: Sequence[int]) -> tuple[float, float]:
    """Expect a mean and a standard deviation of the values that a fill gives to a tensor of this shape."""
    name, args = fill.initializer, cast(tuple[float, ...], fill.args)
    rows, columns = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
    if name == "uniform_":
        return (args[0] + args[1]) / 2, (args[1] - args[0]) / math.sqrt(12)
    if name == "normal_":
        return args[0], args[1]
    if name == "trunc_normal_":
        mean, std, a, b = args
        if std == 0.0:
            return min(b, max(a, mean)), 0.0
        middle, deviation = _truncated_moments((a - mean) / std, (b - mean) / std)
        return mean + std * middle, std * deviation
    if name == "orthogonal_":
        return 0.0, abs(args[0]) / math.sqrt(max(rows, columns))
    if name == "block_orthogonal_":
        return 0.0, abs(args[1]) / math.sqrt(max(rows // args[0], columns))
    if name == "delta_orthogonal_":
        return 0.0, abs(args[0]) * math.sqrt(shape[1] / columns * args[1] / rows)
    if name == "icnr_":
        weight = torch.empty(_shuffled(list(shape), int(args[0])), device="meta")
        return 0.0, _variance_std(weight, *fill.args[1:], None, None)  # type: ignore[arg-type, call-arg]
    if name == "sparse_":
        return 0.0, args[1] * math.sqrt(1 - math.ceil(args[0] * rows) / rows)
    return _placed_moments(fill, shape)


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
