"""Do the examples of the docstrings, of the README and of the pages of the site run?"""

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
from torchinit import deploy, diagnostics, keyed, recipes

# What a recipe returns or raises; the examples stand where it does.
_RESULTS = ("Plan", "Row", "RecipeError", "LayerSignal", "ParameterStatistics", "Trend")
_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What a block may be of; `py` or none would be Python that no test runs.
_LANGUAGES = {"python", "sh", "toml", "cmake", "cpp", "text"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module in (torchinit, deploy, diagnostics, recipes, keyed) for name in module.__all__]
    + [(recipes, "torch")],
)
def test_docstring_example_runs(module: ModuleType, name: str) -> None:
    examples = doctest.DocTestFinder(exclude_empty=False).find(
        getattr(module, name), name, globs={"torch": torch, "torchinit": torchinit, "keyed": keyed}
    )
    failures = [doctest.DocTestRunner().run(example) for example in examples]
    assert not any(result.failed for result in failures)
    assert examples[0].examples or f"torchinit.{name}_`" in examples[0].docstring or name in _RESULTS


def _found(language: str) -> list[tuple[str, str]]:
    """Return every block of a language, after where it stands."""
    blocks = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    texts = [(path.relative_to(ROOT).as_posix(), path.read_text()) for path in _PAGES]
    return [
        (f"{name}:{text.count(chr(10), 0, match.start()) + 1}", match[1])
        for name, text in texts
        for match in blocks.finditer(text)
    ]


def _blocks(language: str) -> list[str]:
    return [block for _, block in _found(language)]


@pytest.mark.parametrize("block", [pytest.param(block, id=place) for place, block in _found("python")])
def test_example_of_the_docs_runs(block: str, tmp_path: Path) -> None:
    if "executorch" in block:
        pytest.importorskip("executorch.exir", reason="no executorch that works with this torch", exc_type=ImportError)
    script = tmp_path / "example.py"
    script.write_text(block)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


def test_no_block_of_the_docs_hides_from_the_tests() -> None:
    for path in _PAGES:
        opened = re.findall(r"^\s*```(.*)\n(?:.*\n)*?\s*```$", path.read_text(), re.MULTILINE)
        assert set(opened) <= _LANGUAGES, path


def test_toml_of_the_docs_is_a_recipe() -> None:
    for block in _blocks("toml"):
        assert recipes.Recipe.from_toml(block).to_toml() == block


def test_readme_has_examples_and_both_commands() -> None:
    assert len(_blocks("python")) >= 2
    commands = "".join(_blocks("sh"))
    assert "make demo" in commands
    assert "make test" in commands
