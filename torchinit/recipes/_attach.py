"""Writes a recipe's steps as methods of a TorchScript module."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch

from torchinit import keyed
from torchinit._core import torchscript
from torchinit._core.attached import (
    KEYED_METHOD,
    check_module,
    expression,
    readable_back,
    refuse_frozen,
    signature,
    with_methods,
)
from torchinit._core.writes import no_grad_copy_
from torchinit.recipes._blocks import Block, view_block, view_matrices
from torchinit.recipes._fill import FUNCTIONS, Fill, Value, dry_run
from torchinit.recipes._keyed_apply import KEYED, surviving_fills
from torchinit.recipes._plan import Plan
from torchinit.recipes._steps import Step


def _literal(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    # TorchScript has no inf and no nan.
    return f'float("{value}")' if isinstance(value, float) and not math.isfinite(value) else repr(value)


def _line(fill: Fill, target: str, whole: bool) -> str:
    args = "".join(f", {_literal(arg)}" for arg in fill.args)
    generator = ", generator=generator" if fill.entry.draws else ""
    call = f"{fill.initializer}({{}}{args}{generator})"
    if fill.by_matrix:
        line = f"copy_(matrix, {call.format('matrix.contiguous()')})"
        return f"    for matrix in {_matrices(fill, f'{target}.detach()')}:\n        {line}\n"
    return (
        f"    {call.format(target)}\n" if whole else f"    copy_({target}, {call.format(f'{target}.contiguous()')})\n"
    )


def _matrices(fill: Fill, target: str) -> str:
    return f"view_matrices({target}, {fill.batch_dims}, {fill.transposed})"


def _joined(block: Block, view: str) -> str:
    """Write the code that copies the pieces of a block into one tensor."""
    return f"{view}.flatten({block.dim}, {block.dim + 1}).contiguous()"


def _lines(step: Step) -> str:
    """Return the TorchScript of one step: the same calls as ``write``, in the same order."""
    target = expression(step.target)
    if step.source is not None:
        return f"    copy_({target}, {expression(step.source)})\n"
    text = ""
    for fill in step.fills:
        block = fill.block
        if block is None:
            text += _line(fill, target, step.tensor.is_contiguous())
            continue
        text += f"    block = {_target(step.target, fill)}\n"
        if block.period == 0:
            text += _line(fill, "block", view_block(step.tensor.detach(), *block).is_contiguous())
        else:
            text += f"    joined = {_joined(block, 'block')}\n{_line(fill, 'joined', True)}"
            text += "    copy_(block, joined.view_as(block))\n"
    return text


def _source(steps: Sequence[Step], mobile: bool) -> str:
    text = signature(mobile)
    drawing = [s.target for s in steps if not s.tensor.is_meta and any(fill.entry.draws for fill in s.fills)]
    if mobile and drawing:
        text += f"    generator = seeded({expression(drawing[0])}, seed)\n"
    elif mobile:
        text += "    generator: Optional[Generator] = None\n"
    return text + "".join(map(_lines, steps)) + "    return None\n"


def _target(name: str, fill: Fill) -> str:
    return expression(name) if fill.block is None else f"view_block({expression(name)}.detach(), *{tuple(fill.block)})"


def _argument(arg: Value, index: int) -> str:
    """Write an argument of a fill in a loop; string arguments come last and are the same for all fills of a loop."""
    if isinstance(arg, str):
        return f", {arg!r}"
    return f", int(numbers[i][{index}])" if isinstance(arg, int) else f", numbers[i][{index}]"


def _joins(fill: Fill) -> bool:
    """True if the pieces of a block must be drawn as one matrix."""
    return fill.entry.structured and fill.block is not None and fill.block.period > 0


def _loop_key(fill: Fill) -> tuple[Value, ...]:
    """Return the key that groups fills into loops: all but the numbers, which a loop may vary."""
    joined = fill.block.dim if fill.block is not None and _joins(fill) else -1
    strings = (arg for arg in fill.args if isinstance(arg, str))
    return (fill.initializer, fill.batch_dims, fill.transposed, joined, *strings)


def _loop(drawn: list[tuple[str, Fill]], plain: Mapping[str, str]) -> str:
    """Write a loop over the fills of one initializer; a line for each would take seconds to optimize."""
    names = ", ".join(repr(plain[name]) for name, _ in drawn)
    targets = ", ".join(_target(name, fill) for name, fill in drawn)
    starts = ", ".join(str(-1 if fill.block is None else fill.block[1]) for _, fill in drawn)
    numbers = ", ".join(
        f"[{', '.join(_literal(float(arg)) for arg in fill.args if isinstance(arg, (int, float)))}]"
        for _, fill in drawn
    )
    return (
        f"    names, targets, starts, numbers = [{names}], [{targets}], [{starts}], [{numbers}]\n"
        "    for i in range(len(names)):\n"
        "        fill_key = fold_in(root, names[i])\n"
        "        if starts[i] >= 0:\n"
        "            fill_key = fold_in(fill_key, starts[i])\n"
        f"{_keyed_calls(drawn[0][1])}"
    )


def _keyed_calls(fill: Fill) -> str:
    """Write the body of a loop: one call, or one for each matrix of a stack."""
    args = "".join(_argument(arg, index) for index, arg in enumerate(fill.args))
    call = f"        keyed_{fill.initializer}({{}}, {{}}{args})\n"
    before, target, after = "", "targets[i]", ""
    if fill.block is not None and _joins(fill):
        before, target = f"        joined = {_joined(fill.block, target)}\n", "joined"
        after = "        copy_(targets[i], joined.view_as(targets[i]))\n"
    if not fill.by_matrix:
        return before + call.format(target, "fill_key") + after
    key = "fold_in(fill_key, j)" if fill.batch_dims else "fill_key"
    loop = f"        stack = {_matrices(fill, target)}\n        for j in range(len(stack)):\n    "
    return before + loop + call.format("stack[j]", key) + after


def _keyed_source(steps: Sequence[Step]) -> str:
    """Return the TorchScript of ``write_by_key`` for all parameters: all first fills, all second ones, and so on."""
    text = f"def {KEYED_METHOD}(self, seed: int) -> None:\n    root = key(seed)\n"
    fills = {name: fills for name, (_, fills) in surviving_fills(steps).items()}
    whole = {step.target: step.tensor for step in steps}
    plain = {step.target: step.plain for step in steps}
    for turn in range(max(map(len, fills.values()), default=0)):
        now = [(name, kept[turn]) for name, kept in fills.items() if len(kept) > turn]
        for loop in dict.fromkeys(_loop_key(fill) for _, fill in now if fill.entry.draws):
            text += _loop([(name, fill) for name, fill in now if _loop_key(fill) == loop], plain)
        text += "".join(_lines(Step(n, n, whole[n], (fill,))) for n, fill in now if not fill.entry.draws)
    return text + "    return None\n"


def attach(
    plan: Callable[[torch.jit.ScriptModule], Plan], module: torch.jit.ScriptModule, mobile: bool
) -> torch.jit.ScriptModule:
    """Copy a TorchScript module and define the methods of its plan on the copy."""
    check_module(module)
    steps = plan(module).steps
    if not steps:
        refuse_frozen(module)
    dry_run((step.target, step.tensor, step.fills) for step in steps)
    names = {**FUNCTIONS, "copy_": no_grad_copy_, "seeded": torchscript.seeded, "key": keyed.key}
    names |= {"view_block": view_block, "view_matrices": view_matrices}
    names |= {"fold_in": keyed.fold_in, **{f"keyed_{name}": f for name, f in KEYED.items()}}
    with readable_back():
        return with_methods(module, _source(steps, mobile) + _keyed_source(steps), names)
