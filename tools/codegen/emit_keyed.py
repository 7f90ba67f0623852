"""Renders ``torchinit/keyed/_functions.py``: the public names of the keyed initializers, with their docstrings."""

import textwrap
from collections.abc import Mapping, Sequence

from tools.codegen.keyed import keyed, keyed_docstring
from tools.codegen.model import Function
from tools.codegen.python_source import STAMP, imports, signature

PATH = "torchinit/keyed/_functions.py"

_HEAD = '''
"""The initializers drawn from a key, under the names of their siblings."""

from torch import Tensor

'''
_WIDTH = 120
# Arguments that have no default, for an example.
_NEEDED = {"sparsity": "0.5", "blocks": "2"}
# The initializers of convolutions alone.
_SPATIAL = ("delta_orthogonal_", "icnr_")


def _wrapped(text: str, indent: str, hanging: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=hanging, break_long_words=False) + "\n"


def _section(name: str, entries: Mapping[str, str]) -> str:
    lines = [_wrapped(f"{entry}: {text}", " " * 8, " " * 12) for entry, text in entries.items()]
    return f"\n    {name}:\n" + "".join(lines)


def _example(function: Function) -> str:
    needed = [f", {_NEEDED[a.name]}" for a in function.arguments[2:] if a.default is None]
    call = f"keyed.{function.name}(torch.empty({{}}), key{''.join(needed)}{{}})"
    size, start = (", 3", ", 0") if function.name in _SPATIAL else ("", "")
    piece = f", full_size=[6, 4{size}], offset=[3, 0{start}]"
    return f"""
    Examples:
        >>> key = keyed.fold_in(keyed.key(0), "layer.weight")
        >>> whole = {call.format(f"6, 4{size}", "")}
        >>> piece = {call.format(f"3, 4{size}", piece)}
        >>> torch.equal(piece, whole[3:])
        True
"""


def _docstring(function: Function, sibling: Function) -> str:
    text = keyed_docstring(function, sibling)
    return (
        _wrapped(f'r"""{text.summary}', " " * 4, " " * 4)
        + _wrapped(f"See :func:`torchinit.{sibling.name}`, whose distribution and arguments it has.", "\n    ", "    ")
        + "\n"
        + textwrap.indent(text.body, "    ")
        + "\n"
        + _section("Args", text.arguments)
        + "\n    Returns:\n        ``tensor``\n"
        + _section("Raises", text.raises)
        + _example(function)
        + '    """\n'
    )


def _public(function: Function, sibling: Function) -> str:
    arguments = ", ".join(argument.name for argument in function.arguments)
    return f"""

{signature(function, function.name, {})}
{_docstring(function, sibling)}    return _{function.name}({arguments})
"""


def render(functions: Sequence[Function]) -> str:
    siblings = {function.name: function for function in functions}
    chosen = keyed(functions)
    names = {"torchinit.keyed._draws": [f"_{function.name}" for function in chosen]}
    body = "".join(_public(function, siblings[function.name]) for function in chosen)
    return STAMP + _HEAD + imports(names) + body
