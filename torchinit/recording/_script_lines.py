"""Writes operators and keyed draws as TorchScript, with holes for their tensors and floats.

In a line, ``row`` is the row of integers that it runs for, ``x`` its tensors and ``number`` its floats.
"""

import functools
import math
from typing import Any

import torch

from torchinit.recipes._fill import ARGUMENTS, resolve
from torchinit.recipes._layers import upstream_fans
from torchinit.recording._program import Draw, Ref, Step
from torchinit.recording._replay import find_operator

# The actions of rows that are no operators. The slots of ``memory`` hold the storages, flat.
NEW = "memory[row[-1]] = torch.empty([row[-3]], dtype=row[-2])\n"
OPEN = "memory[row[2]] = opened(tensors[row[3]], row[4], row[5], row[6:])\n"
TABLE = "x[0].copy_(tables[row[-1]])\n"
FILL = "x[0].fill_(number[0])\n"
PLACE = "placed(tensors[row[-1]], x[0])\n"
DROP = "memory[row[-1]] = torch.empty([0])\n"
MAKE = "generators[row[-1]] = torch.Generator(device=None, seed=row[-2])\n"
SEED = "seed_again(generators[row[-1]], row[-2])\n"

# The same draws as in-place operators, which take a generator in every release: torch calls them on an empty tensor.
_DRAWN_LIKE = {"rand": "uniform_", "randn": "normal_", "randint": "random_"}


class ScriptLine:
    """A line of TorchScript for an operator or a keyed draw, and what fills its holes.

    Args:
        item: the operator or the draw

    Attributes:
        text: the lines, in which ``x[0]`` is the first of ``refs`` and ``number[0]`` the first of ``floats``
        refs: its tensors
        floats: its floats
    """

    def __init__(self, item: Step) -> None:
        self.refs: list[Ref] = []
        self.floats: list[float] = []
        if isinstance(item, Draw):
            self.text = self._keyed(item)
        else:
            self.operation = item
            like = _DRAWN_LIKE.get(item.operator.removesuffix("_like"))
            self.text = self._called() if like is None else self._drawn(like)

    def _keyed(self, draw: Draw) -> str:
        """Write a draw whose key the row names by the numbers of a name and of the draw."""
        # The plain initializer draws the same, and a file of few functions is optimized sooner.
        fill = resolve(draw.initializer, draw.args, upstream_fans(list(draw.target.size)), draw.target.dtype.is_complex)
        words = [self._hole(draw.target), "derived(root, names[row[-2]], row[-1])"]
        for value, parameter in zip(fill.args, ARGUMENTS[fill.initializer].values()):
            words.append(self._word(value, "float" if parameter.annotation is float else ""))
        return f"keyed_{fill.initializer}({', '.join(words)})\n"

    def _drawn(self, name: str) -> str:
        """Write an operator that makes a drawn tensor."""
        (made,) = self.operation.fresh
        args = {"uniform_": "0.0, 1.0", "normal_": "0.0, 1.0"}.get(name)
        if args is None:
            schema = find_operator(self.operation.name)._schema.arguments
            given = dict(zip((argument.name for argument in schema), self.operation.args))
            args = f"{given.get('low', 0)}, {given['high']}"
        return f"torch.ops.aten.{name}({self._hole(made)}, {args}, generator=generators[row[-1]])\n"

    def _called(self) -> str:
        """Write a call of an operator with its own arguments; what it makes is copied to where the recording has it."""
        namespace, operator, _ = self.operation.name.split(".")
        schema = find_operator(self.operation.name)._schema
        words = [
            self._word(value, str(argument.type)) for value, argument in zip(self.operation.args, schema.arguments)
        ]
        kinds = {argument.name: str(argument.type) for argument in schema.arguments}
        for name, value in self.operation.kwargs.items():
            if name != "layout" and value is not None:
                words.append(f"{name}={self._word(value, kinds[name])}")
        if self.operation.random:
            words.append("generator=generators[row[-1]]")
        if namespace != "aten" or (self.operation.random and not _takes_generator(operator)):
            raise RuntimeError(
                "an attached method can call torch's own operators only, and draw with those that take a generator,"
                f" got {namespace}.{operator} at {self.operation.place}"
            )
        call = f"torch.ops.aten.{operator}({', '.join(words)})"
        return self._kept(call, [str(value.type) for value in schema.returns])

    def _kept(self, call: str, returns: list[str]) -> str:
        fresh = [(index, ref) for index, ref in enumerate(self.operation.fresh) if ref is not None]
        if not fresh:
            return f"{call}\n"
        text = f"made = {call}\n"
        for index, ref in fresh:
            part = "made" if returns == ["Tensor"] else f"made[{index}]"
            text += f"{self._hole(ref)}.copy_({part})\n"
        return text

    def _hole(self, ref: Any) -> str:
        self.refs.append(ref)
        return f"x[{len(self.refs) - 1}]"

    def _word(self, value: Any, kind: str) -> str:
        """Write an argument of a type."""
        if isinstance(value, Ref):
            return self._hole(value)
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(self._word(item, kind) for item in value)}]" if value else _empty_list(kind)
        if isinstance(value, int) and not isinstance(value, bool) and "float" in kind:
            value = float(value)
        if isinstance(value, float):
            self.floats.append(value)
            return f"number[{len(self.floats) - 1}]"
        if isinstance(value, complex):
            parts = [f'float("{x}")' if not math.isfinite(x) else repr(x) for x in (value.real, value.imag)]
            return f"complex({', '.join(parts)})"
        # A dtype, a memory format, a string, an integer, a bool or None.
        return repr(value)


def _empty_list(kind: str) -> str:
    element = next((name for name in ("int", "float") if name in kind), "Tensor")
    return f"torch.jit.annotate(List[{element}], [])"


@functools.cache
def _takes_generator(operator: str) -> bool:
    packet = getattr(torch.ops.aten, operator)
    overloads = [getattr(packet, name)._schema for name in packet.overloads()]
    return any(argument.name == "generator" for schema in overloads for argument in schema.arguments)
