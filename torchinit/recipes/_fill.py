"""A fill: an initializer and its arguments, for a parameter, one block of it, or each matrix that it stacks."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from torchinit import keyed
from torchinit._core import compat, dtensor
from torchinit._core.checks import check_overlap
from torchinit._core.door import checked_view
from torchinit._core.fans import fan_mode
from torchinit._core.registry import INITIALIZERS, Initializer
from torchinit._core.scale import (
    kaiming_std,
    prior_logit,
    sine_bound,
    truncated_scale,
    truncation_bounds,
    uniform_bound,
    variance_scaling_std,
    xavier_std,
)
from torchinit._core.writes import no_grad_copy_, no_grad_view
from torchinit.recipes._blocks import Block, block_shape, matrix_shape, view_block, view_matrices

Value = int | float | str | bool | tuple[float, ...] | None
Fans = tuple[int, int]

FUNCTIONS: dict[str, Callable[..., Tensor]] = {name: entry.function for name, entry in INITIALIZERS.items()}


@dataclass(frozen=True)
class Fill:
    """A plain initializer, its arguments in order, and what it fills; see :func:`resolve`.

    It fills the block at once, or each matrix by itself: those that the first ``batch_dims`` dimensions number, and
    those stored as (in, out), through a view as (out, in).
    """

    initializer: str
    args: tuple[Value, ...] = ()
    block: Block | None = None
    batch_dims: int = 0
    transposed: bool = False

    @property
    def entry(self) -> Initializer:
        """The initializer's entry in the registry."""
        return INITIALIZERS[self.initializer]

    @property
    def by_matrix(self) -> bool:
        """True if it fills each matrix by itself."""
        return self.batch_dims > 0 or self.transposed

    def matrix_shape(self, shape: Sequence[int]) -> list[int]:
        """Return the shape of what it fills at once, in a parameter of this shape."""
        return matrix_shape(block_shape(shape, self.block), self.batch_dims, self.transposed)


