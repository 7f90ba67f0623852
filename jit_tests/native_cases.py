"""Render the calls of the record table as C++, and make each of them in Python."""

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import torchinit
from jit_tests.scripting import last_line, rounded
from tests.support.keyed_records import CALLS as KEYED_CALLS, REFUSALS as KEYED_REFUSALS
from tests.support.layouts import LAYOUTS
from tests.support.outcome import GENERATOR_SEED, SEED
from tests.support.records import CALLS, REFUSALS
from tools import native
from tools.codegen.deployed import PREFIX, deployed, mobile
from tools.codegen.functions import NONLINEARITY, TABLE
from tools.codegen.model import Function
from torchinit import keyed

METHODS = {function.name: function for function in deployed(TABLE)}


@dataclass(frozen=True)
class Case:
    """A call of one method, and the tensors to fill with it."""

    name: str
    arguments: dict[str, Any]
    tensors: tuple[Tensor, ...]
    with_generator: bool = False

    def __str__(self) -> str:
        words = [f"{k}={v}" for k, v in self.arguments.items()] + ["generator"] * self.with_generator
        return f"{self.name}({', '.join(words)})"


def _cases() -> list[Case]:
    cases = []
    for record, arguments in CALLS:
        layouts = [LAYOUTS[name](record.shape, torch.float32) for name in ("contiguous", "transposed")]
        dtypes = [LAYOUTS["contiguous"](record.shape, dtype) for dtype in (torch.float64, torch.bfloat16)]
        for with_generator in (False, True) if record.takes_generator else (False,):
            cases.append(Case(record.name, arguments, (*layouts, *dtypes, torch.zeros(0, 4)), with_generator))
    cases += [Case(r.name, refusal.arguments, (refusal.tensor(),)) for r, refusal in REFUSALS if refusal.scripts]
    nothing = (torch.zeros(()),)
    cases += [Case("calculate_gain", {"nonlinearity": name}, nothing) for name in (*NONLINEARITY.values, "maxout")]
    cases += [Case("calculate_gain", {"nonlinearity": "leaky_relu", "param": slope}, nothing) for slope in (2.0, 0.2)]
    for name, given in (("elu", 0.5), ("celu", 3.0), ("hardtanh", 2.0), ("sine", 30.0), ("elu", -1.0), ("gelu", 1.0)):
        cases.append(Case("calculate_gain", {"nonlinearity": name, "param": given}, nothing))
    for size, groups, transposed in (([6, 4, 3], 2, False), ([6, 4, 3], 3, True), ([5, 2], 1, True), ([5], 1, False)):
        cases.append(Case("fans", {"size": size, "groups": groups, "transposed": transposed}, nothing))
    cases += [Case("depth_scaled_std", {"std": 0.02, "layers": layers}, nothing) for layers in (12, 0)]
    weights = (torch.zeros(3, 5), torch.zeros(6, 4, 3, 2), torch.zeros(2, 0, 3), torch.zeros(3))
    cases.append(Case("_calculate_fan_in_and_fan_out", {}, weights))
    cases += [Case("_calculate_correct_fan", {"mode": mode}, weights) for mode in ("fan_in", "FAN_OUT", "fan")]
    return [case for case in cases if case.name in METHODS] + _keyed_cases()


# The key of every keyed call, derived by name in Python and in C++.
KEY = keyed.fold_in(keyed.key(-42), "größe.0")
_KEY = 'init.fold_in(init.key(-42), "größe.0")'


def _keyed_cases() -> list[Case]:
    """List the keyed calls: whole tensors, a piece of one, and calls that raise."""
    cases = []
    for call in KEYED_CALLS:
        layouts = [LAYOUTS[name](call.shape, torch.float32) for name in ("contiguous", "transposed")]
        dtypes = [LAYOUTS["contiguous"](call.shape, dtype) for dtype in (torch.float64, torch.bfloat16)]
        large = (torch.zeros(call.weight_shape(180, 160)),) if call.arguments == call.record.calls[0] else ()
        given = {"key": KEY, **call.arguments}
        cases.append(Case(f"{PREFIX}{call.name}", given, (*layouts, *dtypes, torch.zeros(0, 4), *large)))
        pieces = (torch.zeros(call.weight_shape(5, 7)), torch.zeros(call.weight_shape(50, 7)))
        cases.append(Case(f"{PREFIX}{call.name}", {**given, **call.piece()}, pieces))
    for call, refusal in KEYED_REFUSALS:
        if refusal.scripts:
            cases.append(Case(f"{PREFIX}{call.name}", {"key": KEY, **refusal.arguments}, (refusal.tensor(),)))
    nothing = (torch.zeros(()),)
    cases += [Case("key", {"seed": seed}, nothing) for seed in (0, -5, 2**62)]
    cases += [Case("split", {"key": KEY, "n": n}, nothing) for n in (0, 3, -1)]
    cases += [Case("fold_in", {"key": KEY, "data": data}, nothing) for data in (0, 2**62, -7)]
    return cases + [Case("fold_in_name", {"key": KEY, "data": name}, nothing) for name in ("", "a.weight", "größe")]


