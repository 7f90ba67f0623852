"""Writes a recording as methods of a TorchScript module."""

import textwrap

import torch
from torch import Tensor

from torchinit import keyed
from torchinit._core.attached import (
    KEYED_METHOD,
    check_module,
    expression,
    readable_back,
    refuse_frozen,
    signature,
    with_methods,
)
from torchinit._core.table import few
from torchinit._core.wrappers import plain_names
from torchinit.recipes._keyed_apply import KEYED
from torchinit.recording import _scripted
from torchinit.recording._keyed_program import KeyedProgram
from torchinit.recording._lowering import LoopRows, Lowering, Store, Targets
from torchinit.recording._program import Entry, Program, Ref
from torchinit.recording._targets import match, present, writable

# Views, tables and names; the rows' integers and floats, of both methods.
ATTRIBUTE = "_torchinit_recorded"
_TYPE = tuple[
    list[list[int]], list[Tensor], list[str], list[list[int]], list[list[float]], list[list[int]], list[list[float]]
]
_NAMES = {name: getattr(_scripted, name) for name in ("opened", "viewed", "placed", "seed_again", "derived", "refused")}
_NAMES |= {"torch": torch, "key": keyed.key, **{f"keyed_{name}": function for name, function in KEYED.items()}}

# The loop that runs the rows of a method. A view is a slot, whether it is conjugated, an offset, sizes, strides.
_LOOP = """\
    views, tables, names, rows, numbers, keyed_rows, keyed_numbers = self.{attribute}
    tensors = torch.jit.annotate(List[Tensor], [{tensors}])
    memory = [torch.empty([0])] * {slots}
    generators = torch.jit.annotate(List[Optional[Generator]], [{generator}]) * {generators}
    for row, number in zip({rows}, {numbers}):
        x = torch.jit.annotate(List[Tensor], [])
        for i in row[2 : 2 + row[1]]:
            v, dims = views[i], len(views[i]) // 2 - 1
            x.append(viewed(memory[v[0]], v[1] == 1, v[2], v[3 : 3 + dims], v[3 + dims :]))
{kinds}    return None
"""


def _loop(rows: LoopRows, tensors: str, generator: str, prefix: str = "") -> str:
    kinds = "".join(
        f"        if row[0] == {kind}:\n{textwrap.indent(text, ' ' * 12)}" for text, kind in rows.kinds.items()
    )
    return _LOOP.format(
        attribute=ATTRIBUTE,
        tensors=tensors,
        slots=len(rows.slots),
        generator=generator,
        generators=rows.generators,
        rows=f"{prefix}rows",
        numbers=f"{prefix}numbers",
        kinds=kinds,
    )


def _source(by_seed: LoopRows, by_key: LoopRows, names: list[str], mobile: bool) -> str:
    tensors = ", ".join(map(expression, names))
    text = signature(mobile)
    if mobile:
        # NB: with only constant arguments, TorchScript folds this into one generator that all calls share.
        text += "    generator = None if seed is None else torch.Generator(device=None, seed=seed)\n"
    text += _loop(by_seed, tensors, "generator")
    text += f"def {KEYED_METHOD}(self, seed: int) -> None:\n    root = key(seed)\n"
    return text + _loop(by_key, tensors, "None", "keyed_")


def _pairs(program: Program, module: torch.jit.ScriptModule) -> list[tuple[Entry, str]]:
    """Pair the entries with the names in the module; a buffer that it lacks has become a constant in it."""
    names = {plain: name for name, plain in plain_names(module).items()}
    entries = present(program.entries, names)
    known = {entry.name for entry in entries}
    others = {"the module lacks": known - set(names), "the recording lacks": set(names) - known}
    if any(others.values()):
        listed = "; ".join(f"{what} {few(sorted(found), 5)}" for what, found in others.items() if found)
        raise ValueError(
            f"a module must have the recording's tensors, got other names: {listed};"
            " record the very module that was scripted or traced, with what wraps it"
        )
    writable(match(entries, module, strict=True))
    return [(entry, names[entry.name]) for entry in entries]


def _keyed_rows(by_key: KeyedProgram, names: list[str], targets: Targets, store: Store) -> LoopRows:
    """Return the rows that draw by key; one that raises if the program has a draw that no key gives."""
    try:
        by_key.check()
    except RuntimeError as error:
        rows = LoopRows()
        rows.add(f"refused({str(error)!r})\n")
        return rows
    return Lowering(by_key.program, by_key.steps_of(names), targets, store).rows


def attach(
    program: Program, keyed: KeyedProgram, module: torch.jit.ScriptModule, mobile: bool
) -> torch.jit.ScriptModule:
    """Copy a TorchScript module and define the methods on the copy."""
    check_module(module)
    if any(entry.kind == "parameter" for entry in program.entries):
        refuse_frozen(module)
    pairs = _pairs(program, module)
    targets: dict[int, list[tuple[int, Ref]]] = {}
    for number, (entry, _) in enumerate(pairs):
        targets.setdefault(entry.ref.storage, []).append((number, entry.ref))
    store = Store()
    by_seed = Lowering(program, program.operations, targets, store).rows
    by_key = _keyed_rows(keyed, [entry.name for entry, _ in pairs], targets, store)
    views = [list(view) for view in store.views]
    rows = (by_seed.numbers, by_seed.floats, by_key.numbers, by_key.floats)
    with readable_back():
        text = _source(by_seed, by_key, [name for _, name in pairs], mobile)
        value = (views, store.tables, list(store.names), *rows)
        return with_methods(module, text, _NAMES, {ATTRIBUTE: (_TYPE, value)})
