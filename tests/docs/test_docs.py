"""Do the examples of docstrings, README and pages run and print the output shown?"""

import contextlib
import doctest
import io
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import torchinit
from tests.docs.conftest import ROOT
from torchinit import cli, deploy, diagnostics, keyed, recipes, recording

# Results and errors without an example of their own: the function that returns or raises them has one.
_RESULTS = (
    *("Plan", "Row", "RecipeError", "LayerSignal", "Signal", "ParameterStatistics", "Statistics", "Trend"),
    *("MuP", "Multiplier", "Multipliers"),
    *("Recording", "RecordError", "Difference", "Differences", "Finding", "Findings", "Outside"),
)
_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Languages of code blocks; without this check a block marked `py` or nothing would never run.
_LANGUAGES = {"python", "sh", "toml", "cmake", "cpp", "text", "{toctree}"}
_BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (module, name)
        for module in (torchinit, deploy, diagnostics, recipes, recording, keyed)
        for name in module.__all__
    ],
)
def test_docstring_example_runs(module: ModuleType, name: str) -> None:
    examples = doctest.DocTestFinder(exclude_empty=False).find(
        getattr(module, name), name, globs={"torch": torch, "torchinit": torchinit, "keyed": keyed}
    )
    failures = [doctest.DocTestRunner().run(example) for example in examples]
    assert not any(result.failed for result in failures)
    assert examples[0].examples or f"torchinit.{name}_`" in examples[0].docstring or name in _RESULTS


def _blocks(page: Path) -> list[tuple[int, str, str]]:
    """Return the line, language and text of every block of a page."""
    text = page.read_text()
    return [(text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in _BLOCK.finditer(text)]


def _run_python(source: str, line: int, module: ModuleType) -> None:
    """Run a block from a file at its line in the page: TorchScript reads the source from there."""
    file = Path(f"example_{line}.py").resolve()
    file.write_text("\n" * line + source)
    module.__file__ = str(file)
    exec(compile(file.read_text(), file, "exec"), vars(module))


def _run_commands(source: str) -> None:
    for command in source.splitlines():
        if command.startswith("torchinit "):
            # A comparison exits with 1 where it finds a difference.
            allowed = (0, 1) if command.startswith("torchinit diff ") else (0,)
            assert cli.main(shlex.split(command)[1:]) in allowed, command


class _Terminal(io.StringIO):
    """What a command prints to a terminal of 80 columns."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def page_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Return a module for the names that a page's blocks share, in a temporary folder."""
    module = ModuleType("examples_of_a_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    with torch.random.fork_rng():
        yield module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in _PAGES])
def test_examples_of_a_page_run_and_print_the_output_shown(page: Path, page_module: ModuleType) -> None:
    printed: str | None = ""
    for line, language, text in _blocks(page):
        with contextlib.redirect_stdout(_Terminal()) as output:
            # jit_tests/test_executorch.py runs the examples with ExecuTorch, whose import takes seconds.
            if language == "python" and "executorch" not in text:
                _run_python(text, line, page_module)
            elif language == "sh":
                _run_commands(text)
        if language == "text" and printed is not None:
            assert doctest.OutputChecker().check_output(text, printed, doctest.ELLIPSIS), f"{line}: {printed}"
        # Another test builds the C++ programs.
        printed = None if language == "cpp" else output.getvalue()


def test_no_block_of_the_docs_hides_from_the_tests() -> None:
    for path in _PAGES:
        opened = re.findall(r"^\s*```(.*)\n(?:.*\n)*?\s*```$", path.read_text(), re.MULTILINE)
        assert set(opened) <= _LANGUAGES, path


def test_toml_of_the_docs_is_a_recipe() -> None:
    blocks = [text for page in _PAGES for _, language, text in _blocks(page) if language == "toml"]
    assert blocks
    for block in blocks:
        # A recipe that extends another is written with the other's rules.
        assert recipes.Recipe.from_toml(block).to_toml() == block or block.startswith("extends")


def test_readme_is_short_and_has_both_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 120
    assert max(map(len, lines)) <= 120
    commands = "".join(text for _, language, text in _blocks(ROOT / "README.md") if language == "sh")
    assert "make demo" in commands
    assert "make test" in commands


@pytest.mark.parametrize(
    ("page", "section", "file"),
    [
        ("README.md", "## How fast, where, and for whom not", "benchmark.json"),
        ("docs/explanation/speed.md", "# Speed", "benchmark.json"),
        ("docs/explanation/speed.md", "## On a GPU", "benchmark_gpu.json"),
    ],
)
def test_measured_rows_are_those_of_the_benchmark(page: str, section: str, file: str) -> None:
    measured = json.loads((ROOT / "docs" / file).read_text())["rows"]
    row = re.compile(
        r"^\| .* \| (\S+|all parameters) (\w+) \| [\d.,]+ [mu]s \| [\d.,]+ [mu]s \| ([\d.]+) \|$", re.MULTILINE
    )
    text = (ROOT / page).read_text().partition(f"{section}\n")[2]
    rows = row.findall(text.partition("\n## ")[0])
    assert len(rows) >= 5
    for shape, dtype, ratio in rows:
        ratios = [each["ratio"] for each in measured if (each["shape"], each["dtype"]) == (shape, dtype)]
        digits = len(ratio.partition(".")[2])
        assert float(ratio) in [round(each, digits) for each in ratios], (shape, dtype, ratio)
