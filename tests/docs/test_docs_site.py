"""Is the site complete, built without a warning, and readable without a server or MathJax?"""

import re
import subprocess
import zlib
from pathlib import Path
from types import ModuleType

import pytest
from docutils.utils.math import MathError
from expecttest import assert_expected_inline

import torchinit
from tests.docs.conftest import ROOT
from tools import native
from tools.docs import about
from tools.docs.mathml import mathml
from torchinit import deploy, diagnostics, keyed, recipes

GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
SOURCES = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".rst")]


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_page_of_the_guide_has_an_example_and_leads_on(page: Path) -> None:
    text = page.read_text()
    assert "```python\n" in text
    assert re.search(r"\]\((\.\./)?[\w/]+\.md|`patch_torch`", text)


def test_formula_is_mathml_without_the_converters_mistakes() -> None:
    formula = mathml(r"x \sim \mathcal{U}(-\text{fan\_in}, b)")
    assert_expected_inline(
        "".join(line.strip() for line in formula.encode("ascii", "xmlcharrefreplace").decode().splitlines()),
        """<math xmlns="http://www.w3.org/1998/Math/MathML"><mi>x</mi><mo>&#8764;</mo><mi>&#119984;</mi><mo stretchy="false">(</mo><mo form="prefix">&#8722;</mo><mtext>fan_in</mtext><mo>,</mo><mi>b</mi><mo stretchy="false">)</mo></math>""",
    )


def test_displayed_formula_may_break_at_a_quad() -> None:
    assert mathml(r"x = 1, \quad y = 2", display=True).count("<math") == 2


def test_formula_that_cannot_be_converted_is_an_error() -> None:
    with pytest.raises(MathError, match="nonsense"):
        mathml(r"\nonsense{x}")


@pytest.mark.slow
def test_site_is_built_whole_and_without_a_warning(site: Path) -> None:
    for source in SOURCES:
        assert (site / source.relative_to(ROOT / "docs")).with_suffix(".html").is_file()
    for picture in ("scales", "tail"):
        assert (site / "_images" / f"{picture}.svg").read_text().count("<path") > 10


@pytest.mark.slow
def test_every_public_name_of_every_module_is_in_the_reference(site: Path) -> None:
    inventory = zlib.decompress((site / "objects.inv").read_bytes().split(b"zlib.\n")[1]).decode()
    described = {line.split()[0] for line in inventory.splitlines() if " py:" in line}
    modules: list[tuple[ModuleType, list[str]]] = [(torchinit, about.FUNCTIONS)]
    modules += [(module, list(module.__all__)) for module in (keyed, recipes, diagnostics, deploy)]
    assert {f"{module.__name__}.{name}" for module, names in modules for name in names} <= described
    assert "torchinit.recipes.Recipe.attach" in described


@pytest.mark.slow
def test_description_has_arguments_example_equation_and_other_names(site: Path) -> None:
    page = (site / "reference" / "xavier_kaiming.html").read_text()
    text = page.split('id="torchinit.kaiming_uniform_"')[1].split('id="torchinit.kaiming_normal_"')[0]
    for title in ("Parameters", "Returns", "Raises", "Examples", "Equals", "Other names", "In other libraries"):
        assert re.search(rf">{title}\b", text), title
    assert "<math" in text
    assert "HeUniform()" in text


@pytest.mark.slow
def test_pages_need_no_other_server_and_have_no_formula_left(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img)[^>]*\ssrc="(?:https?:)?//|<link[^>]*stylesheet[^>]*href="(?:https?:)?//')
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not loaded.search(text), page
        assert not re.search(r'class="math[ "]|\\\(|\\\[|\$\$', text), page
    assert (site / "reference" / "xavier_kaiming.html").read_text().count("<math") >= 8


@pytest.mark.slow
def test_search_finds_a_function_by_the_name_that_others_give_it(site: Path) -> None:
    assert "glorot_uniform" in (site / "searchindex.js").read_text()


@pytest.mark.slow
def test_name_is_linked_where_text_mentions_it(site: Path) -> None:
    guide = (site / "guide" / "choosing.html").read_text()
    assert 'href="../reference/xavier_kaiming.html#torchinit.kaiming_normal_"' in guide
    assert 'href="../reference/keyed.html#torchinit.keyed.orthogonal_"' in (site / "guide" / "keys.html").read_text()
    # No links in headings, in code or in the function's own description.
    assert not re.search(r"<h\d[^>]*>[^\n]*<a [^>]*py-func", guide)
    assert not any("<a " in code for code in re.findall(r"<pre>.*?</pre>", guide, re.DOTALL))
    page = (site / "reference" / "xavier_kaiming.html").read_text()
    own = page.split('id="torchinit.kaiming_normal_"')[1].split("</article>")[0]
    assert "kaiming_normal_(w" in own
    assert 'class="reference internal" href="#torchinit.kaiming_normal_"' not in own


@pytest.mark.slow
@pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))
def test_programs_of_the_docs_print_the_documented_output() -> None:
    pages = [(ROOT / page).read_text() for page in ("README.md", "docs/guide/cpp.md")]
    found = [re.findall(r"```cpp\n(.*?)```\s+```text\n(.*?)```", page, re.DOTALL) for page in pages]
    ((first, printed),), ((second, printed_too),) = found
    # One program for both: most of the time goes into compiling torch's headers.
    sources = [first.replace("int main()", "void first()"), second.replace("int main()", "void second()")]
    program = native.program("".join(sources) + "int main() { first(); second(); }\n")
    done = subprocess.run([program], check=True, capture_output=True, text=True)
    assert done.stdout == printed + printed_too
