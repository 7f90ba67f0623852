"""Sections that measure: times against upstream, bandwidth, whole models, and distances from the CPU's values."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import torchinit
from tools.bench.__main__ import row
from tools.bench.cases import of_sides
from tools.bench.measure import Fill, Timing, measure
from tools.bench.parameters import LARGE_MODELS, Parameter
from tools.gpu.sections import Findings, Row, Settings
from torchinit import keyed
from torchinit.recipes import Recipe, Rule


def _timed(fills: Sequence[Fill], targets: list[Tensor], settings: Settings) -> list[Timing]:
    # A call of half a second is timed once.
    return measure(fills, targets, settings.seconds, fewest=3, slow=500.0)


def functions(settings: Settings, findings: Findings) -> None:
    """Time each function against ``torch.nn.init``; the rows have the form of the benchmark's."""
    for case in findings.within_time(of_sides(settings.device, settings.sides)):

        def work(case: Any = case) -> Row:
            return row(case, 1, *_timed((case.theirs, case.ours), case.targets(), settings))

        findings.measure({"function": case.function, "shape": case.shape, "dtype": case.dtype}, work)


def _compiled(function: Callable[..., Tensor], key: Tensor) -> Callable[[Tensor], Tensor]:
    def fill(tensor: Tensor) -> Tensor:
        with keyed.compiled():
            return function(tensor, key)

    return fill


def _writers(settings: Settings) -> dict[str, Callable[[Tensor], object]]:
    # Eager code would copy a key on the CPU at each call, and wait for the GPU.
    key, own = keyed.key(0), keyed.key(0).to(settings.device)
    return {
        "Tensor.zero_": Tensor.zero_,
        "Tensor.uniform_": Tensor.uniform_,
        "Tensor.normal_": Tensor.normal_,
        "trunc_normal_": torchinit.trunc_normal_,
        "keyed.uniform_": partial(keyed.uniform_, key=own),
        "keyed.normal_": partial(keyed.normal_, key=own),
        "keyed.uniform_, compiled": _compiled(keyed.uniform_, key),
        "keyed.normal_, compiled": _compiled(keyed.normal_, key),
        "keyed.trunc_normal_, compiled": _compiled(keyed.trunc_normal_, key),
    }


def bandwidth(settings: Settings, findings: Findings) -> None:
    """Compare the bytes that a fill writes in a second with those that a copy reads and writes."""
    writers = _writers(settings)
    for name in ("keyed.uniform_, compiled", "keyed.normal_, compiled"):
        begin = time.perf_counter()
        writers[name](torch.empty(65536, device=settings.device)).sum().item()  # type: ignore[attr-defined]
        findings.add(call=f"first {name}", seconds=time.perf_counter() - begin)
    for side, dtype in itertools.product(settings.sides, (torch.float32, torch.bfloat16)):
        target = torch.zeros(side, side, dtype=dtype, device=settings.device)
        source = torch.zeros_like(target)
        copying = _timed([lambda t, s=source: t[0].copy_(s)], [target], settings)[0]  # type: ignore[misc]
        copied = 2 * target.nbytes / copying.median * 1e3
        label = {"shape": f"{side}x{side}", "dtype": str(dtype).removeprefix("torch.")}
        findings.add(**label, call="Tensor.copy_", **vars(copying), bytes_per_second=copied, of_copy=1.0)
        for name, fill in findings.within_time(list(writers.items())):

            def work(fill: Any = fill, target: Tensor = target, copied: float = copied) -> Row:
                timing = _timed([lambda t: fill(t[0])], [target], settings)[0]
                written = target.nbytes / timing.median * 1e3
                return {**vars(timing), "bytes_per_second": written, "of_copy": written / copied}

            findings.measure({**label, "call": name}, work)


def module_of(tensors: dict[str, Tensor]) -> nn.Module:
    """Make a model with parameters of these names."""
    model = nn.Module()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        module = model
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
    return model


