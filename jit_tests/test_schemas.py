"""Does the registry state the schemas that TorchScript infers, and do defaults survive save and load?"""

import io
import re

import pytest
import torch

import torchinit
from jit_tests.scripting import run_quietly, scripted
from tests.support.record import DEPRECATED, ROWS
from tools.codegen.deployed import deployed
from tools.codegen.functions import TABLE
from torchinit.deploy import bundle

NAMES = [*ROWS, *DEPRECATED]


@pytest.mark.parametrize("name", NAMES)
def test_schema_equals_the_row(name: str) -> None:
    row = ROWS.get(name) or DEPRECATED[name]
    assert str(scripted(name).schema) == row.schema.replace(row.name, name, 1)


def test_all_26_names_compile() -> None:
    names = [name for name in torchinit.__all__ if hasattr(torch.nn.init, name)]
    assert len(names) == 26
    assert all(isinstance(scripted(name), torch.jit.ScriptFunction) for name in names)


def test_defaults_survive_save_and_load_as_methods_of_the_bundle() -> None:
    file = io.BytesIO()
    file.write(bundle().save_to_buffer())
    file.seek(0)
    loaded = run_quietly(torch.jit.load, file)
    for function in deployed(TABLE):
        schema = re.sub(r"__torch__\S* self, ", "", str(getattr(loaded, function.name).schema))
        assert schema == function.schema
