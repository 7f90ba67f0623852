"""Renders ``torchinit/keyed/__init__.pyi``: the keyed functions for type checkers, with literal choices."""

from collections.abc import Sequence

from tools.codegen.keyed import keyed
from tools.codegen.model import Function
from tools.codegen.python_source import STAMP, all_names, imports, stub

PATH = "torchinit/keyed/__init__.pyi"

_HEAD = """
from contextlib import AbstractContextManager

from torch import Tensor

{imports}
VERSION: int

"""

# No initializer, and not for TorchScript: the registry has no row for it.
_COMPILED = "def compiled() -> AbstractContextManager[None]: ...\n"


def render(functions: Sequence[Function]) -> str:
    chosen = [f for f in functions if f.family.startswith("keyed.")] + keyed(functions)
    # The facade's stub defines the literal types.
    types = {choices.name for function in chosen for choices in function.choices.values()}
    head = STAMP + _HEAD.format(imports=imports({"torchinit": types}))
    return "\n".join(
        [head + all_names([*(f.name for f in chosen), "compiled"]), "".join(map(stub, chosen)) + _COMPILED]
    )