def _arguments(function: Callable[..., Tensor]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {name: p for name, p in parameters.items() if name not in ("tensor", "generator")}


# Each initializer's arguments: all but the tensor and the generator.
ARGUMENTS = {name: _arguments(function) for name, function in FUNCTIONS.items()}


# Resolving an initializer to the plain one that it calls.


def uniform_within(bound: float) -> Fill:
    """Return a uniform fill between ``-bound`` and ``bound``."""
    return Fill("uniform_", (-bound, bound))


def _zero_mean(distribution: str, std: float) -> Fill:
    """Return a fill of mean 0 with this standard deviation."""
    if distribution == "uniform":
        return uniform_within(uniform_bound(std))
    if distribution == "normal":
        return Fill("normal_", (0.0, std))
    scale = truncated_scale(std)
    return Fill("trunc_normal_", (0.0, scale, -2.0 * scale, 2.0 * scale))


def _kaiming(distribution: str, fans: Fans, a: float, mode: str, nonlinearity: str) -> Fill:
    fan = fans[0] if fan_mode(mode) == "fan_in" else fans[1]
    return _zero_mean(distribution, kaiming_std(fan, a, nonlinearity))


def _variance_scaling(
    fans: Fans, scale: float, mode: str, distribution: str, fan_in: int | None = None, fan_out: int | None = None
) -> Fill:
    return _zero_mean(distribution, variance_scaling_std(fan_in or fans[0], fan_out or fans[1], scale, mode.lower()))


# Initializers that need fans, and aliases, which ignore them.
_RESOLVERS: dict[str, Callable[..., Fill]] = {
    "xavier_uniform_": lambda fans, gain: _zero_mean("uniform", xavier_std(fans[0], fans[1], gain)),
    "xavier_normal_": lambda fans, gain: _zero_mean("normal", xavier_std(fans[0], fans[1], gain)),
    "kaiming_uniform_": partial(_kaiming, "uniform"),
    "kaiming_normal_": partial(_kaiming, "normal"),
    "variance_scaling_": _variance_scaling,
    "lecun_uniform_": partial(_variance_scaling, scale=1.0, mode="fan_in", distribution="uniform"),
    "lecun_normal_": partial(_variance_scaling, scale=1.0, mode="fan_in", distribution="truncated_normal"),
    "sine_uniform_": lambda fans, **given: uniform_within(sine_bound(fans[0], **given)),
    "trunc_normal_tf_": lambda fans, mean, **given: Fill("trunc_normal_", (mean, *truncation_bounds(mean, **given))),
    "prior_bias_": lambda fans, prior: Fill("constant_", (prior_logit(prior),)),
}
# Initializers whose complex uniform values share the variance between both parts; those of upstream do not.
_SHARED = ("variance_scaling_", "lecun_uniform_")


def resolve(initializer: str, args: Mapping[str, Value], fans: Fans | None = None, is_complex: bool = False) -> Fill:
    """Resolve an initializer to a plain fill that draws the same; ``fans`` may differ from those of the shape."""
    given: dict[str, Any] = {name: args.get(name, p.default) for name, p in ARGUMENTS[initializer].items()}
    if initializer not in _RESOLVERS:
        return Fill(initializer, tuple(given.values()))
    fill = _RESOLVERS[initializer](fans, **given)
    if is_complex and initializer in _SHARED and fill.initializer == "uniform_":
        bound: Any = fill.args[1]
        return uniform_within(bound / math.sqrt(2.0))
    return fill


def scale_residual(fill: Fill, divisor: float, with_bounds: bool) -> Fill:
    """Divide the standard deviation of a fill, and ``with_bounds`` also the distance of the bounds from the mean."""
    args: dict[str, Any] = dict(zip(ARGUMENTS[fill.initializer], fill.args))
    for name in ("a", "b") if fill.initializer == "uniform_" else ("std", "gain"):
        if name in args:
            args[name] /= divisor
    if "scale" in args:
        args["scale"] /= divisor**2
    if fill.initializer == "trunc_normal_" and with_bounds:
        for name in ("a", "b"):
            args[name] = args["mean"] + (args[name] - args["mean"]) / divisor
    return replace(fill, args=tuple(args.values()))


# Writing a fill.


def call(tensor: Tensor, fill: Fill, generator: torch.Generator | None) -> Tensor:
    """Run one fill on the whole of a tensor."""
    own = {"generator": generator} if fill.entry.draws else {}
    return FUNCTIONS[fill.initializer](tensor, *fill.args, **own)


def write(tensor: Tensor, fills: Sequence[Fill], generator: torch.Generator | None) -> Tensor:
    """Run the fills of one parameter in order.

    A non-contiguous tensor is drawn in index order, so that the memory format does not change the weights.
    """
    direct = tensor.is_contiguous() and all(fill.block is None and not fill.by_matrix for fill in fills)
    if dtensor.is_dtensor(tensor) and not direct:
        indivisible = any(fill.entry.indivisible for fill in fills)
        again = partial(write, fills=fills, generator=generator)
        return dtensor.fill_replicated_(tensor, checked_view(tensor), again, broadcast=indivisible)
    for fill in fills:
        target = tensor if fill.block is None else view_block(no_grad_view(tensor), *fill.block)
        if fill.block is not None and fill.block.period > 0:
            # The pieces are drawn as one matrix.
            joined = target.flatten(fill.block.dim, fill.block.dim + 1).contiguous()
            _write_matrices(joined, fill, generator)
            no_grad_copy_(target, joined.view_as(target))
        else:
            _write_matrices(target, fill, generator)
    return tensor


def _write_matrices(target: Tensor, fill: Fill, generator: torch.Generator | None) -> None:
    """Run a fill on each matrix of a block in index order, or on the block at once."""
    stack = no_grad_view(target) if fill.by_matrix else target
    for matrix in view_matrices(stack, fill.batch_dims, fill.transposed):
        if matrix.is_contiguous():
            call(matrix, fill, generator)
        else:
            no_grad_copy_(matrix, call(no_grad_view(matrix).contiguous(), fill, generator))


def _minimal_tensor(
    initializer: str, args: Mapping[str, Value], ndim: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return a small tensor that an initializer refuses whenever it refuses a larger one."""
    given: dict[str, Any] = dict(args)
    rows, columns = 2 * max(1, given.get("groups", given.get("blocks", 1))), 2
    if initializer == "icnr_":
        rows = 2 * max(1, given.get("upscale_factor", 2)) ** max(0, ndim - 2)
    elif initializer == "lstm_bias_":
        rows = 4
    elif initializer == "rotary_inv_freq_":
        rows = len(given.get("factors") or (0, 0))
    elif initializer == "alibi_slopes_":
        columns = 1
    shape = [rows, columns, *[1] * (ndim - 2)][:ndim]
    if initializer == "sinusoidal_" and ndim > 1:
        shape = [max(2, abs(given.get("padding_idx") or 0) + 1), *[1] * (ndim - 2), 4]
    # Many rows would take memory, and their checks need no values.
    return torch.empty(shape, dtype=dtype, device="meta" if shape and shape[0] > 2 else device)


def rehearse(
    initializer: str, args: Mapping[str, Value], ndim: int, dtype: torch.dtype, device: torch.device, by_key: bool
) -> None:
    """Run an initializer on a minimal tensor, to raise its errors; no mode, transform or exporter sees it."""
    if is_dynamo_compiling():
        # Its graph would keep the draws.
        return
    with compat.plain_eager():
        tensor = _minimal_tensor(initializer, args, ndim, dtype, device)
        if not INITIALIZERS[initializer].draws:
            FUNCTIONS[initializer](tensor, **args)
        elif by_key:
            getattr(keyed, initializer)(tensor, keyed.key(0), **args)
        else:
            FUNCTIONS[initializer](tensor, **args, generator=torch.Generator(device))


@contextmanager
def _naming(parameter: str) -> Iterator[None]:
    """Add a parameter's name to the first line of an error."""
    try:
        yield
    except Exception as error:
        first, end, rest = str(error).partition("\n")
        error.args = (f"{first} (parameter {parameter}){end}{rest}",)
        raise


def dry_run(targets: Iterable[tuple[str, Tensor, Sequence[Fill]]], by_key: bool = False) -> None:
    """Raise the errors of all writes, with the parameter's name, before the first write.

    Each kind of fill runs on a minimal tensor, by key if that is how it will be drawn.
    """
    seen = set()
    for name, tensor, fills in targets:
        if tensor.is_meta:
            continue
        with _naming(name):
            no_grad_view(tensor)
            check_overlap(tensor)
            # A fake tensor may lie on a device that the machine lacks.
            device = torch.device("cpu") if isinstance(tensor, compat.FakeTensor) else tensor.device
            for fill in fills:
                kind = (fill.initializer, fill.args, tensor.dim() - fill.batch_dims, tensor.dtype, device)
                if kind not in seen:
                    seen.add(kind)
                    rehearse(fill.initializer, dict(zip(ARGUMENTS[fill.initializer], fill.args)), *kind[2:], by_key)
