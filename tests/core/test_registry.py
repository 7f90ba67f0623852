"""Is each registry entry plain data that agrees with its function?"""

import subprocess
import sys

import pytest
import torch

import torchinit
from torchinit import keyed
from torchinit._core.registry import EXTRAS, INITIALIZERS, KEYS, UPSTREAM, Initializer


def test_initializers_are_the_public_names_with_an_underscore_in_their_order() -> None:
    names = [name for name in torchinit.__all__ if name.endswith("_")]
    assert sorted(INITIALIZERS) == sorted(names)
    upstream = [name for name in names if hasattr(torch.nn.init, name)]
    assert list(INITIALIZERS)[: len(upstream)] == upstream


@pytest.mark.parametrize("entry", UPSTREAM + EXTRAS + KEYS, ids=lambda entry: entry.name)
def test_entry_finds_its_function(entry: object) -> None:
    assert entry.function is getattr(keyed if entry in KEYS else torchinit, entry.name)


@pytest.mark.parametrize("entry", INITIALIZERS.values(), ids=INITIALIZERS)
def test_columns_agree_with_each_other(entry: Initializer) -> None:
    assert entry.draws == hasattr(keyed, entry.name)
    assert entry.alias_of is None or INITIALIZERS[entry.alias_of].alias_of is None
    assert not entry.indivisible or (entry.structured and entry.draws)
    assert not entry.has_scale or entry.draws
    assert not entry.needs_fans or (entry.draws and not entry.structured)


@pytest.mark.parametrize("entry", INITIALIZERS.values(), ids=INITIALIZERS)
def test_initializer_accepts_the_dimensions_of_its_entry_and_no_fewer(entry: Initializer) -> None:
    needed = {"val": 0.5, "sparsity": 0.5, "blocks": 2}
    arguments = {
        name: value
        for name, value in needed.items()
        if f"float {name}," in entry.schema.replace(")", ",") or f"int {name}," in entry.schema
    }
    shape = (8, 2, 1)[: entry.ndim]
    assert entry.function(torch.empty(shape), **arguments) is not None
    if entry.needs_fans or entry.ndim == 3:
        with pytest.raises(ValueError, match="dimension"):
            entry.function(torch.empty(shape[:-1]), **arguments)


def test_registry_imports_no_function() -> None:
    code = "import runpy, sys; runpy.run_path('torchinit/_core/registry.py'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
