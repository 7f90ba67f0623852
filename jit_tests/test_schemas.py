"""Does the table say what TorchScript sees, and do defaults survive a file?"""

import io
import re

import pytest
import torch

import torchinit
from jit_tests.scripting import run_quietly, scripted
from tests.records import DEPRECATED, ROWS
from tools.codegen.functions import FUNCTIONS

NAMES = [*ROWS, *DEPRECATED]


@pytest.mark.parametrize("name", NAMES)
def test_schema_equals_the_row(name: str) -> None:
    row = ROWS.get(name) or DEPRECATED[name]
    assert str(scripted(name).schema) == row.schema.replace(row.name, name, 1)


def test_all_26_names_compile() -> None:
    names = [name for name in torchinit.__all__ if hasattr(torch.nn.init, name)]
    assert len(names) == 26
    assert all(isinstance(scripted(name), torch.jit.ScriptFunction) for name in names)


def _bundle() -> torch.nn.Module:
    """Make a module whose exported methods call each function, with the defaults of its row."""
    methods = []
    for function in FUNCTIONS:
        if not function.public:
            continue
        arguments = ", ".join(
            f"{a.name}: {a.type.replace('Tensor', 'torch.Tensor').replace('Generator?', 'Optional[torch.Generator]')}".replace(
                "Union(float, int, NoneType)", "Union[int, float, None]"
            )
            + ("" if a.python_default is None else f" = {a.python_default}")
            for a in function.arguments
        )
        names = ", ".join(a.name for a in function.arguments)
        methods.append(
            f"@torch.jit.export\ndef {function.name}(self, {arguments}):\n    return init.{function.name}({names})"
        )
    source = "class Bundle(torch.nn.Module):\n" + "\n".join("    " + line for m in methods for line in m.split("\n"))
    import linecache
    import typing

    # TorchScript reads the source of a class back from its file.
    filename = "<bundle of the schema test>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace = {"torch": torch, "init": torchinit, "Optional": typing.Optional, "Union": typing.Union}
    exec(compile(source, filename, "exec"), namespace)
    return namespace["Bundle"]()


def test_defaults_survive_save_and_load_as_methods_of_a_module() -> None:
    file = io.BytesIO()
    run_quietly(lambda: torch.jit.save(torch.jit.script(_bundle()), file))
    file.seek(0)
    loaded = run_quietly(torch.jit.load, file)
    for function in FUNCTIONS:
        if function.public:
            schema = re.sub(r"__torch__\S* self, ", "", str(getattr(loaded, function.name).schema))
            assert schema == function.schema
