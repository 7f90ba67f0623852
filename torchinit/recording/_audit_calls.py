"""Finds calls of initializers whose values do not have the law that the name declares, or that take the fans of another unit."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from torchinit._core.fans import fans
from torchinit._core.registry import INITIALIZERS
from torchinit.recipes._expected import Moments, moments
from torchinit.recipes._fill import ARGUMENTS, Fill, resolve
from torchinit.recording._findings import FACT, FAULT, Finding, Group, Subject
from torchinit.recording._program import Call, Entry, Operation, Program, Ref, storages
from torchinit.recording._replay import find_operator, run

# A normal draw is made of a uniform one of 24 bits, and reaches sqrt(2 * 24 * log(2)) standard deviations; a wider
# truncation cuts nothing. Of values that could go beyond, it would cut one in 100 million.
_REACH = 5.77
# Values of a chain of operators that are drawn to measure it. The standard deviation of so many is off by 0.3 %.
_SAMPLE = 65536
# Seven times that. Rounding to bfloat16 changes a standard deviation by less than 0.1 %.
_TOLERANCE = 0.02
# Operators that treat each value by itself.
_ELEMENTWISE = frozenset(
    ["uniform_", "normal_", "erfinv_", "mul_", "add_", "sub_", "div_", "neg_", "clamp_", "clamp_min_", "clamp_max_"]
    + ["fill_", "zero_", "exp_", "log_", "sqrt_", "pow_", "abs_", "tanh_", "sigmoid_", "bernoulli_", "exponential_"]
)
# The values of a draw at some probabilities.
_SPREAD: dict[str, Callable[..., Tensor]] = {
    "uniform_": lambda at, low=0.0, high=1.0: low + (high - low) * at,
    "normal_": lambda at, mean=0.0, std=1.0: mean + std * torch.special.ndtri(at),
}


def declared_law(function: str, args: Mapping[str, Any], target: Ref) -> Fill | None:
    """Return the plain initializer that torchinit's function of this name is, or None if there is none so called."""
    if function not in INITIALIZERS or args.keys() - ARGUMENTS[function].keys():
        return None
    required = {name for name, p in ARGUMENTS[function].items() if p.default is p.empty}
    if required - args.keys():
        return None
    try:
        counted = fans(list(target.size)) if INITIALIZERS[function].needs_fans else None
        return resolve(function, args, counted, target.dtype.is_complex)
    except (TypeError, ValueError, RuntimeError):
        # Arguments that torchinit's function refuses mean something else.
        return None


def wrong_laws(subject: Subject) -> Iterator[Finding]:
    """Find calls whose values do not have the law that the function's name declares."""
    operations = subject.program.labeled
    seen: dict[Any, tuple[str, str] | None] = {}
    group = Group("law")
    for number, call in subject.calls():
        key = (call.function, call.module, tuple(sorted(call.args.items(), key=str)), call.target.size)
        if key not in seen:
            seen[key] = _wrong_law(subject.program, call, operations[number])
        found = seen[key]
        if found is not None:
            what, right = found
            group.add(subject.names(call.target.storage), what, operations[number][0].place, right)
    yield from group.findings()


def _wrong_law(program: Program, call: Call, operations: list[Operation]) -> tuple[str, str] | None:
    """Say what is wrong with a call and what would be right, or return None."""
    if call.target.numel == 0:
        return None
    is_known = not call.defaults.keys() - call.args.keys() - {"generator"}
    declared = declared_law(call.function, call.args, call.target) if is_known else None
    inner = [program.calls[x.call] for x in operations if x.call is not None]
    if declared is not None and not call.is_upstreams:
        wrong = _other_law(program, call, operations, declared, inner)
        if wrong is not None:
            cuts_nothing = [x for x in inner if x is not call and _cut(declared_law(x.function, x.args, x.target))]
            why = ", since the bounds of its truncation are too far away to cut anything" if cuts_nothing else ""
            return f"{wrong}{why}", f"use torchinit.{call.function}, which has that law"
    far = _cut(declared)
    if far is None or declared is None:
        return None
    mean, std = declared.args[:2]
    text = f"{call.function}({_written(call.args)}) truncates nothing, since its bounds are {far} away"
    return text, f"use normal_({mean:.4g}, {std:.4g}), or bounds that are a few times the standard deviation"


def _cut(fill: Fill | None) -> str | None:
    """Say how far the bounds of a truncation lie that cuts nothing; None for any other fill."""
    if fill is None or fill.initializer != "trunc_normal_":
        return None
    mean, std, low, high = (arg for arg in fill.args if isinstance(arg, (int, float)))
    if std <= 0.0 or min(mean - low, high - mean) <= _REACH * std:
        return None
    return f"{min(mean - low, high - mean) / std:.4g} standard deviations"


def _written(args: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in args.items()
    )


def _other_law(
    program: Program, call: Call, operations: list[Operation], declared: Fill, inner: list[Call]
) -> str | None:
    """Compare the moments of what a call writes with those that it declares."""
    actual = _actual(program, call, operations, inner)
    if actual is None:
        return None
    (mean, std), sampled = actual
    (right_mean, right_std) = moments(declared, call.target.size, call.target.dtype.is_complex)
    # A mean that is nothing but rounding, or chance, is 0.
    mean = 0.0 if abs(mean) < _TOLERANCE * std else mean
    allowed = _TOLERANCE + (5.0 / math.sqrt(2.0 * sampled) if sampled else 0.0)
    name = f"{call.function}() of {call.module}"
    if right_std == 0.0 or std == 0.0:
        differs = abs(mean - right_mean) > allowed * abs(right_mean) or (right_std == 0.0) != (std == 0.0)
        return (
            f"{name} gives mean {mean:.4g} and std {std:.4g}, not {right_mean:.4g} and {right_std:.4g}"
            if differs
            else None
        )
    if abs(std / right_std - 1.0) > allowed:
        ratio, how = (std / right_std, "wide") if std > right_std else (right_std / std, "narrow")
        return f"{name} is {ratio:.4g} times too {how} for its name"
    if abs(mean - right_mean) > allowed * right_std:
        return f"{name} has the mean {mean:.4g}, not {right_mean:.4g}"
    return None


