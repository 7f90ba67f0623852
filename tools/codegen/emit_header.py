"""Renders ``torchinit/include/torchinit/init.h``: the typed methods of the C++ classes, in their template."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from tools.codegen.deployed import deployed, interface, mobile
from tools.codegen.docstrings import docstring
from tools.codegen.model import Argument, Function

PATH = "torchinit/include/torchinit/init.h"

_TEMPLATE = Path(__file__).with_name("init.h.in")

_PARAMETER_TYPES = {
    "Tensor": "const at::Tensor&",
    "float": "double",
    "int": "const detail::Integer&",
    "str": "const std::string&",
    "Generator?": "const std::optional<at::Generator>&",
    "float?": "std::optional<double>",
    "int?": "const std::optional<detail::Integer>&",
}
# A result's type, and how an IValue becomes it.
_RETURNS = {
    "Tensor": ("at::Tensor", ".toTensor()"),
    "float": ("double", ".toDouble()"),
    "int": ("std::int64_t", ".toInt()"),
    "((int, int))": (
        "std::tuple<std::int64_t, std::int64_t>",
        ".to<std::tuple<std::int64_t, std::int64_t>>()",
    ),
}
# The error of TorchScript and of Python, and the exception that carries it.
_EXCEPTIONS = {
    "ValueError": "c10::ValueError",
    "NotImplementedError": "c10::NotImplementedError",
    "RuntimeError": "c10::Error",
}
_SEED = "of a generator that this call alone draws from (default: the global generator of the tensor's device)"


def _default(argument: Argument) -> str:
    text = "std::nullopt" if argument.default == "None" else argument.python_default
    return "" if text is None else f" = {text}"


def _comment(lines: list[str]) -> str:
    wrapped = [part for line in lines for part in (textwrap.wrap(line, 113, subsequent_indent="  ") or [""])]
    return "".join(f"  /// {line}".rstrip() + "\n" for line in wrapped)


def _describe(function: Function) -> str:
    text = docstring(function)
    lines = [text.summary, ""]
    for argument in function.arguments:
        about = text.arguments.get(argument.name, _SEED)
        if argument.name in function.choices:
            values = ", ".join(f'"{value}"' for value in function.choices[argument.name].values)
            about += f"; one of {values}"
        lines.append(f"@param {argument.name} {about}")
    lines.append(f"@return {text.returns}")
    lines += [f"@throws {_EXCEPTIONS[name]} {when}" for name, when in text.raises.items()]
    return _comment(lines)


def _method(index: int, function: Function) -> str:
    returns, convert = _RETURNS[function.returns]
    check = "target" if function.returns == "Tensor" else "operand"
    parameters = [f"{_PARAMETER_TYPES[a.type]} {a.name}{_default(a)}" for a in function.arguments]
    passed = [f"detail::{check}({a.name})" if a.type == "Tensor" else a.name for a in function.arguments]
    head = f"  {returns} {function.name}({', '.join(parameters)}) const {{\n"
    if len(head) > 120:
        head = f"  {returns} {function.name}(\n" + ",\n".join(f"      {p}" for p in parameters) + ") const {\n"
    return f"\n{_describe(function)}{head}    return call({', '.join([str(index), *passed])}){convert};\n  }}\n"


def _methods(functions: Sequence[Function]) -> str:
    return "".join(_method(index, function) for index, function in enumerate(functions))


def render(functions: Sequence[Function]) -> str:
    chosen = deployed(functions)
    parts = {
        "INTERFACE": interface(functions),
        "COUNT": str(len(chosen)),
        "NAMES": "\n".join(f'    "{function.name}",' for function in chosen),
        "METHODS": _methods(chosen),
        "MOBILE_METHODS": _methods([mobile(function) for function in chosen]),
    }
    text = _TEMPLATE.read_text()
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text