def _fill_by_key(parameters: dict[str, Parameter], targets: list[Tensor]) -> None:
    key = keyed.key(0)
    with keyed.compiled():
        for target, (name, (function, arguments, _)) in zip(targets, parameters.items(), strict=True):
            if hasattr(keyed, function):
                getattr(keyed, function)(target, keyed.fold_in(key, name), **arguments)
            else:
                getattr(torchinit, function)(target, **arguments)


def _fill_in_order(init: Any, parameters: dict[str, Parameter], targets: list[Tensor]) -> None:
    for target, (function, arguments, _) in zip(targets, parameters.values(), strict=True):
        getattr(init, function)(target, **arguments)


_LLAMA = Recipe([Rule("ones_", name="*norm.weight"), Rule("normal_", args={"std": 0.02})], name="llama")


def _model(name: str, settings: Settings) -> Row:
    parameters = LARGE_MODELS[name]()
    tensors = {
        entry: torch.zeros(shape, dtype=torch.bfloat16, device=settings.device)
        for entry, (_, _, shape) in parameters.items()
    }
    model, key = module_of(tensors), keyed.key(0)
    ways: dict[str, Fill] = {
        "torch.nn.init": partial(_fill_in_order, torch.nn.init, parameters),
        "torchinit": partial(_fill_in_order, torchinit, parameters),
        "by key, compiled": partial(_fill_by_key, parameters),
        "recipe by key, compiled": lambda targets: _LLAMA.apply_(model, key=key, compile=True),
    }
    timings = _timed(list(ways.values()), list(tensors.values()), settings)
    values = sum(tensor.numel() for tensor in tensors.values())
    return {"values": values, **{way: vars(timing) for way, timing in zip(ways, timings, strict=True)}}


def models(settings: Settings, findings: Findings) -> None:
    """Time whole lists of parameters in bfloat16."""
    for name in findings.within_time(settings.models):
        findings.measure({"model": name}, partial(_model, name, settings))


_ARGUMENTS: dict[str, dict[str, Any]] = {"sparse_": {"sparsity": 0.4}, "block_orthogonal_": {"blocks": 2}}
_KERNELS = ("delta_orthogonal_", "icnr_")


def ulps(values: Tensor, expected: Tensor) -> float:
    """Return the greatest distance in units of the last place of the expected value."""
    info, expected = torch.finfo(expected.dtype), expected.double()
    step = torch.ldexp(torch.full_like(expected, info.eps), torch.frexp(expected).exponent - 1)
    return float(((values.double() - expected).abs() / step.clamp(min=info.smallest_normal * info.eps)).max())


def _distance(name: str, dtype: torch.dtype, settings: Settings) -> Row:
    shape = (512, 64, 3) if name in _KERNELS else (min(1024, settings.sides[0]), 257)
    key = torch.tensor([42, 2**32 - 3])

    def drawn(device: str) -> Tensor:
        tensor = torch.zeros(shape, dtype=dtype, device=device)
        return getattr(keyed, name)(tensor, key, **_ARGUMENTS.get(name, {})).cpu()  # type: ignore[no-any-return]

    expected, eager = drawn("cpu"), drawn(settings.device)
    with keyed.compiled():
        compiled = drawn(settings.device)
    found: Row = {}
    for way, values, other in (("cpu", eager, expected), ("compiled", compiled, eager)):
        found[f"{way}_unequal"] = int((values != other).sum())
        found[f"{way}_ulps"] = ulps(values, other)
        found[f"{way}_absolute"] = float((values.double() - other.double()).abs().max())
    return {"values": math.prod(shape), **found}


def _calls() -> Iterator[tuple[str, torch.dtype]]:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for name in keyed.__all__:
            if name.endswith("_"):
                yield name, dtype


def distances(settings: Settings, findings: Findings) -> None:
    """Compare keyed values with the CPU's, and those of the compiled kernels with eager's."""
    for name, dtype in findings.within_time(list(_calls())):
        label = {"function": name, "dtype": str(dtype).removeprefix("torch.")}
        findings.measure(label, partial(_distance, name, dtype, settings))