def _actual(program: Program, call: Call, operations: list[Operation], inner: list[Call]) -> tuple[Moments, int] | None:
    """Return the moments of what a call writes, and of how many values they were measured; 0 if computed."""
    numbers = {operation.call for operation in operations}
    if len(numbers) == 1 and inner and inner[0].target == call.target:
        fill = declared_law(inner[0].function, inner[0].args, call.target)
        return None if fill is None else (moments(fill, call.target.size, call.target.dtype.is_complex), 0)
    values = _values(program, call.target, operations)
    if values is None:
        return None
    values = values.to(torch.complex128 if values.is_complex() else torch.float64)
    return (values.real.mean().item(), values.std(correction=0).item()), values.numel()


def _values(program: Program, target: Ref, operations: list[Operation]) -> Tensor | None:
    """Run the operators of a call from a fixed seed; return None if they need more than the call, or much time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if all(_is_elementwise(operation, target) for operation in operations):
            return _sampled(target.dtype, operations)
        if target.numel > 16 * _SAMPLE or not _is_closed(operations):
            return None
        return run(program, operations).tensor(target)


def _sampled(dtype: torch.dtype, operations: list[Operation]) -> Tensor:
    """Run operators that treat each value by itself on fewer values; a single draw is that of evenly spread ones."""
    sample = torch.empty(_SAMPLE, dtype=dtype)
    single = sum(operation.random for operation in operations) == 1
    for operation in operations:
        args, kwargs = operation.given(lambda ref: sample)
        spread = _SPREAD.get(operation.operator) if single else None
        if spread is None:
            find_operator(operation.name)(*args, **kwargs)
        else:
            steps = (torch.arange(_SAMPLE, dtype=torch.float64) + 0.5) / _SAMPLE
            sample.copy_(spread(steps, *args[1:]))
    return sample


def _is_elementwise(operation: Operation, target: Ref) -> bool:
    return operation.operator in _ELEMENTWISE and operation.tensors == (target,) and operation.generator is None


def _is_closed(operations: list[Operation]) -> bool:
    """True if operators read what they made alone."""
    made: set[int] = set()
    for operation in operations:
        if operation.generator is not None or storages(operation.reads) - made:
            return False
        made |= storages(operation.made)
    return True


# Names that models give to the query, key and value projections in one tensor, and to the layers that hold it.
_PACKED = re.compile(r"(^|[._])(in_proj_weight|(w|c_)?qkv(_proj)?|query_key_value|c_attn)([._]|$)", re.IGNORECASE)
# Its own code packs three matrices and draws them as one.
_ATTENTION = "torch.nn.modules.activation.MultiheadAttention"
# The gates of torch.nn's recurrent layers, each a block of rows.
_GATES = {"torch.nn.modules.rnn.LSTM": 4, "torch.nn.modules.rnn.LSTMCell": 4}
_GATES |= {"torch.nn.modules.rnn.GRU": 3, "torch.nn.modules.rnn.GRUCell": 3}


def wrong_fans(subject: Subject) -> Iterator[Finding]:
    """Find calls that take the fans of another unit than the one that the weight is for."""
    group = Group("fans")
    places = {x.label: x.place for x in subject.live if x.label is not None}
    for number, call in subject.calls():
        if call.function not in INITIALIZERS or not INITIALIZERS[call.function].needs_fans:
            continue
        for entry in subject.entries.get(call.target.storage, ()):
            found = _wrong_fans_of(call, entry) if entry.tied is None and entry.ref == call.target else None
            if found is not None:
                severity, what, right = found
                group.add([entry.name], what, places[number], right, severity)
    yield from group.findings()


def _wrong_fans_of(call: Call, entry: Entry) -> tuple[str, str, str] | None:
    """Say how severe it is, what is wrong with the fans of a call and what would be right, or return None."""
    size = list(call.target.size)
    if len(size) < 2:
        # A library's own function may take a vector.
        return None
    fan_in, fan_out = fans(size)
    is_convolution = "conv" in f"{entry.name} {entry.module}".lower()
    # A weight of one expert, or of one input, is no stack of matrices.
    if len(size) == 3 and min(size) > 1 and not is_convolution:
        what = (
            f"{call.function}() takes its {size[0]} matrices of {size[1]}x{size[2]} for one convolution,"
            f" with fan_in {fan_in} and fan_out {fan_out}"
        )
        return FAULT, what, f"fill each matrix by itself: for matrix in weight: {call.function}(matrix)"
    parts = _parts(entry)
    if parts and len(size) == 2 and size[0] % parts == 0 and _uses_fan_out(call):
        what = f"{call.function}() takes its {parts} packed matrices for one, with fan_out {fan_out}"
        severity = FACT if entry.module == _ATTENTION else FAULT
        right = f"fill each block of {size[0] // parts} rows by itself, as weight.chunk({parts}) gives them"
        return severity, what, right
    return None


def _parts(entry: Entry) -> int:
    """Return how many matrices a weight packs along its rows; 0 for one."""
    if entry.module in _GATES:
        return _GATES[entry.module]
    size = entry.ref.size
    return 3 if _PACKED.search(entry.name) and len(size) == 2 and size[0] == 3 * size[1] else 0


def _uses_fan_out(call: Call) -> bool:
    return call.function.startswith("xavier") or str(call.args.get("mode", "fan_in")).lower() != "fan_in"
