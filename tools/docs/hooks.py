"""What mkdocs calls while it builds: adds what is generated, links names, renders formulas."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.docs import pages, pictures
from tools.docs.links import link
from tools.docs.mathml import render

# Their tables hold other libraries' names, some of which are ours too.
_UNLINKED = ("reference/peers.md",)


def on_config(config: MkDocsConfig) -> None:
    """Put the generated pages where the navigation says Reference."""
    for item in config.nav or []:
        if "Reference" in item:
            item["Reference"] = pages.nav()


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Add the generated pages and the pictures; none of them is written into the sources."""
    for path, text in (pages.pages() | pictures.draw()).items():
        files.append(File.generated(config, path, content=text))


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link the names of functions."""
    path = page.file.src_uri
    return markdown if path in _UNLINKED else link(markdown, path, pages.targets())


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Render the formulas."""
    return render(html)