CASES = _cases()


def _literal(value: Any) -> str:
    """Render an argument as C++. A whole float becomes an integer, so that C++ must convert it."""
    if value is None:
        return "std::nullopt"
    if isinstance(value, Tensor):
        return _KEY
    if isinstance(value, list):
        kind = "double" if any(isinstance(number, float) for number in value) else "std::int64_t"
        return f"std::vector<{kind}>{{{', '.join(map(str, value))}}}"
    if isinstance(value, str):
        return f'"{value}"'
    if math.isnan(value):
        return "kNan"
    if math.isinf(value):
        return "kInf" if value > 0 else "-kInf"
    if isinstance(value, bool):
        return repr(value).lower()
    return repr(int(value)) if value == int(value) and abs(value) < 1e9 else repr(value)


def _call(case: Case, function: Function) -> str:
    """Render the call without the trailing arguments that C++ defaults."""
    passed: list[str] = []
    for argument in reversed(function.arguments):
        if argument.name == "tensor":
            passed.append("tensor")
        elif argument.name in ("generator", "seed") and case.with_generator:
            passed.append("source")
        elif argument.name in case.arguments:
            passed.append(_literal(case.arguments[argument.name]))
        elif passed:
            default = argument.python_default or ""
            passed.append({"None": "std::nullopt", "False": "false", "True": "true"}.get(default, default))
    return f"init.{function.name.removesuffix('_name')}({', '.join(reversed(passed))})"


def _lambda(case: Case, source: str, function: Function) -> str:
    tensor = "tensor" if any(argument.name == "tensor" for argument in function.arguments) else ""
    init = f"const torchinit::{'Init' if source == 'Generator' else 'MobileInit'}& init"
    unused = f"const {source}&{' source' if case.with_generator else ''}"
    body = f"return result({_call(case, function)});"
    return f"      []({init}, const at::Tensor& {tensor}, {unused}) {{ {body} }},"


@functools.cache
def program() -> Path:
    text = Path(__file__).with_name("parity.cpp.in").read_text()
    parts = {
        "SEED": str(SEED),
        "GENERATOR_SEED": str(GENERATOR_SEED),
        "SCRIPT_CASES": "\n".join(_lambda(case, "Generator", METHODS[case.name]) for case in CASES),
        "MOBILE_CASES": "\n".join(_lambda(case, "Seed", mobile(METHODS[case.name])) for case in CASES),
    }
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return native.program(text)


def _in_python(function: Function) -> Callable[..., Any]:
    module = keyed if function.family.startswith("keyed.") else torchinit
    called: Callable[..., Any] = getattr(module, function.name.removeprefix(PREFIX).removesuffix("_name"))
    return called


def in_python(case: Case, tensor: Tensor) -> dict[str, Any]:
    """Make the call in eager Python and report the fields that the program reports."""
    torch.default_generator.manual_seed(SEED)
    arguments = dict(case.arguments)
    if case.with_generator:
        arguments["generator"] = torch.Generator().manual_seed(GENERATOR_SEED)
    if any(argument.name == "tensor" for argument in METHODS[case.name].arguments):
        arguments["tensor"] = tensor.clone()
    kind, message, returned = "", "", None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = _in_python(METHODS[case.name])(**arguments)
            returned = value if isinstance(value, Tensor) else torch.tensor(value)
            if isinstance(value, float) or case.name == "calculate_gain":
                # Only eager returns the gain of a linear layer as an int.
                returned = torch.tensor(value, dtype=torch.float64)
        except (ValueError, NotImplementedError, RuntimeError) as error:
            kind, message = type(error).__name__, rounded(last_line(error))
    return {
        "type": kind,
        "message": message,
        "warnings": [str(warning.message) for warning in caught],
        "returned": returned,
        "next": torch.rand(1),
    }
