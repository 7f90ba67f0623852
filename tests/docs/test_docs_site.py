"""Is the site built without a warning, complete, and readable without a server or a script for its formulas?"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from expecttest import assert_expected_inline
from ruamel.yaml import YAML

from tools import native
from tools.codegen.functions import FUNCTIONS
from tools.docs import pages
from tools.docs.mathml import mathml, render

GUIDE = ("choosing", "scripting", "cpp", "mobile", "recipes", "keys")
IN_DEPTH = ("deploy", "recipes", "keyed", "operators")


def _paths(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [path for item in (nav.values() if isinstance(nav, dict) else nav) for path in _paths(item)]


def test_navigation_has_the_guide_and_the_pages_in_depth() -> None:
    paths = _paths(YAML(typ="safe").load(pages.ROOT / "mkdocs.yml")["nav"])
    assert {f"guide/{name}.md" for name in GUIDE} | {f"{name}.md" for name in IN_DEPTH} | {"index.md"} < set(paths)
    for path in paths:
        assert path in pages.pages() or (pages.ROOT / "docs" / path).is_file()


def test_page_of_the_guide_has_an_example_and_leads_into_the_depth() -> None:
    for name in GUIDE:
        text = (pages.ROOT / "docs" / "guide" / f"{name}.md").read_text()
        assert "```python\n" in text, name
        assert re.search(r"\]\((\.\./)?\w+\.md", text), name


def test_navigation_has_every_generated_page() -> None:
    assert set(_paths(pages.nav())) == set(pages.pages())


def test_formula_is_mathml_without_what_the_converter_mistakes() -> None:
    assert_expected_inline(
        mathml(r"x \sim \mathcal{U}(-\text{fan\_in}, b)"),
        """<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline"><mrow><mi>x</mi><mo>&#x0223C;</mo><mi>&#x1D4B0;</mi><mo stretchy="false">&#x00028;</mo><mo form="prefix">&#x02212;</mo><mtext>fan_in</mtext><mo>&#x0002C;</mo><mi>b</mi><mo stretchy="false">&#x00029;</mo></mrow></math>""",
    )


def test_displayed_formula_may_break_at_a_quad() -> None:
    assert mathml(r"x = 1, \quad y = 2", display=True).count("<math") == 2


def test_formula_that_cannot_be_converted_is_an_error() -> None:
    with pytest.raises(ValueError, match="what latex2mathml does not know"):
        mathml(r"\nonsense{x}")


def test_formulas_of_a_page_are_rendered() -> None:
    page = '<p>so <span class="arithmatex">\\(a &lt; b\\)</span></p><div class="arithmatex">\\[\nx\n\\]</div>'
    assert render(page).count("<math") == 2
    assert "arithmatex" not in render(page)
    assert "<mo>&#x0003C;</mo>" in render(page)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=pages.ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_site_is_built_whole_and_without_a_warning(site: Path) -> None:
    for name in [f"guide/{name}" for name in GUIDE] + list(IN_DEPTH) + ["index", "reference/peers"]:
        assert (site / f"{name}.html").is_file()
    for function in FUNCTIONS:
        assert not function.public or (site / "reference" / f"{function.name}.html").is_file()
    for picture in ("scales", "tail"):
        assert (site / "guide" / f"{picture}.svg").read_text().count("<path") > 10


@pytest.mark.slow
def test_pages_need_no_other_server_and_have_no_formula_left(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img)[^>]*\ssrc="(?:https?:)?//|<link[^>]*stylesheet[^>]*href="(?:https?:)?//')
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not loaded.search(text), page
        assert "arithmatex" not in text, page
    assert (site / "reference" / "kaiming_uniform_.html").read_text().count("<math") >= 2


@pytest.mark.slow
def test_search_finds_a_function_by_the_name_that_others_give_it(site: Path) -> None:
    assert "glorot_uniform" in (site / "search" / "search_index.json").read_text()
    assert 'href="../reference/kaiming_normal_.html"' in (site / "guide" / "choosing.html").read_text()


@pytest.mark.slow
@pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))
def test_program_of_the_guide_builds_and_runs() -> None:
    text = (pages.ROOT / "docs" / "guide" / "cpp.md").read_text()
    (source,) = re.findall(r"```cpp\n(.*?)```", text, re.DOTALL)
    assert subprocess.run([native.program(source)], check=True).returncode == 0
