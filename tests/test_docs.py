"""Do the examples of the docstrings and of the README run?"""

import doctest
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import torchinit
from tools.codegen.__main__ import ROOT
from torchinit import deploy, keyed, recipes

# What a recipe returns or raises; the examples stand where it does.
_RESULTS = ("Plan", "Row", "RecipeError")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module in (torchinit, deploy, recipes, keyed) for name in module.__all__]
    + [(recipes, "torch")],
)
def test_docstring_example_runs(module: ModuleType, name: str) -> None:
    examples = doctest.DocTestFinder(exclude_empty=False).find(
        getattr(module, name), name, globs={"torch": torch, "torchinit": torchinit, "keyed": keyed}
    )
    failures = [doctest.DocTestRunner().run(example) for example in examples]
    assert not any(result.failed for result in failures)
    assert examples[0].examples or f"torchinit.{name}_`" in examples[0].docstring or name in _RESULTS


def _blocks(language: str) -> list[str]:
    texts = [(ROOT / name).read_text() for name in ("README.md", "docs/deploy.md", "docs/recipes.md", "docs/keyed.md")]
    return [block for text in texts for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


@pytest.mark.parametrize("block", _blocks("python"), ids=lambda block: block.splitlines()[0])
def test_example_of_the_docs_runs(block: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(block)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


def test_toml_of_the_docs_is_a_recipe() -> None:
    for block in _blocks("toml"):
        assert recipes.Recipe.from_toml(block).to_toml() == block


def test_readme_has_examples_and_both_commands() -> None:
    assert len(_blocks("python")) >= 2
    commands = "".join(_blocks("sh"))
    assert "make demo" in commands
    assert "make test" in commands
