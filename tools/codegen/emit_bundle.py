"""Renders ``torchinit/deploy/_bundle.py``: modules whose exported methods are the functions."""

from collections.abc import Sequence
from textwrap import indent

from tools.codegen.deployed import PREFIX, deployed, interface, mobile
from tools.codegen.keyed import FAMILY
from tools.codegen.model import Function
from tools.codegen.python_source import STAMP, imports, signature

PATH = "torchinit/deploy/_bundle.py"

_HEAD = '''
"""Modules whose exported methods are the initializers, the gain and the fans."""

import torch
from torch import Tensor, nn

'''

_SEEDED = """

def _seeded(tensor: Tensor, seed: int | None) -> torch.Generator | None:
    if seed is None or tensor.is_meta:
        return None
    # NB: with constant arguments alone TorchScript folds it into one generator that all calls share.
    generator = torch.Generator(device=tensor.device)
    generator.manual_seed(seed)
    return generator
"""

_CLASS = '''

class {name}(nn.Module):
    """{docstring}"""

    interface: str

    def __init__(self) -> None:
        super().__init__()
        self.interface = "{interface}"
'''


def _method(function: Function) -> str:
    return f"\n@torch.jit.export\n{signature(function, function.name, {}, first='self')}\n"


def _callee(function: Function) -> str:
    if function.family == FAMILY:
        return f"keyed.{function.name.removeprefix(PREFIX)}"
    return function.name.removesuffix("_name")


def _bundled(function: Function) -> str:
    arguments = ", ".join(argument.name for argument in function.arguments)
    return _method(function) + f"    return {_callee(function)}({arguments})\n"


def _mobile(function: Function) -> str:
    arguments = ", ".join(argument.name for argument in function.arguments)
    seeded = mobile(function)
    if seeded == function:
        return _bundled(function)
    call = arguments.replace("generator", "_seeded(tensor, seed)")
    return _method(seeded) + f"    return {function.name}({call})\n"


def _class(name: str, docstring: str, digest: str, methods: list[str]) -> str:
    head = _CLASS.format(name=name, docstring=docstring, interface=digest)
    return head + "".join(indent(method, "    ") for method in methods)


def render(functions: Sequence[Function]) -> str:
    chosen, digest = deployed(functions), interface(functions)
    names: dict[str, set[str]] = {"keyed": {FAMILY.split(".")[1] + " as keyed"}}
    for function in chosen:
        if function.family != FAMILY:
            names.setdefault(function.family, set()).add(_callee(function))
    return "".join(
        [
            STAMP,
            _HEAD,
            imports(names, "torchinit"),
            _SEEDED,
            _class("Bundle", "The methods for C++ and Python.", digest, list(map(_bundled, chosen))),
            _class(
                "MobileBundle",
                "The methods for the mobile interpreter, with a seed in the generator's place.",
                digest,
                list(map(_mobile, chosen)),
            ),
        ]
    )
