"""Renders the C++ header: the typed methods of its classes, in the template ``init.h.in``."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tools.codegen.deployed import PREFIX, deployed, interface
from tools.codegen.docstrings import docstring, plain
from tools.codegen.keyed import FAMILY
from tools.codegen.model import Argument, Function
from tools.codegen.python_source import WIDTH

PATH = "torchinit/deploy/package/include/torchinit/init.h"

_TEMPLATE = Path(__file__).with_name("init.h.in")

_PARAMETER_TYPES = {
    "Tensor": "const at::Tensor&",
    "float": "double",
    "int": "const detail::Integer&",
    "str": "const std::string&",
    "bool": "bool",
    "Generator?": "const Random&",
    "float?": "std::optional<double>",
    "int?": "const std::optional<detail::Integer>&",
    "int[]": "const std::vector<std::int64_t>&",
    "int[]?": "const detail::Sizes&",
    "float[]?": "const detail::Numbers&",
}
_DEFAULTS = {"None": "std::nullopt", "True": "true", "False": "false"}
# The C++ type of a result, and the conversion from an IValue.
_RETURNS = {
    "Tensor": ("at::Tensor", ".toTensor()"),
    "float": ("double", ".toDouble()"),
    "int": ("std::int64_t", ".toInt()"),
    "((int, int))": ("detail::Fans", ".template to<detail::Fans>()"),
}
_INTEGRAL = """\
  template <typename Value, typename = std::enable_if_t<std::is_integral_v<Value> && !std::is_same_v<Value, bool>>>
"""
# Arguments that the comment of the class describes.
_COMMON = ("tensor", "generator")


def _wrapped(words: Iterable[str], indent: str, hanging: str) -> str:
    """Fill lines with words, which may contain spaces."""
    lines, line = [], indent
    for word in words:
        if len(line) + len(word) >= WIDTH and line.strip():
            lines.append(line.rstrip())
            line = hanging
        line += word + " "
    return "\n".join([*lines, line.rstrip()]) + "\n"


def _as_overload(function: Function) -> Function:
    """Drop the suffix of a method that takes a name, which is an overload in C++."""
    return replace(function, name=function.name.removesuffix("_name"))


def _comment(function: Function) -> str:
    if function.family == FAMILY:
        return f"  /// {function.name.removeprefix(PREFIX)}, drawn from a key.\n"
    text = docstring(_as_overload(function))
    lines = [text.summary]
    for argument in function.arguments:
        if argument.name not in _COMMON:
            about = text.arguments[argument.name]
            values = function.choices[argument.name].values if argument.name in function.choices else ()
            # calculate_gain documents its own values, and other functions refer to it.
            if not all(value in about for value in values) and "calculate_gain" not in about:
                about += f"; one of {', '.join(values)}"
            lines.append(f"@param {argument.name} {about}")
    if function.arguments[0].name != "tensor" or function.returns != "Tensor":
        lines.append(f"@return {text.returns.partition(';')[0]}")
    return "".join(_wrapped(plain(line).split(), "  /// ", "  ///   ") for line in lines)


def _parameter(argument: Argument) -> str:
    default = _DEFAULTS.get(argument.default or "", argument.python_default)
    name = "random" if argument.type == "Generator?" else argument.name
    return f"{_PARAMETER_TYPES[argument.type]} {name}" + ("" if default is None else f" = {default}")


def _method(index: int, function: Function, overloaded: bool) -> str:
    returns, convert = _RETURNS[function.returns]
    # A tensor to write to needs more checks than one to read.
    written = "tensor" if function.returns == "Tensor" else ""
    passed = [str(index)]
    for argument in function.arguments:
        name = "random" if argument.type == "Generator?" else argument.name
        check = "target" if argument.name == written else "operand"
        passed.append(f"detail::{check}({name})" if argument.type == "Tensor" else name)
    start = f"  {returns} {_as_overload(function).name}("
    parameters = [f"{_parameter(argument)}," for argument in function.arguments]
    parameters[-1] = parameters[-1].removesuffix(",") + ") const {"
    head = f"{start}{' '.join(parameters)}\n"
    if len(head) > WIDTH + 1:
        head = f"{start}\n{_wrapped(parameters, ' ' * 6, ' ' * 6)}"
    if overloaded:
        # NB: a literal 0 would convert to a string as well as to an Integer.
        head = _INTEGRAL + head.replace("const detail::Integer& data", "Value data")
        passed = [f"detail::Integer({argument})" if argument == "data" else argument for argument in passed]
    body = [f"{argument}," for argument in passed]
    body[-1] = body[-1].removesuffix(",") + f"){convert};"
    body[0] = f"return call({body[0]}"
    return f"\n{_comment(function)}{head}{_wrapped(body, ' ' * 4, ' ' * 8)}  }}\n"


def render(functions: Sequence[Function]) -> str:
    chosen = deployed(functions)
    names = [function.name for function in chosen]
    parts = {
        "INTERFACE": interface(functions),
        "COUNT": str(len(chosen)),
        "NAMES": _wrapped([f'"{name}",' for name in names], "    ", "    ").rstrip(),
        "METHODS": "".join(_method(i, f, f"{f.name}_name" in names) for i, f in enumerate(chosen)),
    }
    text = _TEMPLATE.read_text()
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text
