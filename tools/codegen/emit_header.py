"""Renders ``torchinit/include/torchinit/init.h``: the typed methods of the C++ classes, in their template."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tools.codegen.deployed import PREFIX, deployed, interface, mobile
from tools.codegen.docstrings import Docstring, docstring, plain
from tools.codegen.keyed import FAMILY, keyed_docstring
from tools.codegen.model import Argument, Function

PATH = "torchinit/include/torchinit/init.h"

_TEMPLATE = Path(__file__).with_name("init.h.in")

_PARAMETER_TYPES = {
    "Tensor": "const at::Tensor&",
    "float": "double",
    "int": "const detail::Integer&",
    "str": "const std::string&",
    "bool": "bool",
    "Generator?": "const std::optional<at::Generator>&",
    "float?": "std::optional<double>",
    "int?": "const std::optional<detail::Integer>&",
    "int[]": "const std::vector<std::int64_t>&",
    "int[]?": "const std::optional<std::vector<std::int64_t>>&",
}
_DEFAULTS = {"None": "std::nullopt", "True": "true", "False": "false"}
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
_INTEGRAL = """\
  template <typename Value, typename = std::enable_if_t<std::is_integral_v<Value> && !std::is_same_v<Value, bool>>>
"""
_SEED = "of a generator that this call alone draws from (default: the global generator of the tensor's device)"


def _default(argument: Argument) -> str:
    text = _DEFAULTS.get(argument.default or "", argument.python_default)
    return "" if text is None else f" = {text}"


def _comment(lines: list[str]) -> str:
    wrapped = [part for line in lines for part in (textwrap.wrap(line, 113, subsequent_indent="  ") or [""])]
    return "".join(f"  /// {line}".rstrip() + "\n" for line in wrapped)


def _said(function: Function, siblings: Mapping[str, Function]) -> Docstring:
    if function.family == FAMILY:
        return keyed_docstring(function, siblings[function.name.removeprefix(PREFIX)])
    return docstring(replace(function, name=function.name.removesuffix("_name")))


def _describe(function: Function, siblings: Mapping[str, Function]) -> str:
    text = _said(function, siblings)
    lines = [text.summary, ""]
    for argument in function.arguments:
        about = text.arguments.get(argument.name, _SEED)
        if argument.name in function.choices:
            values = ", ".join(f'"{value}"' for value in function.choices[argument.name].values)
            about += f"; one of {values}"
        lines.append(f"@param {argument.name} {about}")
    lines.append(f"@return {text.returns}")
    lines += [f"@throws {_EXCEPTIONS[name]} {when}" for name, when in text.raises.items()]
    return _comment(list(map(plain, lines)))


def _method(index: int, function: Function, siblings: Mapping[str, Function], overloaded: bool) -> str:
    returns, convert = _RETURNS[function.returns]
    written = "tensor" if function.returns == "Tensor" else ""
    # What takes a number or a name is one method here, and two in the archive.
    name = function.name.removesuffix("_name")
    parameters = [f"{_PARAMETER_TYPES[a.type]} {a.name}{_default(a)}" for a in function.arguments]
    passed = [
        f"detail::{'target' if a.name == written else 'operand'}({a.name})" if a.type == "Tensor" else a.name
        for a in function.arguments
    ]
    head = f"  {returns} {name}({', '.join(parameters)}) const {{\n"
    if len(head) > 120:
        head = f"  {returns} {name}(\n" + ",\n".join(f"      {p}" for p in parameters) + ") const {\n"
    if overloaded:
        # NB: a literal 0 would convert to a string as well as to an Integer.
        head = _INTEGRAL + head.replace("const detail::Integer& data", "Value data")
        passed = [f"detail::Integer({argument})" if argument == "data" else argument for argument in passed]
    return (
        f"\n{_describe(function, siblings)}{head}    return call({', '.join([str(index), *passed])}){convert};\n  }}\n"
    )


def _methods(functions: Sequence[Function], siblings: Mapping[str, Function]) -> str:
    names = {function.name for function in functions}
    return "".join(_method(i, f, siblings, f"{f.name}_name" in names) for i, f in enumerate(functions))


def render(functions: Sequence[Function]) -> str:
    chosen, siblings = deployed(functions), {function.name: function for function in functions}
    parts = {
        "INTERFACE": interface(functions),
        "COUNT": str(len(chosen)),
        "NAMES": "\n".join(f'    "{function.name}",' for function in chosen),
        "METHODS": _methods(chosen, siblings),
        "MOBILE_METHODS": _methods([mobile(function) for function in chosen], siblings),
    }
    text = _TEMPLATE.read_text()
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text
